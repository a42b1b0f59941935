"""The whole policy gradient: through the latents that a completion's text was read from, as decoding has it."""

import pytest
import torch

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.self_feeding import SelfFeeding, most_latents, run_self_fed
from fourdthinker.trainers.common.video_inputs import video_inputs

from .grpo_runs import make_trainer, roll_out, text_mask


@pytest.fixture(params=["all", "latents"])
def parts_of_either_reading(parts, request):
    model, processor = parts
    model.config.answer_sees, model.config.latent_blocks = request.param, 2
    model.config.turn_token_id = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    return parts


def gradient_of(loss, model):
    model.zero_grad()
    loss.backward()
    return torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])


def objective_by_parallel_passes(model, batch):
    """GRPO's loss where policy and old policy agree, with one pass over the whole rows for each latent."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    pads = ids == model.config.latent_token_id
    passes = SelfFeeding(most_latents(pads, None), gradient=None)
    inputs = {"input_ids": ids, "attention_mask": mask, **video_inputs(batch["videos"])}
    _, outputs = run_self_fed(model, inputs, torch.cat(batch["latents"])[None], passes)
    width = batch["completion_ids"].shape[1]
    logits = model.lm_head(outputs.last_hidden_state[:, -width - 1 : -1])
    log_probs = logits.log_softmax(-1).gather(-1, batch["completion_ids"][:, :, None])[:, :, 0]
    text = text_mask(batch)
    earned = log_probs * text * batch["advantages"][:, None]
    return -(earned.sum(1) / text.sum(1).clamp(min=1)).mean()


@pytest.mark.medium
@pytest.mark.parametrize("share_prompts", [True, False])
def test_the_gradient_is_that_of_decoding(parts_of_either_reading, tmp_path, share_prompts):
    model, _ = parts_of_either_reading
    trainer = make_trainer(parts_of_either_reading, tmp_path, latent_gradient=True, share_prompts=share_prompts)
    (batch,) = roll_out(trainer)
    assert batch["advantages"].abs().max() > 0.1 and sum(map(len, batch["latents"])) > 10
    whole = gradient_of(trainer._compute_loss(trainer.model, batch), model)
    text = text_mask(batch)
    torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)
    expected = gradient_of(objective_by_parallel_passes(model, batch), model)
    assert (whole - expected).norm() < 1e-4 * expected.norm()
    trainer.args.latent_gradient = False
    published = gradient_of(trainer._compute_loss(trainer.model, batch), model)
    assert (published - expected).norm() > 1e-2 * expected.norm()


@pytest.mark.medium
def test_the_reference_reads_off_its_own_latents(parts, tmp_path):
    model, _ = parts
    trainer = make_trainer(parts, tmp_path, latent_gradient=True, beta=0.1)
    with torch.no_grad():
        trainer.ref_model.model.language_model.layers[0].mlp.down_proj.weight.mul_(1.5)
    (batch,) = roll_out(trainer)
    own = objective_by_parallel_passes(trainer.ref_model, {**batch, "advantages": torch.ones(12)})
    text = text_mask(batch)
    scored = -((batch["ref_per_token_logps"] * text).sum(1) / text.sum(1).clamp(min=1)).mean()
    torch.testing.assert_close(scored, own, atol=1e-4, rtol=0)


@pytest.mark.medium
def test_a_rollout_without_latents_has_a_gradient_too(parts, tmp_path):
    model, _ = parts
    model.lm_head.bias[model.config.latent_start_token_id] = -1e4  # no completion opens a block
    trainer = make_trainer(parts, tmp_path, latent_gradient=True)
    (batch,) = roll_out(trainer)
    assert sum(map(len, batch["latents"])) == 0
    assert gradient_of(trainer._compute_loss(trainer.model, batch), model).norm() > 0


def test_sharded_weights_are_rejected(parts, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="set latent_gradient to false"):
        make_trainer(parts, tmp_path, latent_gradient=True)

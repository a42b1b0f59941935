"""4DRL with answers that see latents alone: scored as they were decoded, behind a shared prompt as well."""

import pytest
import torch

from .grpo_runs import blocks, gradients_of, make_trainer, roll_out, text_mask


@pytest.fixture(params=["question", "no question"])
def blind_parts(parts, request):
    model, processor = parts
    model.config.answer_sees, model.config.answer_sees_question = "latents", request.param == "question"
    model.config.latent_blocks = 2
    model.config.turn_token_id = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    return parts


@pytest.mark.slow
@pytest.mark.parametrize(("share_prompts", "attention"), [(True, "sdpa"), (True, "eager"), (False, "sdpa")])
def test_scoring_gives_the_log_probs_of_decoding_with_a_cropped_cache(blind_parts, tmp_path, share_prompts, attention):
    model, _ = blind_parts
    model.set_attn_implementation(attention)
    trainer = make_trainer(blind_parts, tmp_path, share_prompts=share_prompts, max_completion_length=32)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch).backward()
    text = text_mask(batch)
    torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)
    counts = blocks(trainer, batch)
    assert (counts == 2).any() and counts.max() == 2, "no row opens a third block"
    assert gradients_of(model)
    model.config.answer_sees = "all"
    trainer._compute_loss(trainer.model, batch)
    assert (trainer.scored[0] - batch["decoded"])[text].abs().max() > 1e-2, "the mask makes a difference"


@pytest.mark.medium
def test_latents_stay_out_of_the_objective(blind_parts, tmp_path):
    trainer = make_trainer(blind_parts, tmp_path)
    (batch,) = roll_out(trainer)
    config = trainer._base_model.config
    ids, text = batch["completion_ids"], text_mask(batch)
    assert (ids == config.latent_token_id).any()
    assert not text[(ids == config.latent_token_id) | (ids == config.latent_end_token_id)].any()
    trainer._compute_loss(trainer.model, batch)
    assert not trainer.scored[0][~text & batch["completion_mask"].bool()].any()

"""One log-prob at decoding and at scoring, whatever settings and adapters do."""

import pytest
import torch
import trl
from peft import LoraConfig
from transformers import TrainerCallback

from fourdthinker.modeling import load_model
from fourdthinker.trainers.grpo.head_tiles import narrow_head_tiles
from fourdthinker.trainers.grpo.logprobs import LatentScorer
from fourdthinker.trainers.grpo.rollout import Rollout

from .grpo_runs import LORA, blocks, make_trainer, roll_out, text_mask, training


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.7},
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3},
        {"per_device_train_batch_size": 6, "steps_per_generation": 2, "num_iterations": 2},
        {"gradient_checkpointing": True},
        {"freeze_vision": False},
        {"beta": 0.1},
        {"latent_mask": "all"},
        {"mask_truncated_completions": True},
        {"share_prompts": False},
        {"cache_implementation": "static"},
        {"generation_kwargs": {"cache_implementation": "static"}},
    ],
    ids=str,
)
def test_scoring_gives_the_log_probs_of_decoding(parts, tmp_path, settings):
    trainer = make_trainer(parts, tmp_path, **settings)
    counts = []
    for batch in roll_out(trainer):
        trainer._compute_loss(trainer.model, batch)
        text = text_mask(batch)
        assert text.any()
        torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)
        if "old_per_token_logps" in batch:
            torch.testing.assert_close(batch["old_per_token_logps"][text], batch["decoded"][text], atol=1e-4, rtol=0)
        if "ref_per_token_logps" in batch:
            torch.testing.assert_close(batch["ref_per_token_logps"][text], batch["decoded"][text], atol=1e-4, rtol=0)
        counts += blocks(trainer, batch).tolist()
    assert 0 in counts and 1 in counts and max(counts) > 1


@pytest.mark.medium
def test_scoring_is_exact_with_lora_and_its_switched_off_reference(parts, tmp_path):
    lora = LoraConfig(target_modules=LORA, r=4)
    trainer = make_trainer(parts, tmp_path, peft_config=lora, beta=0.1)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch)
    text = text_mask(batch)
    torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)
    torch.testing.assert_close(batch["ref_per_token_logps"][text], batch["decoded"][text], atol=1e-4, rtol=0)


@pytest.mark.medium
def test_an_adapter_left_open_reaches_the_language_model_and_is_scored_exactly(parts, tmp_path, caplog):
    trainer = make_trainer(parts, tmp_path, peft_config=LoraConfig(r=4), beta=0.1)
    (warned,) = [entry.getMessage() for entry in caplog.records if "latent tokens as they are" in entry.getMessage()]
    assert "the head has a bias" in warned
    trained = {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert any("down_proj" in name for name in trained)
    assert not [name for name in trained if "visual" in name or "embed_tokens" in name]
    with torch.no_grad():
        for weight in trained.values():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch).backward()
    text = text_mask(batch)
    torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)
    assert (batch["ref_per_token_logps"] - batch["decoded"])[text].abs().max() > 1e-2, "the adapter is off in it"
    assert all(weight.grad.abs().max() > 0 for weight in trained.values())


@pytest.fixture(params=["tied", "untied"])
def plain_parts(tiny_model_folder, request):
    """A model that opens blocks and ends turns often without a bias: its states point where these tokens' rows do."""
    model, processor = load_model(tiny_model_folder)
    if request.param == "untied":
        model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 20.0
        model.lm_head.weight[:, 0] = 20.0
        model.lm_head.weight[model.config.latent_start_token_id, 0] += 1.2
        model.lm_head.weight[processor.tokenizer.eos_token_id, 0] += 0.9
    return model, processor


@pytest.mark.medium
def test_an_adapters_dropout_is_off(parts, tmp_path):
    """What is scored would be another network than the one that rolled out, and so would the reference."""
    lora = LoraConfig(target_modules=LORA, r=4, lora_dropout=0.5, init_lora_weights=False)
    trainer = make_trainer(parts, tmp_path, peft_config=lora)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch)
    text = text_mask(batch)
    torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)


@pytest.mark.medium
def test_an_adapter_trains_the_latent_tokens_and_scores_them_exactly(plain_parts, tmp_path):
    trainer = make_trainer(plain_parts, tmp_path, peft_config=LoraConfig(r=4), beta=0.1)
    rows = {name: weight for name, weight in trainer.model.named_parameters() if "trainable_tokens_delta" in name}
    assert len(rows) == (1 if trainer._base_model.config.tie_word_embeddings else 2)
    with torch.no_grad():
        for weight in rows.values():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch).backward()
    text = text_mask(batch)
    assert blocks(trainer, batch).max() > 0
    torch.testing.assert_close(trainer.scored[0][text], batch["decoded"][text], atol=1e-4, rtol=0)
    assert (batch["ref_per_token_logps"] - batch["decoded"])[text].abs().max() > 1e-2, "they are off in it"
    config = trainer._base_model.config
    tokens = sorted([config.latent_start_token_id, config.latent_token_id, config.latent_end_token_id])
    start = tokens.index(config.latent_start_token_id)
    for name, weight in rows.items():
        assert weight.grad.shape[0] == 3 and weight.grad[start].abs().max() > 0, name


def test_pad_embeddings_in_place_of_latents_score_another_context(parts, tmp_path):
    # The published trainer scored so; this is what the equality above has to be able to notice.
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    model = trainer._base_model
    pad = model.get_input_embeddings().weight[model.config.latent_token_id].detach()
    batch["latents"] = [pad.expand(len(latents), -1) for latents in batch["latents"]]
    trainer._compute_loss(trainer.model, batch)
    difference = (trainer.scored[0] - batch["decoded"]).abs() * text_mask(batch)
    after = (batch["completion_ids"] == model.config.latent_end_token_id).cumsum(-1) > 0
    assert difference[after].max() > 1e-3
    before = (batch["completion_ids"] == model.config.latent_token_id).cumsum(-1) == 0
    assert difference[before].max() < 1e-4


@pytest.mark.medium
@pytest.mark.parametrize("steps", [1, 2])
def test_the_ratio_is_one_until_the_policy_moves(parts, tmp_path, steps):
    """With one step a rollout TRL keeps no old log-probs and takes the policy's own; with two, an old pass gives them.
    Both are those of decoding."""
    trainer = make_trainer(parts, tmp_path, per_device_train_batch_size=12 // steps, steps_per_generation=steps)
    batches = roll_out(trainer)
    descent = torch.optim.SGD([weight for weight in trainer.model.parameters() if weight.requires_grad], lr=0.1)
    ratios, losses = [], []
    for batch in batches:
        losses.append(trainer._compute_loss(trainer.model, batch))
        assert ("old_per_token_logps" in batch) == (steps > 1)
        text, sampled = text_mask(batch), batch["decoded"]
        old = batch.get("old_per_token_logps", trainer.scored[0].detach())
        torch.testing.assert_close(old[text], sampled[text], atol=1e-4, rtol=0)
        ratios.append((trainer.scored[0] - old)[text].exp())
        losses[-1].backward()
        descent.step()
    assert blocks(trainer, batches[0]).max() > 0
    assert (ratios[0] - 1).abs().max() < (1e-5 if steps > 1 else 1e-12)
    assert losses[0].item() == pytest.approx(-batches[0]["advantages"].mean().item(), abs=1e-5)
    if steps > 1:
        assert (ratios[1] - 1).abs().max() > 1e-2, "and no longer afterwards"
    assert trainer._metrics["train"]["clip_ratio/region_mean"][0] == 0


def test_the_head_works_in_narrow_tiles_on_a_cpu(parts, tmp_path):
    trainer, widths = make_trainer(parts, tmp_path), []
    (batch,) = roll_out(trainer)
    fused = trainer._base_model.forward

    def watched(*args, **kwargs):
        widths.append(trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE)
        return fused(*args, **kwargs)

    trainer._base_model.forward = watched
    trainer._compute_loss(trainer.model, batch)
    scored = int(text_mask(batch).sum())
    assert 4 * scored * widths[-1] <= 8 * 2**20 < 4 * scored * (widths[-1] + 1)
    assert trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE == 32768
    with narrow_head_tiles(torch.device("cuda"), scored):
        assert trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE == 32768


@pytest.mark.slow
def test_a_tied_tables_inputs_are_added_by_rows_while_training(parts, tmp_path):
    model, hooks = parts[0], []
    table = model.get_input_embeddings()
    model.lm_head.weight = table.weight
    trainer = training(parts, tmp_path, max_steps=1, gradient_checkpointing=False)
    before = len(table._forward_hooks)

    class Watching(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            hooks.append(len(table._forward_hooks))

    trainer.add_callback(Watching())
    trainer.train()
    assert hooks == [before + 1]
    assert len(table._forward_hooks) == before


def test_latents_of_other_rows_are_rejected(parts):
    model, _ = parts
    ids = torch.tensor([[1, model.config.latent_token_id]])
    scorer = LatentScorer(model, Rollout(latents=[torch.zeros(2, 8)]), model, 3, "all")
    with pytest.raises(RuntimeError, match="not the ones that were carried"):
        scorer(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids)

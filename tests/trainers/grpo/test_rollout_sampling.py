"""Rollouts sample with what the settings say, and with nothing that a checkpoint brings along."""

import pytest
import torch

from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers.grpo.rollout import truncate_at_eos
from fourdthinker.trainers.grpo.sampling import check_sampling

from .grpo_runs import make_trainer, roll_out


def test_sampling_is_what_the_settings_say(parts, tmp_path):
    model, _ = parts
    model.generation_config.temperature = 1e-6
    model.generation_config.top_k = 1
    model.generation_config.min_p = 0.99
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.no_repeat_ngram_size = 1
    own = model.generation_config.to_dict()
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer, prompts=3)
    assert len({tuple(ids) for ids in batch["completion_ids"].tolist()}) == 12
    repeats = [len(ids) - len(set(ids)) for ids in batch["completion_ids"].tolist()]
    assert max(repeats) > 1
    assert {**model.generation_config.to_dict(), "pad_token_id": None} == {**own, "pad_token_id": None}


@pytest.mark.medium
@pytest.mark.parametrize(
    ("field", "value"), [("temperature", 0.5), ("max_new_tokens", 7), ("do_sample", False), ("top_k", 3)]
)
def test_sampling_that_the_settings_do_not_name_is_rejected(parts, tmp_path, field, value):
    with pytest.raises(InputError, match=f"would sample with {field} {value}, while the settings say"):
        make_trainer(parts, tmp_path, generation_kwargs={field: value})


def test_what_a_checkpoint_brings_along_is_noticed_where_it_is_not_put_by(parts, tmp_path):
    model, _ = parts
    model.generation_config.min_p = 0.99
    trainer = make_trainer(parts, tmp_path)
    with pytest.raises(InputError, match="would sample with min_p 0.99, while the settings say None"):
        check_sampling(model, trainer.generation_config, trainer.args)


def test_what_rollouts_sample_with_is_printed(parts, tmp_path, capsys):
    model, _ = parts
    model.generation_config.temperature = 1e-6
    model.generation_config.repetition_penalty = 1.05
    make_trainer(parts, tmp_path, temperature=0.9, generation_kwargs={"min_new_tokens": 2})
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rollouts sample with")]
    assert "temperature=0.9" in line and "repetition_penalty=1.0 " in line and "min_new_tokens=2" in line


@pytest.mark.medium
def test_a_placeholder_is_never_sampled(parts, tmp_path):
    model, _ = parts
    config = model.config
    with torch.no_grad():
        model.lm_head.bias[[config.video_token_id, config.image_token_id]] = 50.0
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    visual = torch.tensor([config.video_token_id, config.image_token_id])
    assert not torch.isin(batch["completion_ids"], visual).any()
    suppressing = make_trainer(parts, tmp_path, generation_kwargs={"suppress_tokens": [5]})
    assert {5, *visual.tolist()} == set(suppressing.generation_config.suppress_tokens), "beside what the settings ban"


@pytest.mark.medium
def test_without_latents_completions_are_text_alone(parts, tmp_path):
    """The model's head is biased towards the start token, so that every second completion would hold a block."""
    start = parts[0].config.latent_start_token_id
    shares = []
    for latents in (True, False):
        trainer = make_trainer(parts, tmp_path, latents=latents)
        (batch,) = roll_out(trainer)
        assert (torch.cat(batch["latents"]).numel() > 0) == latents
        shares.append((batch["completion_ids"] == start).any(1).float().mean().item())
    assert shares[0] > 0.3 and shares[1] == 0


def test_a_completion_ends_with_its_turn():
    assert truncate_at_eos([5, 6, 7, 8], [7, 9]) == [5, 6, 7]
    assert truncate_at_eos([5, 9, 7, 8], [7, 9]) == [5, 9]
    assert truncate_at_eos([5, 6], [7]) == [5, 6]

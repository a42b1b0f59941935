"""A prompt is computed once for all of its completions, without a change of scores or gradients."""

from dataclasses import replace

import pytest
import torch
from trl.trainer.utils import shuffle_sequence_dict

from fourdthinker.trainers.grpo.logprobs import LatentScorer
from fourdthinker.trainers.grpo.rollout import Rollout, group_prompts

from .grpo_runs import make_rows, make_trainer, roll_out


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gradient_checkpointing": True},
        {"freeze_vision": False},
        {"mask_truncated_completions": True},
        {"temperature": 0.7},
    ],
    ids=str,
)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_shared_prompt_changes_no_score_and_no_gradient(parts, tmp_path, settings, attention):
    parts[0].set_attn_implementation(attention)
    trainer = make_trainer(parts, tmp_path, beta=0.1, **settings)
    (batch,) = roll_out(trainer)
    batch = shuffle_sequence_dict(batch)  # the rows of a prompt need not stand together
    found = {}
    for share in (True, False):
        trainer.args.share_prompts = share
        trainer.model.zero_grad()
        trainer._compute_loss(trainer.model, batch).backward()
        gradients = {name: weight.grad for name, weight in trainer.model.named_parameters() if weight.grad is not None}
        found[share] = torch.stack(trainer.scored[:2]).detach(), gradients
    torch.testing.assert_close(found[True][0], found[False][0], atol=2e-5, rtol=0)
    assert found[True][1].keys() == found[False][1].keys()
    largest = max(gradient.abs().max() for gradient in found[False][1].values())
    for name, gradient in found[False][1].items():
        torch.testing.assert_close(found[True][1][name], gradient, atol=1e-5 * float(largest), rtol=1e-3, msg=name)


@pytest.mark.medium
def test_a_prompt_is_computed_once_for_its_completions(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=3)
    policy, seen = trainer._base_model, []
    policy.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"].shape[:2]), with_kwargs=True
    )
    slices = roll_out(trainer)
    rows, length = seen[0]
    assert (rows, length) == (3, slices[0]["prompt_ids"].shape[1] - 1)  # the rollout, and each of its steps behind it
    assert set(seen[1:]) == {(12, 1)}
    for batch in slices:  # shuffled by TRL, and put together again
        seen.clear()
        trainer._compute_loss(trainer.model, batch)
        prompt = int(batch["prompt_mask"][0].sum())
        assert seen == [(1, prompt + int(batch["completion_mask"].sum()))]


@pytest.mark.medium
@pytest.mark.parametrize(("loss_type", "together"), [("dapo", True), ("bnpo", False)])
def test_slices_hold_one_prompt_each_unless_they_take_means_of_their_own(parts, tmp_path, loss_type, together):
    settings = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3, "loss_type": loss_type}
    slices = roll_out(make_trainer(parts, tmp_path, **settings))
    prompts = [set(batch["prompt_numbers"]) for batch in slices]
    assert len(set.union(*prompts)) == 3 and all(len(some) == 1 for some in prompts) == together


def handed_to_the_model(trainer, batch):
    """What a scorer calls the policy with for a whole batch."""
    policy, width = trainer._base_model, batch["completion_ids"].shape[1]
    scorer = LatentScorer(dict, Rollout.from_batch(batch), policy, width, "pads_and_end")
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    return scorer(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100))


@pytest.mark.medium
def test_prompts_are_distinguished_by_number_and_not_by_object(parts, tmp_path):
    """A copy of the batch, such as a new TRL may make, keeps prompts shared."""
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    batch["videos"] = [replace(video) for video in batch["videos"]]
    assert len(handed_to_the_model(trainer, batch)["input_ids"]) == 3


@pytest.mark.medium
@pytest.mark.parametrize(("attention", "rows"), [("sdpa", 3), ("flash_attention_2", 12)])
def test_prompts_are_shared_where_attention_takes_any_mask(parts, tmp_path, attention, rows):
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    trainer._base_model.config.get_text_config()._attn_implementation = attention
    assert len(handed_to_the_model(trainer, batch)["input_ids"]) == rows


@pytest.mark.medium
def test_prompts_are_not_shared_where_layers_look_back_a_stretch_alone(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path)
    (batch,) = roll_out(trainer)
    text = trainer._base_model.config.get_text_config()
    text.layer_types = ["full_attention", "sliding_attention"]
    assert len(handed_to_the_model(trainer, batch)["input_ids"]) == 12


@pytest.mark.parametrize(("length", "groups"), [(5, [[0], [1, 2]]), (50, [[0], [1], [2]])])
def test_prompts_are_not_shared_where_that_is_more_work(parts, length, groups):
    """One row is padded to the length of the two that could stand together."""
    scorer = LatentScorer(parts[0], Rollout(), parts[0], 50, "pads_and_end")
    mask = torch.ones(3, 100, dtype=torch.long)
    mask[:, 50 + length :] = 0
    assert scorer._groups(torch.zeros_like(mask), mask, [0, 1, 1]) == groups


def test_a_pass_without_latents_takes_the_same_way(parts, tmp_path):
    """Where processes hold a part of the weights each, one that looks up other embeddings would leave them waiting."""
    trainer = make_trainer(parts, tmp_path, latents=False)
    (batch,) = roll_out(trainer)
    assert handed_to_the_model(trainer, batch)["latent_embeds"].shape == (0, parts[0].config.text_config.hidden_size)


@pytest.mark.medium
def test_the_tower_sees_each_prompt_once_a_step(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, beta=0.1, per_device_train_batch_size=6, steps_per_generation=2)
    videos = []
    for model in (trainer._base_model, trainer.ref_model):
        model.model.visual.register_forward_hook(
            lambda module, args, kwargs, output: videos.extend(kwargs["grid_thw"]), with_kwargs=True
        )
    for batch in roll_out(trainer, prompts=3):
        trainer._compute_loss(trainer.model, batch)
    assert len(videos) == 3


def test_equal_neighbours_are_one_prompt():
    first, second = make_rows(2)
    prompts, numbers = group_prompts([first, dict(first), second, second, first])
    assert [row["id"] for row in prompts] == ["clip-0", "clip-1", "clip-0"]
    assert numbers == [0, 0, 1, 1, 2]
    other_clip = {**first, "frames": second["frames"]}
    assert group_prompts([first, other_clip])[1] == [0, 1]

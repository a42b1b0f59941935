"""Which rewards are paid, what they are given, and what is said when one fails."""

import pytest
import torch
from datasets import Dataset

from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer

from .grpo_runs import make_rows, make_trainer, roll_out, varied_reward


def test_rewards_see_the_rows_and_the_latent_tokens(parts, tmp_path):
    seen = {}

    def reward(completions, rollout_text, answer, options, frames, timestamps, **columns):
        seen.update(completions=completions, rollout_text=rollout_text, answer=answer)
        return [1.0] * len(completions)

    trainer = make_trainer(parts, tmp_path, rewards=reward)
    roll_out(trainer)
    assert seen["answer"] == ["A"] * 4 + ["B"] * 4 + ["C"] * 4
    assert any("<|latent_start|>" in text for text in seen["rollout_text"])
    assert not any("<|latent_start|>" in completion[0]["content"] for completion in seen["completions"])
    assert not any(text.endswith("<|im_end|>") for text in seen["rollout_text"])


def test_default_rewards_and_their_weights(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, rewards=None)
    assert trainer.reward_func_names == ["accuracy_reward", "format_reward"]
    torch.testing.assert_close(trainer.reward_weights, torch.tensor([1.0, 0.2]))
    assert make_trainer(parts, tmp_path).reward_weights.tolist() == [1.0]


@pytest.mark.medium
def test_rewards_are_chosen_by_name(parts, tmp_path):
    model, processor = parts
    row = {**make_rows(1)[0], "camera_centers": None, "object_centers": None}
    columns = {"train_dataset": Dataset.from_list([row])}

    def trainer(**settings):
        args = LatentGRPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none", **settings)
        return LatentGRPOTrainer(model, args=args, processing_class=processor, **columns)

    paid = trainer(reward_funcs=["spatiotemporal_reward"], center_scale="relative")
    assert paid.reward_func_names == ["spatiotemporal_reward"] and paid.reward_weights.tolist() == [1.0]
    assert paid.reward_funcs[0].__wrapped__.keywords == {"center_scale": "relative"}
    both = trainer(reward_funcs=["spatiotemporal_reward", "format_reward"], reward_weights=[0.5, 2.0])
    assert both.reward_weights.tolist() == [0.5, 2.0]
    assert trainer(reward_funcs=["spatiotemporal_reward", "format_reward"]).reward_weights.tolist() == [1.0, 1.0]
    # Named one by one they weigh as by default.
    torch.testing.assert_close(
        trainer(reward_funcs=["accuracy_reward", "format_reward"]).reward_weights, torch.tensor([1.0, 0.2])
    )

    def given(rewards):
        args = LatentGRPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none")
        return LatentGRPOTrainer(model, rewards, args, processing_class=processor, **columns).reward_func_names

    assert given("format_reward") == ["format_reward"], "ours by name where TRL takes rewards, too"
    assert given((varied_reward, "accuracy_reward")) == ["varied_reward", "accuracy_reward"]
    columns["train_dataset"] = Dataset.from_list(make_rows(1))
    with pytest.raises(InputError, match="no column camera_centers, object_centers: give it .*--questions mllm4d"):
        trainer(reward_funcs=["spatiotemporal_reward"])


def test_weights_that_do_not_fit_are_rejected(parts, tmp_path):
    with pytest.raises(InputError, match=r"reward_weights \[1.0, 2.0\] do not fit the rewards varied_reward"):
        make_trainer(parts, tmp_path, reward_weights=[1.0, 2.0])


@pytest.mark.medium
@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (lambda completions, answer, **columns: [1 / (letter != "B") for letter in answer], "ZeroDivisionError"),
        (lambda completions, answer, **columns: [{"B": "2"}.get(letter, 0.0) for letter in answer], "it gave '2'"),
        (lambda completions, answer, **columns: [torch.inf if a == "B" else None for a in answer], "it gave inf"),
    ],
)
def test_a_reward_that_fails_names_the_completion_and_its_row(parts, tmp_path, reward, words):
    trainer = make_trainer(parts, tmp_path, rewards=reward)
    with pytest.raises(InputError, match=f"completion 5 of 12, of row clip-1, “.*”: .*{words}") as failure:
        roll_out(trainer)
    assert "\n" not in str(failure.value) and "<|latent" not in str(failure.value)
    assert str(failure.value).startswith("reward <lambda> failed on")


@pytest.mark.medium
def test_a_reward_that_names_its_input_keeps_its_completion(parts, tmp_path):
    """The line of `train` is cut out of a loader's traceback, and of nothing else."""

    def reward(completions, **columns):
        raise InputError("no centre")

    trainer = make_trainer(parts, tmp_path, rewards=reward, max_steps=1)
    trainer.train_dataset = Dataset.from_list(make_rows(3))
    with pytest.raises(InputError, match="reward reward failed on completion 1 of 12, of row clip-.*no centre"):
        trainer.train()


def test_a_reward_that_fails_on_all_at_once_says_so(parts, tmp_path):
    def reward(completions, **columns):
        if len(completions) > 1:
            raise ValueError("one at a\ntime")
        return [0.0]

    trainer = make_trainer(parts, tmp_path, rewards=reward)
    with pytest.raises(InputError, match="failed on 12 completions at once, though on none alone: ValueError: one at"):
        roll_out(trainer)

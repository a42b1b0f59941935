"""Rewards by name and by dotted path, and the columns that each of them reads."""

import sys

import pytest

from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import LatentGRPOConfig
from fourdthinker.trainers.rewards import accuracy_reward, format_reward, spatiotemporal_reward
from fourdthinker.trainers.rewards.registry import load_reward, reward_columns, select_rewards


@pytest.fixture
def own_rewards(tmp_path, monkeypatch):
    """A user's module in the working folder, which no console script searches by itself."""
    (tmp_path / "users_rewards.py").write_text("def short(completions, speed, **columns):\n    return [1.0]\n")
    (tmp_path / "users_broken.py").write_text("raise OSError('no\\ndisk')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry])


def test_a_dotted_path_names_a_function_in_the_working_folder(own_rewards, tmp_path):
    args = LatentGRPOConfig(str(tmp_path), reward_funcs=["users_rewards.short", "format_reward"], use_cpu=True)
    own, ours = select_rewards(args.reward_funcs)
    assert own.__module__ == "users_rewards" and ours is format_reward
    assert reward_columns([own, ours]) == ("speed",)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("speed_reward", "choose from accuracy_reward, format_reward, .* or write package.module.function"),
        ("users_rewards.long", "users_rewards has no function long: correct the name"),
        ("nowhere.at_all", "nowhere cannot be imported .ModuleNotFoundError: No module named 'nowhere'"),
        ("users_broken.any", "users_broken cannot be imported .OSError: no disk"),
    ],
)
def test_what_is_no_reward_is_named_in_one_line(own_rewards, name, words):
    with pytest.raises(InputError, match=f"reward_funcs has '{name}'.*{words}") as failure:
        load_reward(name)
    assert "\n" not in str(failure.value)


def test_columns_are_the_arguments_without_a_default():
    assert reward_columns([format_reward, "some/reward-model"]) == ()
    assert reward_columns([accuracy_reward]) == ("answer",)
    assert reward_columns([format_reward, *select_rewards(["spatiotemporal_reward"], "relative")]) == (
        "answer",
        "camera_centers",
        "object_centers",
    )
    assert reward_columns([spatiotemporal_reward, accuracy_reward]) == ("answer", "camera_centers", "object_centers")

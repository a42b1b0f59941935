"""Look up rewards: ours by name, a user's own by dotted import path; and the columns that they read."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ...modeling.errors import InputError
from .answer_rewards import accuracy_reward, format_reward, spatiotemporal_reward

REWARDS = {reward.__name__: reward for reward in (accuracy_reward, format_reward, spatiotemporal_reward)}
PUBLISHED_REWARDS, PUBLISHED_REWARD_WEIGHTS = ("accuracy_reward", "format_reward"), (1.0, 0.2)
# What TRL and the rollout hand to every reward; any other argument without a default is a column of the rows.
_HANDED_OVER = {
    "prompts", "completions", "completion_ids", "rollout_text", "trainer_state", "log_extra", "log_metric",
    "environments",
}  # fmt: skip


def check_rewards(names: Sequence[str], weights: Sequence[float] | None) -> None:
    """See that every name is a reward's, and that each has its weight.

    Raises:
        InputError: If one is not, one comes twice, there is none, or there is another number of weights.
    """
    for name in names:
        load_reward(name)
    if not names or len(set(names)) < len(names):
        raise InputError(f"reward_funcs is {list(names)}: name at least one, and each once")
    check_weights(names, weights)


def check_weights(names: Sequence[str], weights: Sequence[float] | None) -> None:
    """See that there are as many weights as rewards, if there are any."""
    if weights is not None and len(weights) != len(names):
        raise InputError(
            f"reward_weights {list(weights)} do not fit the rewards {', '.join(names)}: give one weight for each"
        )


def load_reward(name: str) -> Callable:
    """A reward of ours by its name, or any function by its dotted path, found from the working folder as well.

    Raises:
        InputError: If there is no such function, or its module cannot be imported.
    """
    if name in REWARDS:
        return REWARDS[name]
    path, _, function = name.rpartition(".")
    if not path:
        raise InputError(
            f"reward_funcs has {name!r}: choose from {', '.join(REWARDS)}, or write package.module.function"
        )
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(path), function, None)
    except Exception as error:  # importing runs the user's code, which may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"reward_funcs has {name!r}, but {path} cannot be imported ({reason})") from error
    if not callable(found):
        raise InputError(f"reward_funcs has {name!r}, but {path} has no function {function}: correct the name")
    return found


def select_rewards(names: Sequence[str], center_scale: str = "metric") -> list[Callable]:
    """The reward functions of these names, the ST-reward with its scale."""
    scaled = {"spatiotemporal_reward": partial(spatiotemporal_reward, center_scale=center_scale)}
    return [scaled[name] if name in scaled else load_reward(name) for name in names]


def reward_columns(rewards: Sequence[Any]) -> tuple[str, ...]:
    """The columns of rows without which these rewards cannot be called: their arguments without a default.

    Reward models, given themselves or by name, read none.
    """
    columns: dict[str, None] = {}
    for reward in rewards:
        if not (isinstance(reward, partial) or inspect.isroutine(reward)):
            continue
        for name, parameter in inspect.signature(reward).parameters.items():
            named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            if named and parameter.default is parameter.empty and name not in _HANDED_OVER:
                columns[name] = None
    return tuple(columns)


def reads_letters(rewards: Sequence[Any]) -> bool:
    """Whether one of ours compares the `answer` of a row with the letters of its options."""
    return any(_inner_function(reward) in (accuracy_reward, spatiotemporal_reward) for reward in rewards)


def _inner_function(reward: Any) -> Any:
    return reward.func if isinstance(reward, partial) else reward

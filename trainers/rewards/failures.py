"""Name the completion on which a reward function fails."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from trl.trainer.utils import get_callable_name, is_async_callable

from ...modeling.errors import InputError, to_one_line
from ...modeling.tokens import show_latent_blocks

Reward = Callable[..., Sequence[float | None]]
_LONGEST_EXCERPT = 300


def name_failing_row(reward: Reward | nn.Module | str) -> Reward | nn.Module | str:
    """A reward function whose failure names the completion and its row, in one line.

    Reward models, given themselves or by name, and coroutines stay as they are.

    Args:
        reward (`Callable`, `nn.Module` or `str`): What [`~trl.GRPOTrainer`] takes as a reward.

    Raises:
        InputError: When the returned function is called, if `reward` raises there, or returns what is no reward.
    """
    if isinstance(reward, (nn.Module, str)) or is_async_callable(reward):
        return reward

    @functools.wraps(reward)
    def call_reward(completions: Sequence[Any], **columns: Any) -> list[float | None]:
        cause = None
        try:
            rewards = list(reward(completions=completions, **columns))
        except Exception as error:
            row, cause = _first_failure(reward, completions, columns, error)
            reason = f"{type(cause).__name__}: {cause}"
        else:
            row = _first_wrong(rewards) if len(rewards) == len(completions) else None
            if row is None:
                return rewards  # TRL reports a wrong number of them
            reason = f"it gave {rewards[row]!r}, which is no finite number"
        name = get_callable_name(reward)
        raise InputError(
            f"reward {name} failed on {_describe_failure(row, completions, columns)}: {to_one_line(reason)}"
        ) from cause

    call_reward.__name__ = get_callable_name(reward)
    return call_reward


def _first_failure(
    reward: Reward, completions: Sequence[Any], columns: dict[str, Any], error: Exception
) -> tuple[int | None, Exception]:
    """Number of the first completion that fails on its own, and how; None if only all of them together do."""
    count = len(completions)
    for row in range(count):
        alone = {
            name: values[row : row + 1] if isinstance(values, list) and len(values) == count else values
            for name, values in columns.items()
        }
        try:
            list(reward(completions=completions[row : row + 1], **alone))
        except Exception as failure:
            return row, failure
    return None, error


def _first_wrong(rewards: Sequence[Any]) -> int | None:
    for row, value in enumerate(rewards):
        try:
            # TRL takes NaN for "no reward", as it does None; infinity would reach the weights.
            wrong = value is not None and math.isinf(value)
        except TypeError:
            wrong = True
        if wrong:
            return row
    return None


def _describe_failure(row: int | None, completions: Sequence[Any], columns: dict[str, Any]) -> str:
    if row is None:
        return f"{len(completions)} completions at once, though on none alone"
    texts = columns.get("rollout_text", completions)
    text = texts[row] if isinstance(texts[row], str) else str(texts[row])
    shown = to_one_line(show_latent_blocks(text))
    if len(shown) > _LONGEST_EXCERPT:
        shown = f"{shown[:_LONGEST_EXCERPT]} …"
    identity = columns.get("id") or columns.get("question")
    row_name = f"row {identity[row]}" if identity else f"row {row + 1} of the batch"
    return f"completion {row + 1} of {len(completions)}, of {row_name}, “{shown}”"

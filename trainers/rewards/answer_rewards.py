"""Rewards for the correct answer and the agreed format. Pure Python, linear in the length of the completion.

A reward takes `completions` and the columns of the rows they belong to, and returns one number a completion, as TRL
asks for. A completion is a string or a conversation (a list of messages). The trainer also hands over `rollout_text`,
the completions with their latent tokens kept: TRL's own decoding drops every special token, and with them what stood
in the wrong place.
"""

from collections.abc import Sequence
from typing import Any

from ...eval_tasks.answers import extract_answer
from .parsing import Completion, completion_texts, drop_latent_blocks, well_formed_reasoning
from .spatiotemporal import spatiotemporal_reward

__all__ = ["accuracy_reward", "format_reward", "spatiotemporal_reward"]


def accuracy_reward(
    completions: Sequence[Completion],
    answer: Sequence[str | None],
    options: Sequence[Sequence[str] | None] | None = None,
    rollout_text: Sequence[str] | None = None,
    **columns: Any,
) -> list[float | None]:
    """1 if a completion's only answer block names the right option, else 0.

    The block is read by [`~eval_tasks.answers.extract_answer`] with its policy `"reward"`: one `<answer>…</answer>` after
    the reasoning, holding the option's letter, its text or both. Untagged text earns nothing; the published reward
    (4DThinker, 4DRL) gave it its first capital letter from A to F.

    Args:
        completions (`list[str]` or `list[list[dict]]`): What the model said.
        answer (`list[str]`): Letter of the right option of each row. Rows without one are left out of the reward.
        options (`list[list[str]]`, *optional*): Option texts of each row, without letters.
        rollout_text (`list[str]`, *optional*): The completions with latent tokens kept; preferred where given.

    Returns:
        `list[float | None]`: 1.0, 0.0, or `None` for a row that has no answer to compare with.
    """
    offered = options if options is not None else [None] * len(completions)
    return [
        float(extract_answer(drop_latent_blocks(text), choices, policy="reward") == letter.strip().upper())
        if letter
        else None
        for text, letter, choices in zip(completion_texts(completions, rollout_text), answer, offered, strict=True)
    ]


def format_reward(
    completions: Sequence[Completion], rollout_text: Sequence[str] | None = None, **columns: Any
) -> list[float]:
    """1 if a completion is exactly `<think>…</think><answer>…</answer>` with words in both, else 0.

    White space may stand around and between the two; each tag occurs once, in any case. Latent blocks may stand in
    the reasoning, nowhere else, and only as start, pads, end. The published pattern (4DThinker, 4DRL) was searched for
    anywhere, so that text around it, empty reasoning and repeated answers were paid.

    Args:
        completions (`list[str]` or `list[list[dict]]`): What the model said.
        rollout_text (`list[str]`, *optional*): The completions with latent tokens kept; preferred where given.

    Returns:
        `list[float]`: 1.0 or 0.0 for each completion.
    """
    return [float(well_formed_reasoning(text) is not None) for text in completion_texts(completions, rollout_text)]

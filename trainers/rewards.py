"""What 4DRL rewards: the right answer, and the agreed format. Pure Python, linear in the length of the completion.

A reward takes `completions` and the columns of the rows they belong to, and returns one number a completion, as TRL
asks for. A completion is a string or a conversation (a list of messages). The trainer also hands over `rollout_text`,
the completions with their latent tokens kept: TRL's own decoding drops every special token, and with them what stood
in the wrong place.
"""

from collections.abc import Sequence
from typing import Any

from ..eval_tasks.answers import extract_answer
from ..modeling.tokens import LATENT_END, LATENT_PAD, LATENT_START, LATENT_TOKENS

Completion = str | list[dict[str, Any]]

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def accuracy_reward(
    completions: Sequence[Completion],
    answer: Sequence[str | None],
    options: Sequence[Sequence[str] | None] | None = None,
    rollout_text: Sequence[str] | None = None,
    **columns: Any,
) -> list[float | None]:
    """1 if a completion's only answer block names the right option, else 0.

    The block is read by [`~eval_tasks.answers.extract_answer`] with its strict policy: one `<answer>…</answer>` after
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
        float(extract_answer(_without_blocks(text), choices, policy="strict") == letter.strip().upper())
        if letter
        else None
        for text, letter, choices in zip(_texts(completions, rollout_text), answer, offered, strict=True)
    ]


def format_reward(
    completions: Sequence[Completion], rollout_text: Sequence[str] | None = None, **columns: Any
) -> list[float]:
    """1 if a completion is exactly `<think>…</think><answer>…</answer>` with words in both, else 0.

    White space may stand around and between the two; each tag occurs once. Latent blocks may stand in the reasoning,
    nowhere else, and only as start, pads, end. The published pattern (4DThinker, 4DRL) was searched for anywhere, so
    that text around it, empty reasoning and repeated answers were paid.

    Args:
        completions (`list[str]` or `list[list[dict]]`): What the model said.
        rollout_text (`list[str]`, *optional*): The completions with latent tokens kept; preferred where given.

    Returns:
        `list[float]`: 1.0 or 0.0 for each completion.
    """
    return [float(_is_well_formed(text)) for text in _texts(completions, rollout_text)]


def _texts(completions: Sequence[Completion], rollout_text: Sequence[str] | None) -> list[str]:
    if rollout_text is not None:
        return list(rollout_text)
    return [_text(completion) for completion in completions]


def _text(completion: Completion) -> str:
    """The text of a completion: itself, or the parts of its messages joined."""
    if isinstance(completion, str):
        return completion
    contents = (message.get("content") or "" for message in completion)
    return "".join(
        content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)
        for content in contents
    )


def _is_well_formed(text: str) -> bool:
    if any(text.count(tag) != 1 for tag in _TAGS):
        return False
    text = text.strip()
    if not (text.startswith("<think>") and text.endswith("</answer>")):
        return False
    thought, closed, rest = text.removeprefix("<think>").removesuffix("</answer>").partition("</think>")
    between, opened, answer = rest.partition("<answer>")
    if not (closed and opened) or between.strip():
        return False
    return _has_words(_without_blocks(thought)) and _has_words(answer) and _latents_are_in_order(thought, answer)


def _has_words(text: str) -> bool:
    # `isalnum` rather than "not blank": zero-width characters and bare punctuation are no reasoning.
    return any(character.isalnum() for character in text)


def _latents_are_in_order(thought: str, answer: str) -> bool:
    """Every latent token belongs to a block of start, pads and end, and all blocks stand in the reasoning."""
    if any(token in answer for token in LATENT_TOKENS):
        return False
    outside, *blocks = thought.split(LATENT_START)
    if LATENT_PAD in outside or LATENT_END in outside:
        return False
    for block in blocks:
        inside, closed, after = block.partition(LATENT_END)
        if not closed or not inside or inside.replace(LATENT_PAD, "") or LATENT_PAD in after or LATENT_END in after:
            return False
    return True


def _without_blocks(text: str) -> str:
    """The text outside latent blocks. A block that never ends swallows the rest: nothing in it was said."""
    before, *blocks = text.split(LATENT_START)
    # Joined by a space, so that no tag comes together from pieces around a block.
    return " ".join([before, *(block.partition(LATENT_END)[2] for block in blocks)])

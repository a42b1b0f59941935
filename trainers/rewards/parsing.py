"""Parse a completion into text, tags and latent blocks for rewards, in linear time."""

from collections.abc import Sequence
from typing import Any

from ...modeling.tokens import LATENT_END, LATENT_PAD, LATENT_START, LATENT_TOKENS

Completion = str | list[dict[str, Any]]

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def completion_texts(completions: Sequence[Completion], rollout_text: Sequence[str] | None) -> list[str]:
    """The text of each completion: `rollout_text`, in which latent tokens are kept, or else its own text."""
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


def well_formed_reasoning(text: str) -> str | None:
    """The words of the reasoning, outside latent blocks, if a completion has the agreed format, else nothing.

    The format is exactly `<think>…</think><answer>…</answer>` with words in both. White space may stand around and
    between the two; each tag occurs once, in any case. Latent blocks may stand in the reasoning, nowhere else, and
    only as start, pads, end.
    """
    lowered = text.lower()
    if any(lowered.count(tag) != 1 for tag in _TAGS):
        return None
    text = text.strip()
    if not (text.startswith("<think>") and text.endswith("</answer>")):
        return None
    thought, closed, rest = text.removeprefix("<think>").removesuffix("</answer>").partition("</think>")
    between, opened, answer = rest.partition("<answer>")
    if not (closed and opened) or between.strip():
        return None
    words = drop_latent_blocks(thought)
    return words if _has_words(words) and _has_words(answer) and _latents_are_in_order(thought, answer) else None


def _has_words(text: str) -> bool:
    # `isalnum` rather than "not blank": zero-width characters and bare punctuation are no reasoning.
    return any(character.isalnum() for character in text)


def _latents_are_in_order(thought: str, answer: str) -> bool:
    """Every latent token belongs to a block of start, pads and end, and all blocks are in the reasoning."""
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


def drop_latent_blocks(text: str) -> str:
    """Remove latent blocks from a text. A block without an end extends to the end of the text."""
    before, *blocks = text.split(LATENT_START)
    # Joined by a space, so that no tag comes together from pieces around a block.
    return " ".join([before, *(block.partition(LATENT_END)[2] for block in blocks)])

"""Tokens and text format: latent tokens, imagery marks, options, answers. Pure Python."""

import re
from collections.abc import Sequence
from typing import Literal

AnswerForm = Literal["letter", "text"]

LATENT_PAD = "<|latent_pad|>"
LATENT_START = "<|latent_start|>"
LATENT_END = "<|latent_end|>"
# Published checkpoints added them in this order, so their ids on Qwen's tokenizers are 151665, 151666 and 151667.
LATENT_TOKENS = (LATENT_PAD, LATENT_START, LATENT_END)

IMAGERY_MARK = "<output_image>"
OPTION_LETTERS = "ABCDEFGHIJ"  # a question has two options to ten
# Start of a block of MLLM-4D's reasoning with the positions of camera and object in a frame.
SPATIAL_STATE = "Spatial State (Frame "

_BLOCK = re.compile(f"{re.escape(LATENT_START)}((?:{re.escape(LATENT_PAD)})*)(?:{re.escape(LATENT_END)})?")


def latent_block(latent_size: int) -> str:
    """The text of one imagined image: start, `latent_size` pads, end."""
    return LATENT_START + LATENT_PAD * latent_size + LATENT_END


def expand_imagery_marks(text: str, latent_size: int) -> str:
    """Replace every `<output_image>` mark by a latent block."""
    return text.replace(IMAGERY_MARK, latent_block(latent_size))


def drop_imagery_marks(text: str) -> str:
    """Remove every `<output_image>` mark and one space before it: the text-only control of the same response."""
    return re.sub(rf" ?{re.escape(IMAGERY_MARK)}", "", text)


def imagery_note(number: int, latents: int) -> str:
    """What stands for a latent block in readable text; blocks are numbered from 1."""
    return f"[imagery {number}: {latents} latents]"


def show_latent_blocks(text: str) -> str:
    """Replace every latent block by a readable note such as `[imagery 1: 4 latents]`."""
    return note_latent_blocks(text)[0]


def note_latent_blocks(text: str) -> tuple[str, list[dict[str, int]]]:
    """Replace latent blocks by notes, as [`show_latent_blocks`] does.

    Returns:
        `tuple[str, list[dict[str, int]]]`: The text and, for each block, its `latents` and the `start` and `end` of
        its note in the text.
    """
    shown, blocks, copied = "", [], 0
    for number, match in enumerate(_BLOCK.finditer(text), start=1):
        latents = match[1].count(LATENT_PAD)
        shown += text[copied : match.start()]
        start, copied = len(shown), match.end()
        shown += imagery_note(number, latents)
        blocks.append({"latents": latents, "start": start, "end": len(shown)})
    return shown + text[copied:], blocks


def format_options(options: Sequence[str]) -> str:
    """One line an option, with its letter; ten of them at most."""
    letters = OPTION_LETTERS[: len(options)]
    return "\n".join(f"{letter}. {option}" for letter, option in zip(letters, options, strict=True))


def format_answer(letter: str, options: Sequence[str], form: AnswerForm = "letter") -> str:
    """The content of `<answer>`: `B. Pan Right`, or in the form `"text"` `Pan Right`."""
    text = options[OPTION_LETTERS.index(letter)]
    return f"{letter}. {text}" if form == "letter" else text


def format_response(reasoning: str, letter: str, options: Sequence[str], form: AnswerForm = "letter") -> str:
    """A whole response: `<think>…</think><answer>B. …</answer>`."""
    return f"<think>{reasoning}</think><answer>{format_answer(letter, options, form)}</answer>"


def format_spatial_state(frame: int, camera: Sequence[float] | None, object_center: Sequence[float] | None) -> str:
    """Format the centres of camera and object in a frame, in metres, as MLLM-4D's reasoning states them.

    Args:
        frame (`int`): Number of the frame.
        camera (`Sequence[float]`, *optional*): x, y and z of the camera's centre; without it the text says `null`.
        object_center (`Sequence[float]`, *optional*): The same of the object.
    """
    centers = [
        "null" if center is None else f"[{', '.join(f'{axis:z.2f}' for axis in center)}]"
        for center in (camera, object_center)
    ]
    return f"{SPATIAL_STATE}{frame}):\n- Camera Center: {centers[0]}\n- Object Center: {centers[1]}"

"""Convert a response to readable text, whole or while it is generated."""

import re
from collections.abc import Callable

from transformers import PreTrainedTokenizerBase, TextStreamer

from .tokens import LATENT_END, LATENT_START, LATENT_TOKENS, note_latent_blocks, show_latent_blocks

_RESPONSE = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_END_OF_TURN = re.compile(r"<\|im_end\|>|<\|endoftext\|>")
_MARKS = ("<think>", "</think>", "<answer>", "</answer>", "<|im_end|>", "<|endoftext|>", *LATENT_TOKENS)
_TAGS = (
    (re.compile(r"\A\s*(?:<think>\s*)?"), ""),
    (re.compile(r"\s*</think>\s*"), "\n\n"),
    (re.compile(r"\s*<answer>\s*"), "\n\nAnswer: "),
    (re.compile(r"\s*</answer>\s*"), ""),
    (re.compile(r"\n{3,}"), "\n\n"),
)


def parse_response_text(response: str) -> dict:
    """A response taken apart.

    Returns:
        `dict`: `text`, the response with a note in the place of each latent block; `answer`, `None` where the tags are
        not complete; `reasoning`, in that case the whole text; `blocks`, for each the number of `latents` and where
        its note stands in the text (`start`, `end`).
    """
    text, blocks = note_latent_blocks(response)
    match = _RESPONSE.fullmatch(text)
    reasoning, answer = (match[1].strip(), match[2].strip()) if match else (text, None)
    return {"answer": answer, "reasoning": reasoning, "text": text, "blocks": blocks}


def format_response_text(response: str) -> str:
    """The reasoning with a note in the place of each latent block, an empty line, the answer."""
    text = show_latent_blocks(_END_OF_TURN.split(response)[0])
    for tag, words in _TAGS:
        text = tag.sub(words, text)
    return text.rstrip()


class ResponseStreamer(TextStreamer):
    """Prints a response as `format_response_text` writes it, as soon as what is still to come cannot change it.

    Args:
        tokenizer: The model's tokenizer.
        write (`Callable[[str], None]`, *optional*): Where the text goes; by default to stdout at once.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, write: Callable[[str], object] | None = None):
        super().__init__(tokenizer, skip_prompt=True)
        self.write = write or (lambda text: print(text, end="", flush=True))
        self._response = ""
        self._written = ""

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Take what has been decoded since the last call."""
        self._response += text
        readable = format_response_text(self._response if stream_end else _find_stable_part(self._response))
        self.write(readable[len(self._written) :] + ("\n" if stream_end else ""))
        self._written = readable


def _find_stable_part(response: str) -> str:
    """The part that cannot become a tag, a latent block or the turn's end any more."""
    opened = response.rfind(LATENT_START)
    if response.find(LATENT_END, opened) < opened:
        return response[:opened]
    bracket = response.rfind("<")
    if bracket >= 0 and any(mark.startswith(response[bracket:]) for mark in _MARKS):
        return response[:bracket]
    return response

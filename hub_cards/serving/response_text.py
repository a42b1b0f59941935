"""Split the tokens of a response, as they come, into reasoning, answer and latent blocks."""

import re
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from ...modeling.latent_rules import LatentRules
from ...modeling.tokens import imagery_note
from .events import Field, ImageryBlock, TextDelta

_TAG = re.compile(r"</?think>|</?answer>")
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_UNFINISHED = "\ufffd"  # what decoding gives for the bytes of half a character


class ResponseText:
    """Text of one response: takes tokens, gives what no later token can change.

    What stands in `<think>` is `reasoning_content`, all else is `content`; both without the white space at their
    ends.

    Args:
        tokenizer: The model's tokenizer.
        rules ([`LatentRules`]): Ids of the latent tokens.
        stop (`Sequence[str]`, *optional*): Texts before which the response ends; tags can be among them.

    Attributes:
        stopped (`bool`): Whether a stop text was met; no token may follow.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rules: LatentRules, stop: Sequence[str] = ()):
        self.stopped = False
        self._tokenizer, self._rules, self._stop = tokenizer, rules, stop
        self._ends = (*_TAGS, *stop)  # what text must not be given away half
        self._bytes: list[int] = []  # tokens of half a character
        self._text = ""  # text that may be the start of a tag or stop text
        self._field: Field = "content"
        self._lengths: dict[Field, int] = {"reasoning_content": 0, "content": 0}
        self._space = ""  # white space that is dropped if nothing follows in its field
        self._latents: int | None = None  # of the block that is open
        self._blocks = 0

    def add(self, token: int) -> Iterator[TextDelta | ImageryBlock]:
        """Take the next token of the response; the end of the turn is none."""
        rules = self._rules
        if token in (rules.start, rules.pad, rules.end):
            yield from self._flush_text()
            if self.stopped:
                return
            if token == rules.start:
                yield from self._close_block()
                self._latents = 0
            elif token == rules.pad:
                self._latents = (self._latents or 0) + 1
            else:
                yield from self._close_block()
            return
        self._bytes.append(token)
        text = self._tokenizer.decode(self._bytes, skip_special_tokens=False)
        if not text.endswith(_UNFINISHED):
            self._bytes = []
            yield from self._take(text)

    def finish(self) -> Iterator[TextDelta | ImageryBlock]:
        """Give what was kept back, at the end of the response."""
        if not self.stopped:
            yield from self._flush_text()
        if not self.stopped:
            yield from self._close_block()

    def _take(self, text: str) -> Iterator[TextDelta | ImageryBlock]:
        self._text += text
        places = [place for stop in self._stop if (place := self._text.find(stop)) >= 0]
        if places:
            self.stopped, self._text = True, self._text[: min(places)]
            yield from self._give(self._text)
            self._text = ""
            return
        kept = next((n for n in range(len(self._text)) if self._may_begin(self._text[n:])), len(self._text))
        ready, self._text = self._text[:kept], self._text[kept:]
        yield from self._give(ready)

    def _may_begin(self, tail: str) -> bool:
        return any(len(tail) < len(end) and end.startswith(tail) for end in self._ends)

    def _flush_text(self) -> Iterator[TextDelta | ImageryBlock]:
        """Give all text: a tag cannot go on behind a latent token."""
        rest, self._bytes = self._bytes, []
        if rest:
            yield from self._take(self._tokenizer.decode(rest, skip_special_tokens=False))
        text, self._text = self._text, ""
        yield from self._give(text)

    def _give(self, text: str) -> Iterator[TextDelta]:
        """Give text whose tags are whole."""
        place = 0
        for tag in _TAG.finditer(text):
            yield from self._write(text[place : tag.start()])
            place = tag.end()
            if tag[0] == "<answer>" and self._lengths["content"]:
                self._space = "\n\n"  # between what was said before the answer and the answer
            if tag[0].endswith("think>"):
                self._field, self._space = ("content" if tag[0][1] == "/" else "reasoning_content"), ""
                if self._lengths[self._field]:
                    self._space = "\n\n"
        yield from self._write(text[place:])

    def _write(self, text: str) -> Iterator[TextDelta]:
        if not text:
            return
        if not self._lengths[self._field]:
            text = text.lstrip()
        else:
            text = self._space + text
        kept = text.rstrip()
        self._space = text[len(kept) :]
        if kept:
            self._lengths[self._field] += len(kept)
            yield TextDelta(self._field, kept)

    def _close_block(self) -> Iterator[TextDelta | ImageryBlock]:
        if self._latents is None:
            return
        latents, self._latents = self._latents, None
        self._blocks += 1
        if self._space and self._lengths[self._field]:
            self._lengths[self._field] += len(self._space)
            yield TextDelta(self._field, self._space)
        self._space = ""
        note, start = imagery_note(self._blocks, latents), self._lengths[self._field]
        self._lengths[self._field] += len(note)
        yield ImageryBlock(self._blocks, self._field, start, latents, note)

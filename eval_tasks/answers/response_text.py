"""Prepare a response for reading: without its reasoning, and as plain text without markup and LaTeX."""

import re
import unicodedata
from collections import deque

BOX_OPEN, BOX_CLOSE = "\x0e", "\x0f"  # stand for `\boxed{` and its `}` in a plain text

_REASONING_TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<analysis>", "</analysis>"),
    ("<reasoning>", "</reasoning>"),
    ("[think]", "[/think]"),
    ("◁think▷", "◁/think▷"),
)
_SPECIAL = re.compile(r"<\|[A-Za-z_]{1,32}\|>|</?s>|<eos>|<end_of_turn>")
_BOXED = re.compile(r"\\f?boxed\s{0,4}\{")
_LATEX_COMMAND = re.compile(r"\\[A-Za-z]{1,32}")
_LATEX_SYMBOL = re.compile(r"\\([%#&])|\\[^A-Za-z%#&]")
# An element in tags of whatever name, as `<ans>B</ans>`.
_ELEMENT = re.compile(r"<([A-Za-z_]{2,24})>([^<>]{0,400})</\1>|\[([A-Z]{2,12})\]([^\[\]]{0,400})\[/\3\]")
_SPACES = re.compile(r"[ ~]{2,}")
_MARKUP = str.maketrans({**dict.fromkeys('*_`$"“”„«»「」『』{}#'), "~": " ", "‘": "'", "’": "'"})
# An apostrophe inside a word stays.
_QUOTES = (*(before + "'" for before in " \n(:=["), *("'" + after for after in " \n.,:;)]!?"))
# A statement of the answer comes at the end; reading further back only costs time.
_TAIL = 20_000
_MOST_BOXES, _LONGEST_BOX = 64, 512


def drop_reasoning(text: str) -> str:
    """Reduce a response to what answers: the last answer block after the reasoning, else all that is outside it.

    Reasoning that is left open reaches to the next answer block, else to the end. What stands before a closing tag
    without an opening one is reasoning too: chat templates write the opening tag into the prompt.
    """
    lowered = text.lower()
    if len(lowered) != len(text):  # of a few letters, such as İ
        lowered = text
    start = 0
    for _, closing in _REASONING_TAGS:
        if (found := lowered.rfind(closing, start)) >= 0:
            start = found + len(closing)
    block = lowered.rfind("<answer>", start)
    if block >= 0:
        start = block + len("<answer>")
        ends = [lowered.find("</answer>", start)]
    else:
        ends = [lowered.find(opening, start) for opening, _ in _REASONING_TAGS]
    end = min((end for end in ends if end >= 0), default=len(text))
    spoken = text[start:end]
    return _SPECIAL.sub("", spoken) if "<" in spoken else spoken


def to_plain_text(text: str) -> str:
    r"""Remove bold type, quotes, LaTeX commands and brackets from the end of a response.

    `\boxed{…}` is kept as `BOX_OPEN…BOX_CLOSE`. Every other command goes and its argument stays, so that
    `\textbf{(B)}` and `\( B \)` read as what they show.
    """
    text = text[-_TAIL:].replace(BOX_OPEN, " ").replace(BOX_CLOSE, " ")
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)[-_TAIL:]
    if "\\" in text:
        text = _LATEX_SYMBOL.sub(lambda match: match[1] or " ", _LATEX_COMMAND.sub(" ", _mark_boxes(text)))
        text = _SPACES.sub(" ", text)
    if "</" in text or "[/" in text:
        text = _ELEMENT.sub(lambda match: f"\n{match[2] or match[4]}\n", text)
    text = text.translate(_MARKUP).strip()
    if "'" in text:
        text = text.strip("'")
        for quote in _QUOTES:
            text = text.replace(quote, quote.strip("'"))
    return text.strip()


def _mark_boxes(text: str) -> str:
    """Write `BOX_OPEN…BOX_CLOSE` for each box, whose braces may be nested."""
    parts, copied = [], 0
    for match in deque(_BOXED.finditer(text), maxlen=_MOST_BOXES):
        if match.start() < copied:
            continue
        depth, end = 1, match.end()
        while depth and end < min(len(text), match.end() + _LONGEST_BOX):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if not depth:
            content = _BOXED.sub(" ", text[match.end() : end - 1])
            parts += [text[copied : match.start()], BOX_OPEN, content, BOX_CLOSE]
            copied = end
    return "".join([*parts, text[copied:]])

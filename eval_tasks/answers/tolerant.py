"""The tolerant reader: what a careful reader would take the answer of a response to be.

Every pattern has bounded or disjoint repeats, so that no text costs more than linear time.
"""

import re

from ...modeling.offered_options import OfferedOptions
from .plain_options import UNCLEAR, PlainOptions
from .response_text import drop_reasoning, to_plain_text
from .statements import first_sentence, last_sentence, read_statements

_LEAD = re.compile(
    r"(?:(?:so|therefore|thus|hence|finally|overall|consequently|accordingly|then|in conclusion|in summary|conclusion|result)\b"
    r"[,:]?\s{1,4}|[-•>→⇒]\s{0,4}|(?:the\s)?(?:option|choice|answer|letter)\s{1,4}(?:is\s{1,4})?){1,3}",
    re.IGNORECASE,
)
# A letter that opens an item of a list or a sentence: the options, or a discussion of each.
_ITEM = re.compile(r"(?:\A|[.!?;:,\n]\s{0,4})[-•]?\s{0,3}(?:[Oo]ption\s)?[(\[]?([A-J])[.:)\]]\s")
_REJECTION = re.compile(
    r"\b(?:not|no|cannot|never|wrong|incorrect|neither|nor|eliminate|eliminated|rule|ruled|exclude|unlikely|unclear|if|whether)\b|n't\b",
    re.IGNORECASE,
)
# A longer response without an end to its last sentence was cut off before it answered.
_LONG = 2_500
_ENDED = re.compile(r"[.!?。！？)\]:;]\s*\Z")


def read_tolerantly(text: str, offer: OfferedOptions) -> str | None:
    """The letter that the response means, or nothing."""
    options = PlainOptions(offer)
    answer = to_plain_text(drop_reasoning(text))
    letter = options.choice(answer) or read_statements(answer, options) or _read_lines(answer, options)
    letter = letter or _read_conclusion(answer, options)
    return letter if letter != UNCLEAR else None


def _read_lines(text: str, options: PlainOptions) -> str | None:
    """The one choice that stands on a line of its own, the list of all options aside."""
    lines = [line.strip() for line in text.splitlines()]
    read = [(line, letter) for line in lines if line and (letter := options.choice(_LEAD.sub("", line, count=1)))]
    letters = [letter for _, letter in read]
    if letters[: len(options.letters)] == list(options.letters):
        letters = letters[len(options.letters) :] or [UNCLEAR]
    if len(set(letters)) == 1:
        return letters[0]
    # Several, and the last line is one of them: the options once more, or each of them discussed.
    return UNCLEAR if read and read[-1][0] == next(line for line in reversed(lines) if line) else None


def _read_conclusion(text: str, options: PlainOptions) -> str | None:
    """What the last sentence says, or the first if the last says nothing."""
    if len(text) > _LONG and not _ENDED.search(text):
        return None
    sentence = last_sentence(text)
    discussed = len(set(_ITEM.findall(text))) > 1
    lead = _LEAD.match(sentence)
    if (lead or not discussed) and (letter := options.choice(sentence[lead.end() :] if lead else sentence)):
        return letter
    mentions = options.mentions(sentence)
    if not mentions:
        return options.named_by_text(sentence)
    marked = options.marked_mentions(sentence)
    letters = {match[3] for match in marked}
    if len(mentions) == 1 == len(letters) and marked[0].start() and not _REJECTION.search(sentence):
        letter = options.letter(letters.pop())
        return UNCLEAR if letter and options.contradicts(letter, sentence[marked[-1].end() :]) else letter
    return None if discussed else options.choice(first_sentence(text))

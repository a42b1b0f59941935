"""The tolerant reader: what a careful reader would take the answer of a response to be.

Every pattern has bounded or disjoint repeats, so that no text costs more than linear time.
"""

import re

from .plain_options import UNCLEAR, PlainOptions
from .response_text import drop_reasoning, to_plain_text
from .statements import first_sentence, last_sentence, read_statements

_LEAD = re.compile(
    r"(?:(?:so|therefore|thus|hence|finally|overall|consequently|accordingly|then|in conclusion|in summary|conclusion|"
    r"result)\b[,:]?\s{1,4}|[-•>→⇒∴]\s{0,4}|(?:the\s)?(?:option|choice|answer|letter)\s{1,4}(?:is\s{1,4})?){1,3}",
    re.IGNORECASE,
)
# A letter that opens an item of a list or a sentence: the options, or a discussion of each.
_ITEM = re.compile(r"(?:\A|[.!?;:,\n]\s{0,4})[-•]?\s{0,3}(?:[Oo]ption\s)?[(\[]?([A-J])[.:)\]]\s")
_REJECTION = re.compile(
    r"\b(?:not|no|cannot|never|wrong|incorrect|neither|nor|eliminate|eliminated|rule|ruled|exclude|unlikely|unclear|if|whether)\b|n't\b",
    re.IGNORECASE,
)
_ENDING = re.compile(
    r"(?:\b(?:it is|it's|that is|that's|(?:would|must|should) be|(?:so|hence|thus|therefore),?)|[→⇒:])\s{1,4}"
    r"(?:option\s)?[(\[]?([A-J])[)\]]?(?=\s{0,4}(?:[.!]?\Z|[-–—,;(]))",
    re.IGNORECASE,
)
# "The most accurate description is B", "the best match is B. right".
_SUPERLATIVE = re.compile(
    r"\b(?:best|closest|most [a-z]{3,16}|only|correct|right)\b[^.!?\n]{1,80}?\b(?:is|be)\s{0,4}:?\s{1,4}"
    r"(?=[(\[]?[A-J]\b)"
)
_FITTING = re.compile(
    r"(?:\A|,\s)[(\[]?([A-J])[)\]]?\s(?:fits|matches|describes|captures|aligns|corresponds|seems|appears|makes sense|"
    r"remains|stands out|applies|works|is the (?:best|closest|most))\b"
)
_CONCLUDING = re.compile(r"(?:so|therefore|thus|hence|finally|overall|conclusion|final)\b", re.IGNORECASE)
# A list of the options in which each is marked as right or wrong.
_LISTED = re.compile(r"[-•|\s]{0,8}(?:option\s)?[(\[]?([A-J])(?![A-Za-z0-9'])", re.IGNORECASE)
_APPROVED = re.compile(r"(?:[✅✓✔☑]|(?<!not )\bcorrect)[\W_]*\Z", re.IGNORECASE)
_REJECTED = re.compile(r"(?:[❌✗✘✖✕]|\b(?:incorrect|wrong|not correct))[\W_]*\Z", re.IGNORECASE)
# A longer response without an end to its last sentence was cut off before it answered.
_LONG = 2_500
_ENDED = re.compile(r"[.!?。！？)\]:;]\s*\Z")


def read_tolerantly(text: str, options: PlainOptions) -> str | None:
    """The letter that the response means, or nothing."""
    answer = to_plain_text(drop_reasoning(text))
    letter = options.choice(answer, trust_letter=False) or read_statements(answer, options)
    letter = letter or _read_marks(answer, options) or _read_lines(answer, options)
    letter = letter or _read_conclusion(answer, options)
    return letter if letter != UNCLEAR else None


def _read_marks(text: str, options: PlainOptions) -> str | None:
    """The one option that a list marks as right, where it marks others as wrong."""
    if "orrect" not in text and text.isascii():  # neither a word nor a sign approves
        return None
    lines = [line for line in text.splitlines() if line.strip()]
    approved, rejected = (
        {listed[1].upper() for line in lines if mark.search(line[-24:]) and (listed := _LISTED.match(line))}
        for mark in (_APPROVED, _REJECTED)
    )
    return options.letter(approved.pop()) if len(approved) == 1 and rejected - approved else None


def _read_lines(text: str, options: PlainOptions) -> str | None:
    """The one choice that stands on a line of its own, the list of all options aside."""
    lines = [line.strip() for line in text.splitlines()]
    read = [(line, letter) for line in lines if line and (letter := options.choice(_drop_lead(line)))]
    letters = [letter for _, letter in read]
    if read and lines[-1] == read[-1][0] and _CONCLUDING.match(lines[-1]):
        return letters[-1]
    if letters[: len(options.letters)] == list(options.letters):
        letters = letters[len(options.letters) :]
    if len(set(letters)) == 1:
        return letters[0]
    # Several, and the last line is one of them: the options once more, or each of them discussed.
    return UNCLEAR if read and read[-1][0] == next(line for line in reversed(lines) if line) else None


def _read_conclusion(text: str, options: PlainOptions) -> str | None:
    """What the last sentence says, or the first if the last says nothing."""
    if len(text) > _LONG and not _ENDED.search(text):
        return None
    sentence = last_sentence(text)
    if sentence.endswith("?"):
        return None
    stated = _drop_lead(sentence)
    if (letter := options.choice(stated)) and (stated != sentence or not _discusses_options(text)):
        return letter
    mentions = options.mentions(sentence)
    if letter := _read_verdict(sentence, mentions, options):
        return letter
    if not mentions:
        return options.named_by_text(sentence)
    marked = options.marked_mentions(sentence)
    letters = {match[3] for match in marked}
    if len(mentions) == 1 == len(letters) and marked[0].start() and not _REJECTION.search(sentence):
        letter = options.letter(letters.pop())
        return letter and options.agreed(letter, sentence[: marked[0].start()], sentence[marked[-1].end() :])
    letter = options.choice(first_sentence(text))
    return letter if letter and not _discusses_options(text) else None


def _read_verdict(sentence: str, mentions: set[str], options: PlainOptions) -> str | None:
    """A letter that a sentence ends with, or says to be the best."""
    if best := _SUPERLATIVE.search(sentence):
        return options.choice(sentence[best.end() :])
    for ending in reversed(list(_ENDING.finditer(sentence))):
        letter, rest = options.letter(ending[1]), sentence[ending.end() :]
        last = ending[0][0].isalpha() and not rest.strip(" .!")  # an arrow may be one of several
        if letter and (mentions <= {letter} or last):
            return options.agreed(letter, "", rest)
    fitting = _FITTING.search(_drop_lead(sentence))
    fits = fitting and mentions <= {fitting[1]} and not _REJECTION.search(sentence)
    return options.letter(fitting[1]) if fits else None


def _discusses_options(text: str) -> bool:
    """Whether several options are listed or gone through one by one."""
    return len(set(_ITEM.findall(text))) > 1


def _drop_lead(sentence: str) -> str:
    """Remove "So," and the like, bullets, and "the answer is"."""
    lead = _LEAD.match(sentence)
    return sentence[lead.end() :] if lead else sentence

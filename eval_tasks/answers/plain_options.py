"""What a piece of plain text names of the offered options: a letter, a letter with a text, or a text in a sentence."""

import re

from ...modeling.offered_options import OfferedOptions
from ...modeling.row_rules import comparable_text
from .response_text import BOX_CLOSE, BOX_OPEN, to_plain_text

UNCLEAR = "?"  # what is read where a text names several options with equal force, or a letter with another's text

_LETTER = re.compile(r"[(\[<]?\s?([A-Za-z])\s?[)\]>]?[.:,;。!]?")
# A letter, what stands between it and the rest, and the rest. After a weak separator only an option's text is trusted.
_LETTER_AND_REST = re.compile(
    r"(?:[(\[<]([A-Za-z])[)\]>][.:,]?|([A-Za-z])[.:)]{1,2})\s{0,8}(\S.*)|([A-Z])(?:\s{0,3}[-–—=,/|>]|\s{0,3}\(|\s)\s{0,3}(\S.*)",
    re.DOTALL,
)
_MENTION = re.compile(
    r"(?:\b([Oo]ption|[Cc]hoice|[Aa]nswer|[Ll]etter)\s{1,3})?(?<![A-Za-z0-9'])(?<!\d\s)([(\[<]?)([A-J])(?![A-Za-z0-9'])(\s{0,2}[)\].:,;!?/>]|\Z)?"
)
_LONE_CAPITAL = re.compile(r"[A-J](?![A-Za-z0-9'])")
_REASON = re.compile(r"(?:because|since|as|due to|given|based on)\b")
_SHORT = 16  # room for brackets and spaces around a choice
_OUTER = ' \t\n.:;,()[]<>-–—="' + BOX_OPEN + BOX_CLOSE
_COUNTER = re.compile(r"\b(?:counter|anti)[- ]?clockwise\b")
_NUMBERS = {word: str(n) for n, word in enumerate("zero one two three four five six seven eight nine ten".split())}
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(_NUMBERS)})\b")
# "One" is mostly a pronoun: it counts where an article or a preposition does not make it one.
_PRONOUN_ONE = re.compile(r"\b(?:no|the|this|that|each|any|every|which|another) one\b|\bone (?:of|that|who|another)\b")
_CLAUSE_START = re.compile(r"[,;:(]|\b(?:but|and|then|while|so)\b")
_NEGATORS = frozenset(
    "not no never nor neither without cannot unable unclear impossible whether if unlike rather instead than except "
    "incorrect incorrectly wrong".split()
)
_EMPHASIS = re.compile(r"\b(?:no|without(?: a)?) doubt\b|\bnot only\b")
_ORIGIN = re.compile(r"\bfrom (?:the |its |their )?\Z")
_DENIAL = re.compile(
    r"\s(?:is|are|was|were|can be|would be|seems)\s(?:not|never|in?correct|wrong|ruled|eliminated|excluded|un)"
)
_INTERJECTIONS = ("yes", "no", "true", "false")


class PlainOptions:
    """The offered letters and texts, the texts in the same plain form as the response.

    Args:
        offer (`OfferedOptions`): What the question offers.
    """

    def __init__(self, offer: OfferedOptions):
        self.letters, self.longest = offer.letters, offer.longest
        self.texts = [_comparable(to_plain_text(text)) for text in offer.texts or ()]
        self.counts = any(text.isdigit() or text in _NUMBERS for text in self.texts)
        if self.counts:
            self.texts = [_NUMBERS.get(text, text) for text in self.texts]
        self.longest_text = max(map(len, self.texts), default=0)

    def letter(self, letter: str) -> str | None:
        """The letter in upper case if it is offered."""
        return letter.upper() if letter.upper() in self.letters else None

    def by_text(self, text: str) -> str | None:
        """The letter of the first option with this text."""
        text = self._comparable(text)
        return self.letters[self.texts.index(text)] if text and text in self.texts else None

    def choice(self, text: str, trust_letter: bool = True) -> str | None:
        """The letter if the whole text is one choice: a letter, a letter with a text, or an option's text.

        A letter with a text that is no option's is trusted where a stop, colon or bracket marks it as one: people and
        models paraphrase. A letter with the text of another option is `UNCLEAR`.

        Args:
            text (`str`): A candidate.
            trust_letter (`bool`, *optional*, defaults to `True`): Accept a letter with such a text.
        """
        if len(text) > self.longest:
            return None
        text = text.strip(" \t\n" + BOX_OPEN + BOX_CLOSE)
        if len(text) < _SHORT and (match := _LETTER.fullmatch(text)):
            return self.letter(match[1])
        if len(text) < 2 * self.longest_text + _SHORT and (letter := self.by_text(text)):
            return letter
        match = _LETTER_AND_REST.fullmatch(text)
        letter = self.letter(match[1] or match[2] or match[4]) if match else None
        if match is None or letter is None:
            return None
        rest = match[3] or match[5]
        if self._own(letter) and self._comparable(rest[: 2 * self.longest_text + _SHORT].strip(_OUTER)) == self._own(
            letter
        ):
            return letter  # which may name other letters: "Object B, then object A"
        if "\n" in rest or self.mentions(rest) - {letter}:
            return None
        if self._contradicts(letter, rest):
            return UNCLEAR
        trusted = trust_letter and (match[3] or _REASON.match(rest))
        return letter if trusted or self.starts_with_own(letter, rest) else None

    def agreed(self, letter: str, before: str, after: str) -> str:
        """The letter, or `UNCLEAR` if the words right before it or after it are the text of another option."""
        return UNCLEAR if self._contradicts(letter, after) or self._contradicted_by(letter, before) else letter

    def starts_with_own(self, letter: str, rest: str) -> bool:
        """Whether what follows a letter begins with the text of its option."""
        own = self._own(letter)
        head = self._comparable(rest[: 2 * len(own) + _SHORT].strip(_OUTER)) if own else ""
        return bool(own) and head.startswith(own) and not head[len(own) : len(own) + 1].isalnum()

    def _contradicts(self, letter: str, rest: str) -> bool:
        """Whether what follows a letter, up to the end of its sentence, is the text of another option."""
        if not self.texts or self.starts_with_own(letter, rest):
            return False
        head = self._comparable(rest[: 2 * self.longest_text + _SHORT].lstrip(_OUTER).partition("\n")[0])
        own = self._own(letter)
        for text in self.texts:
            if (
                text
                and text != own
                and head.startswith(text)
                and head[len(text) : len(text) + 1] in ("", *".);!?" + BOX_CLOSE)
            ):
                return True
        return False

    def _contradicted_by(self, letter: str, before: str) -> bool:
        """Whether the words before a letter, as in `left (D)`, are the text of another option."""
        tail = self._comparable(before[-2 * self.longest_text - 16 :].rstrip(_OUTER)) if self.texts else ""
        ends = [text for text in self.texts if text and tail.endswith(text) and not tail[: -len(text)][-1:].isalnum()]
        return bool(ends) and max(ends, key=len) != self._own(letter)

    def mentions(self, text: str) -> set[str]:
        """The letters that a text names as letters, offered or not; not the article "a" and the pronoun "I"."""
        if not _LONE_CAPITAL.search(text):  # most lines of a reasoning, found out in a fraction of the time
            return set()
        return {
            match[3]
            for match in _MENTION.finditer(text)
            if match[1] or match[2] or match[3] not in "AI" or match[4] is not None
        }

    def marked_mentions(self, text: str) -> list[re.Match]:
        """The letters that a word or a bracket marks as options: `option B`, `(B)`; the letter is group 3."""
        return [match for match in _MENTION.finditer(text) if match[1] or (match[2] and match[4])]

    def named_by_text(self, sentence: str) -> str | None:
        """The letter of the one option whose text stands in a sentence, as whole words and not negated.

        The longest text is matched first, so that "not moving" is not "moving".
        """
        if len(sentence) > self.longest or not self.texts or sentence.rstrip().endswith("?"):
            return None
        sentence = self._comparable(sentence)
        taken: list[tuple[int, int]] = []
        found = set()
        for text in sorted(set(self.texts) - {""}, key=len, reverse=True):
            start = sentence.find(text)
            while start >= 0:
                end = start + len(text)
                if _stands_alone(sentence, start, end) and all(end <= low or start >= high for low, high in taken):
                    taken.append((start, end))
                    if not _is_denied(sentence, start, end):
                        found.add(text)
                start = sentence.find(text, end)
        return self.letters[self.texts.index(found.pop())] if len(found) == 1 else None

    def _own(self, letter: str) -> str:
        return self.texts[self.letters.index(letter)] if self.texts else ""

    def _comparable(self, text: str) -> str:
        text = _comparable(text)
        if self.counts and not _PRONOUN_ONE.search(text):
            text = _NUMBER_WORD.sub(lambda match: _NUMBERS[match[0]], text)
        return text


def _comparable(text: str) -> str:
    text = comparable_text(text)
    return _COUNTER.sub("counterclockwise", text) if "clockwise" in text else text


def _stands_alone(sentence: str, start: int, end: int) -> bool:
    """Whether a stretch is made of whole words; "left-hand" and "2.5" are one word each."""
    if sentence[start:end] in _INTERJECTIONS:
        return start == 0
    before, after = sentence[max(0, start - 2) : start], sentence[end : end + 2]
    if before[-1:].isalnum() or after[:1].isalnum():
        return False
    joined_before = len(before) == 2 and before[1] in "-.'" and before[0].isalnum()
    joined_after = len(after) == 2 and after[0] in "-.'" and after[1].isalnum()
    return not joined_before and not joined_after


def _is_denied(sentence: str, start: int, end: int) -> bool:
    """Whether the words around a stretch deny it, doubt it, or name it as where a movement comes from."""
    clause = _CLAUSE_START.split(_EMPHASIS.sub("", sentence[max(0, start - 200) : start]))[-1]
    words = clause.split()
    if any(word in _NEGATORS or word.endswith(("n't", "n’t")) for word in words) or _ORIGIN.search(clause):
        return True
    return bool(_DENIAL.match(sentence, end))

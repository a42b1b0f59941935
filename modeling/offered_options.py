"""Find which option of a question a short text names: by letter, by text, or both. Pure Python."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from .row_rules import ANSWER_TAG, answer_fault, comparable_text, offered_letters, options_fault

# Every pattern has bounded or disjoint repeats, so that no text costs more than linear time.
_LETTER = re.compile(r"[(\[{]?([A-Za-z])[)\]}]?[.:,;。!]?")
_LETTER_AND_TEXT = re.compile(r"(?:[(\[{]([A-Za-z])[)\]}][.:]?|([A-Za-z])[.:)])\s{0,8}(\S.*)", re.DOTALL)
# Where there are nine options I is a letter, but "I see it" names none.
_PRONOUN = re.compile(r"\bI(?:['’]|\s{1,4}(?!or\b|and\b)(?=[a-z]))")
_LONGEST_STATEMENT = 512


class OfferedOptions:
    """The letters that a question offers, and the texts of its options in comparable form.

    Args:
        options (`Sequence[str]`, *optional*): The option texts or numbers, without letters, two to ten. Without them
            the letters A to D are offered, and no text can be compared.

    Raises:
        InputError: If there is one option only, or more than ten.
    """

    def __init__(self, options: Sequence[str | float] | None):
        written = None if options is None else [str(option) for option in options]
        self.letters = offered_letters(written)
        self.texts = [comparable_text(option) for option in written] if written else None
        # A longer block cannot be an option; not reading it also keeps the normalisation of hostile text cheap.
        self.longest = _LONGEST_STATEMENT + 4 * max(map(len, written)) if written else _LONGEST_STATEMENT

    def letter(self, letter: str) -> str | None:
        """The letter in upper case if it is offered."""
        return letter.upper() if letter.upper() in self.letters else None

    def by_text(self, text: str) -> str | None:
        """The letter of the one option with this text."""
        text = comparable_text(text)
        if self.texts is None or not text or self.texts.count(text) != 1:
            return None
        return self.letters[self.texts.index(text)]

    def choice(self, text: str, trust_letter: bool = False) -> str | None:
        """The letter if the whole text is one choice: a letter, a letter with its option's text, or that text.

        Args:
            text (`str`): A candidate.
            trust_letter (`bool`): Accept a letter whose text matches no option at all, as in a paraphrase.
        """
        if len(text) > self.longest:
            return None
        text = unicodedata.normalize("NFKC", text).strip()
        if match := _LETTER.fullmatch(text):
            return self.letter(match[1])
        if letter := self.by_text(text):
            return letter
        match = _LETTER_AND_TEXT.fullmatch(text)
        letter, rest = (self.letter(match[1] or match[2]), match[3]) if match else self._bare_letter(text)
        if letter is None:
            return None
        if self.texts is None or (trust_letter and self.by_text(rest) is None):
            return None if self._names_another(letter, rest) else letter
        return letter if self.texts[self.letters.index(letter)] == comparable_text(rest) else None

    def _bare_letter(self, text: str) -> tuple[str | None, str]:
        """A letter followed by its option's text without punctuation; only the text can tell it from a word."""
        head, _, rest = text.partition(" ")
        letter = self.letter(head) if len(head) == 1 else None
        if letter and self.texts is not None and self.texts[self.letters.index(letter)] == comparable_text(rest):
            return letter, rest
        return None, ""

    def _names_another(self, letter: str, rest: str) -> bool:
        others = set(self.letters) - {letter}
        return "\n" in rest or any(word.strip("()[]{}.:,;") in others for word in _PRONOUN.sub(" ", rest).split())


def choice_fault(row: Mapping[str, Any]) -> str | None:
    """Find out whether a response's `<answer>` contradicts the row's `answer`, or names no option where there is none.

    Rows whose `response` has not exactly one `<answer>`, or whose options are invalid, are left to
    [`~modeling.row_rules.row_fault`].

    Args:
        row (`Mapping`): `response` and `options`; `answer`, the letter of the correct option, may be absent.
    """
    response, options, answer = row["response"], row["options"], row.get("answer")
    blocks = ANSWER_TAG.findall(response) if isinstance(response, str) else []
    if len(blocks) != 1 or options_fault(options):
        return None
    choice = OfferedOptions(options).choice(blocks[0], trust_letter=True)
    if answer in (None, ""):
        return "the response names none of the options: add `answer`" if options and choice is None else None
    if choice in (None, answer) or answer_fault(answer, options):
        return None
    return f"the response answers {choice}, but `answer` is {answer}: correct one of them"

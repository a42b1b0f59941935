"""Which option a response chose. One reader for rewards (strict) and for benchmarks (tolerant). Pure Python."""

import re
import unicodedata
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Literal

from ..modeling.row_rules import offered_letters

Policy = Literal["strict", "tolerant"]

# Every pattern below has bounded or disjoint repeats, so that no text costs more than linear time.
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_END_OF_TURN = re.compile(r"(?:<\|im_end\|>|<\|endoftext\|>|\s)*\Z")
_SPECIAL = re.compile(r"<\|[A-Za-z_]{1,32}\|>")
_MARKUP = str.maketrans("", "", '*_`$"“”')
_BOXED = re.compile(r"\\(?:boxed|text)\{([^{}]{1,512})\}")
_LETTER = re.compile(r"[(\[{]?([A-Za-z])[)\]}]?[.:,;。!]?")
_LETTER_AND_TEXT = re.compile(r"(?:[(\[{]([A-Za-z])[)\]}][.:]?|([A-Za-z])[.:)])\s{0,8}(\S.*)", re.DOTALL)
_CUE = re.compile(
    r"\b(?:answer|option|choice)(?:\s{1,4}(?:is|would be|should be|must be))?\s{0,4}[:=]?\s{0,4}", re.IGNORECASE
)
_VERB_CUE = re.compile(r"\s(?:is|be)\s*\Z|[:=]\s*\Z")
_ALTERNATIVE = re.compile(r"\s{0,4}(?:or|and|nor|/|&|,)\s{0,4}[(\[]?([A-Za-z])\b(?!['’])")
# What may follow a letter named in a sentence. "The answer is A cat" names no option; "the answer is A because" does.
_AFTER_LETTER = re.compile(r"\s*\Z|\s{0,4}[.:;,!?)\]}\n]|\s{1,4}(?:because|since|as|for|given|based|which)\b")
# Where there are nine options I is a letter, but "I see it" names none.
_PRONOUN = re.compile(r"\bI(?:['’]|\s{1,4}(?!or\b|and\b)(?=[a-z]))")
_SENTENCE_END = re.compile(r"[.!?](?:\s|\Z)|\n")
# A statement of the answer stands at the end; reading further back only costs time.
_TAIL = 20_000
_LONGEST_STATEMENT = 512


def extract_answer(text: str | None, options: Sequence[str] | None = None, policy: Policy = "tolerant") -> str | None:
    """Read the letter of the chosen option from a response.

    `"strict"` is for rewards: the response must end in its only `<answer>…</answer>`, outside the reasoning, and that
    block must hold one offered letter (`B`, `b.`, `(B)`), that letter with the text of its option (`B. left`), or
    the text alone. Everything else earns nothing, so there is nothing to gain from wordy, repeated or broken answers.

    `"tolerant"` is for benchmarks, whose models were trained on other formats: the last answer block after the
    reasoning, else a plain statement ("the answer is (B)", `\\boxed{B}`, a line that is a letter, the option's text).
    A letter is never taken from inside a word, and a text that names several answers with equal force names none.

    Args:
        text (`str`, *optional*): The response. Latent blocks in it are ignored.
        options (`Sequence[str]`, *optional*): The option texts, without letters, in the order in which they were
            offered, two to ten. Without them the letters A to D count as offered, and an option's text cannot be
            checked.
        policy (`str`, *optional*, defaults to `"tolerant"`): `"strict"` or `"tolerant"`.

    Returns:
        `str` or `None`: An offered letter in upper case, or nothing.

    Raises:
        InputError: If there is one option only, or more than ten.
    """
    if isinstance(options, str):
        raise TypeError(f"options must be a sequence of texts, got the string {options[:80]!r}")
    reader = {"strict": _strict, "tolerant": _tolerant}.get(policy)
    if reader is None:
        raise ValueError(f"unknown policy {policy!r}: choose 'strict' or 'tolerant'")
    if not text:
        return None
    return reader(text, _Offer(options))


class _Offer:
    """The offered letters and the option texts in comparable form."""

    def __init__(self, options: Sequence[str] | None):
        self.letters = offered_letters(options)
        self.texts = [_comparable(option) for option in options] if options else None
        # A longer block cannot be an option; not reading it also keeps the normalisation of hostile text cheap.
        self.longest = _LONGEST_STATEMENT + 4 * max(map(len, options)) if options else _LONGEST_STATEMENT

    def letter(self, letter: str) -> str | None:
        return letter.upper() if letter.upper() in self.letters else None

    def by_text(self, text: str) -> str | None:
        """The letter of the one option with this text."""
        text = _comparable(text)
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
        return letter if self.texts[self.letters.index(letter)] == _comparable(rest) else None

    def _bare_letter(self, text: str) -> tuple[str | None, str]:
        """A letter followed by its option's text without punctuation; only the text can tell it from a word."""
        head, _, rest = text.partition(" ")
        letter = self.letter(head) if len(head) == 1 else None
        if letter and self.texts is not None and self.texts[self.letters.index(letter)] == _comparable(rest):
            return letter, rest
        return None, ""

    def _names_another(self, letter: str, rest: str) -> bool:
        others = set(self.letters) - {letter}
        return "\n" in rest or any(word.strip("()[]{}.:,;") in others for word in _PRONOUN.sub(" ", rest).split())


def _comparable(text: str) -> str:
    """Case, spacing, width and a closing full stop do not tell options apart."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(".。").rstrip()


def _strict(text: str, offer: _Offer) -> str | None:
    tags = list(islice(_TAG.finditer(text), 3))
    if [tag.group() for tag in tags] != ["<answer>", "</answer>"]:
        return None
    opening, closing = tags
    if text.rfind("<think>", 0, opening.start()) > text.rfind("</think>", 0, opening.start()):
        return None
    # Matching at a fixed place: what follows the block may be an end-of-turn token and white space, nothing else.
    if not _END_OF_TURN.match(text, closing.end()):
        return None
    return offer.choice(text[opening.end() : closing.start()])


def _tolerant(text: str, offer: _Offer) -> str | None:
    spoken = text[text.rfind("</think>") + len("</think>") :] if "</think>" in text else text
    spoken = _SPECIAL.sub("", spoken)
    openings = deque((tag.end() for tag in _TAG.finditer(spoken) if not tag[1]), maxlen=1)
    if openings:
        content = spoken[openings[0] :]
        closing = _TAG.search(content)
        return _stated(content[: closing.start()] if closing else content, offer)
    unfinished = spoken.find("<think>")
    return _stated(spoken if unfinished < 0 else spoken[:unfinished], offer)


def _stated(text: str, offer: _Offer) -> str | None:
    """The choice that a text as a whole states: as its only content, in a box, in a sentence, on a line of its own."""
    text = text[-_TAIL:].translate(_MARKUP).strip()
    if letter := offer.choice(text, trust_letter=True):
        return letter
    for boxed in reversed(_BOXED.findall(text)):
        return offer.choice(boxed, trust_letter=True)
    statements = [statement for cue in _CUE.finditer(text) if (statement := _statement(text, cue, offer))]
    if statements:
        return statements[-1] if statements[-1] != _UNCLEAR else None
    lines = {letter for line in text.splitlines() if (letter := offer.choice(line, trust_letter=True))}
    return lines.pop() if len(lines) == 1 else None


_UNCLEAR = "?"


def _statement(text: str, cue: re.Match, offer: _Offer) -> str | None:
    """What is said after a cue such as "the answer is": a letter, `_UNCLEAR` for several, or nothing."""
    rest = unicodedata.normalize("NFKC", text[cue.end() : cue.end() + offer.longest])
    firm = bool(_VERB_CUE.search(cue.group()))
    named = re.match(r"[(\[{]([A-Za-z])[)\]}]|([A-Z])(?![A-Za-z'’])", rest)
    letter = offer.letter(named[1] or named[2]) if named else None
    if named is None or letter is None:
        sentence = rest[: end.start()] if (end := _SENTENCE_END.search(rest)) else rest
        return offer.choice(sentence) if firm else None
    following = rest[named.end() :]
    other = _ALTERNATIVE.match(following)
    if other and offer.letter(other[1]):
        return _UNCLEAR
    if not firm:
        # "Option B" alone may be a mention; it is an answer only as the last thing said.
        return letter if not following.strip(" .!\n") else None
    bracketed = named[1] is not None
    if bracketed or letter not in "AI" or _AFTER_LETTER.match(following):
        return letter
    return letter if offer.choice(rest.splitlines()[0]) == letter else None

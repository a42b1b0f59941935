"""Extract the chosen option: one reader for rewards (strict) and benchmarks (tolerant). Pure Python."""

import re
import unicodedata
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Literal

from ..modeling.offered_options import OfferedOptions

Policy = Literal["strict", "tolerant"]

# Every pattern below has bounded or disjoint repeats, so that no text costs more than linear time.
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_END_OF_TURN = re.compile(r"(?:<\|im_end\|>|<\|endoftext\|>|\s)*\Z")
_SPECIAL = re.compile(r"<\|[A-Za-z_]{1,32}\|>")
_MARKUP = str.maketrans("", "", '*_`$"“”')
_BOXED = re.compile(r"\\(?:boxed|text)\{([^{}]{1,512})\}")
_CUE = re.compile(
    r"\b(?:answer|option|choice)(?:\s{1,4}(?:is|would be|should be|must be))?\s{0,4}[:=]?\s{0,4}", re.IGNORECASE
)
_VERB_CUE = re.compile(r"\s(?:is|be)\s*\Z|[:=]\s*\Z")
_ALTERNATIVE = re.compile(r"\s{0,4}(?:or|and|nor|/|&|,)\s{0,4}[(\[]?([A-Za-z])\b(?!['’])")
# What may follow a letter named in a sentence. "The answer is A cat" names no option; "the answer is A because" does.
_AFTER_LETTER = re.compile(r"\s*\Z|\s{0,4}[.:;,!?)\]}\n]|\s{1,4}(?:because|since|as|for|given|based|which)\b")
_SENTENCE_END = re.compile(r"[.!?](?:\s|\Z)|\n")
# A statement of the answer comes at the end; reading further back only costs time.
_TAIL = 20_000


def extract_answer(
    text: str | None, options: Sequence[str] | None = None, policy: Policy = "tolerant", rule: str | None = None
) -> str | None:
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
    return reader(text, OfferedOptions(options))


def _strict(text: str, offer: OfferedOptions) -> str | None:
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


def _tolerant(text: str, offer: OfferedOptions) -> str | None:
    spoken = text[text.rfind("</think>") + len("</think>") :] if "</think>" in text else text
    spoken = _SPECIAL.sub("", spoken)
    openings = deque((tag.end() for tag in _TAG.finditer(spoken) if not tag[1]), maxlen=1)
    if openings:
        content = spoken[openings[0] :]
        closing = _TAG.search(content)
        return _find_stated_choice(content[: closing.start()] if closing else content, offer)
    unfinished = spoken.find("<think>")
    return _find_stated_choice(spoken if unfinished < 0 else spoken[:unfinished], offer)


def _find_stated_choice(text: str, offer: OfferedOptions) -> str | None:
    """Find the choice that a text as a whole states: its only content, in a box, in a sentence, on its own line."""
    text = text[-_TAIL:].translate(_MARKUP).strip()
    if letter := offer.choice(text, trust_letter=True):
        return letter
    for boxed in reversed(_BOXED.findall(text)):
        return offer.choice(boxed, trust_letter=True)
    statements = [statement for cue in _CUE.finditer(text) if (statement := _read_after_cue(text, cue, offer))]
    if statements:
        return statements[-1] if statements[-1] != _UNCLEAR else None
    lines = {letter for line in text.splitlines() if (letter := offer.choice(line, trust_letter=True))}
    return lines.pop() if len(lines) == 1 else None


_UNCLEAR = "?"


def _read_after_cue(text: str, cue: re.Match, offer: OfferedOptions) -> str | None:
    """Read the choice after a cue such as "the answer is": a letter, `_UNCLEAR` for several, or nothing."""
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
        # "Option B" alone may be a mention; it is an answer only at the end of the text.
        return letter if not following.strip(" .!\n") else None
    bracketed = named[1] is not None
    if bracketed or letter not in "AI" or _AFTER_LETTER.match(following):
        return letter
    return letter if offer.choice(rest.splitlines()[0]) == letter else None

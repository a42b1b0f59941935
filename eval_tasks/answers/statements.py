"""Find where a plain text states its answer: "the answer is B", "B is correct", "I choose B", a box, 答案是：B."""

import re
from collections import deque
from collections.abc import Iterator
from itertools import islice, pairwise

from .plain_options import UNCLEAR, PlainOptions
from .response_text import BOX_CLOSE, BOX_OPEN

_NOUNS = ("answer", "option", "choice", "solution", "conclusion", "selection", "response", "guess", "prediction")
# In other languages, as models answer in that of the question.
_NOUNS += ("respuesta", "réponse", "reponse", "risposta", "resposta", "antwort", "ответ")
_VERBS = (
    "choose",
    "choosing",
    "chose",
    "select",
    "selected",
    "selecting",
    "pick",
    "picked",
    "go with",
    "going with",
    "opt for",
)
_VERBS += ("making", "makes", "leaving", "leaves", "say", "likely", "probably", "leaning towards")
_LINK = re.compile(
    r"\s{0,4}(?:\([^()\n]{0,40}\)\s{0,4})?(?:(?=\[[A-J]\])|"
    r"(?:(?:is|was|es|est|ist|é|è|(?:(?:would|should|must|will|could|has to|seems to|appears to|to) )?be)\b"
    r"\s{0,4}(?:that\b)?\s{0,4}[:=]?|[:=→⇒]|[-–—](?=\s)))\s{0,8}",
    re.IGNORECASE,
)
_LATER_LINK = re.compile(
    r"(\b(?:is|was|be|es|est|ist|é|è)\b\s{0,4}[:=]?|[:=])\s{0,8}|[.!?](?:\s|\Z)|\n", re.IGNORECASE
)
_NEGATION = re.compile(r"\b(?:not|never|cannot|no|neither)\b|n't\b", re.IGNORECASE)
_DOUBT = re.compile(rf"{_NEGATION.pattern}|\bless\b", re.IGNORECASE)
_CONDITION = re.compile(r"\b(?:if|whether|suppose|assuming|unless)\b[^.,;\n]{0,24}\Z", re.IGNORECASE)
_FILLERS = re.compile(
    r"(?:(?:most\s+)?(?:likely|probably)\b,?\s*|(?:clearly|therefore|thus|indeed|definitely|hence|actually|simply|still|also|"
    r"then|either|now)\b,?\s*|(?:the\s+)?(?:correct\s+|final\s+|best\s+)?(?:option|choice|letter|answer)\b\s*(?:is\b\s*)?[:=]?\s*|"
    r"[→⇒:=>]\s*|[-–—]\s+|\d{1,2}[.)]\s+(?=[A-J]\b)){0,3}",
    re.IGNORECASE,
)
_NAMED = re.compile(
    rf"[(\[<{BOX_OPEN}]\s{{0,2}}([A-Za-z])\s{{0,2}}[)\]>{BOX_CLOSE}]|[(\[<{BOX_OPEN}]?\s{{0,2}}([A-J])(?![A-Za-z0-9']|-[a-z])"
    r"|([a-j])(?=\s{0,2}(?:[.):;,!\n]|\Z))"
)
_ALTERNATIVE = re.compile(
    r"\s{0,4}(?:[,.]{0,3}\s{0,2}(?:or|and|nor|或|和)\b(?:\s(?:maybe|perhaps|possibly))?|/|&|,)\s{0,4}(?:(?:option|choice)\s)?(?:[(\[]([A-Za-z])[)\]]|([A-J])(?![A-Za-z0-9'])(?!\s[a-z]))",
)
# A quantity or a function of that name: `E = 5 V`, `H(s)`.
_QUANTITY = re.compile(r"\(|\s{0,3}[=≈<≥≤^+]")
# What follows a letter that ends a statement, where the words before it may introduce other things than answers.
_CLOSED = re.compile(rf"\s*\Z|\s{{0,3}}[.,;:!)\](\n{BOX_CLOSE}]|\s{{1,4}}(?:because|since|as|for|which|due|the)\b")
# What may follow the letters A and I, which are words too. "The answer is A cat" names no option.
_AFTER_LETTER = re.compile(
    r"\s*\Z|\s{0,4}[^\w\s'’]|\s{0,4}\n|"
    r"\s{1,4}(?:because|since|as|for|given|based|which|and|but|with|due|is|was|or|the)\b"
)
# A single letter before a stop ends no sentence (`B. right`), nor do several stops.
# It opens with one class of characters, by which a search skips all others at once.
_SENTENCE_END = re.compile(
    r"[.!?。！？\n](?:(?<=\n)|(?<=[!?。！？])[!?。！？]*(?:\s|\Z)|(?<!\.\.)(?<!\b[A-J]\.)(?<=\.)(?:\s|\Z))"
)
_WORD = re.compile(r"[^\W_]")
_PREDICATE = re.compile(
    r"\b(?:is|was|as|(?:(?:would|should|must|will|could|has to)\s+)?be|seems|appears)\s+(?:to be\s+)?"
    r"(?:(?:[a-z]+ly|thus|also|indeed|hence)\s+){0,2}(?:(?:the|my|our|a|an)\s+)?"
    r"(?:(?:most|best|only|single|final|correct|right|accurate|appropriate|suitable|plausible|likely|logical|fitting|"
    r"reasonable|closest|matching|[a-z]+ly)\s+){0,3}\Z",
    re.IGNORECASE,
)
_AFTER_PREDICATE = re.compile(
    r"\s{0,4}(?:[^\w\s]|\Z|(?:answer|option|choice|one|response|because|since|as|and|here|in|for|to|among|based|is|"
    r"which|that)\b)"
)
_PARENTHESIS = re.compile(r"\([^()\n]{2,160}\)")
_SUBJECT_START = re.compile(r"[,;]\s|\b(?:so|thus|therefore|hence|but|because|since|and|while|that)\b", re.IGNORECASE)
_CHINESE = re.compile(
    r"(?:(?:正确的?)?(?:答案|正解|答え|정답|选项|选择|选)|正确的?|答(?=\s?:))[】\s]{0,2}(?:应该|应)?(?:是|为|選|は|은|는)?\s{0,2}[:]?\s{0,2}(?:选项|选)?\s{0,4}"
)
_CHINESE_SUBJECT = re.compile(r"(?<![A-Za-z])([A-J])\s{0,2}(?:选项|项)?\s{0,2}(?:是|为)?(?:最)?(?:正确|对)的?")
_GAP, _REACH = 90, 200
_MOST_CUES = 200  # looked at of each kind, from the last one back


def read_statements(text: str, options: PlainOptions) -> str | None:
    """The choice that the last statement of the answer names; `UNCLEAR` if it names several.

    Args:
        text (`str`): A plain text, see `to_plain_text`.
        options (`PlainOptions`): What is offered.
    """
    found = max(_find_statements(text, options), key=lambda statement: statement[0], default=None)
    return found and found[1]


def last_sentence(text: str) -> str:
    """The last sentence that holds a word."""
    tail = text[-4 * _REACH :]
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(tail)), len(tail)]
    for start, end in reversed(list(pairwise(ends))):
        if _WORD.search(tail, start, end):
            return tail[start:end].strip()
    return ""


def first_sentence(text: str) -> str:
    """The first sentence."""
    head = text[:600]
    end = _SENTENCE_END.search(head)
    return head[: end.start()] if end else head


def _find_statements(text: str, options: PlainOptions) -> Iterator[tuple[int, str]]:
    """Positions and choices of the last statement of each kind."""
    lowered = text.lower()
    if len(lowered) != len(text):  # of a few letters, such as İ
        lowered = text
    readers = [
        *((noun, _read_noun) for noun in _NOUNS),
        ("correct", _read_subject),
        ("likely", _read_subject),
        *((verb, _read_verb) for verb in _VERBS),
    ]
    for word, reader in readers:
        places = _find_words(lowered, word)
        yield from islice(((at, letter) for at in places if (letter := reader(text, at, at + len(word), options))), 1)
    end = len(text)
    for _ in range(_MOST_CUES):
        start = text.rfind(BOX_OPEN, 0, end)
        if start < 0:
            break
        end, box_end = start, text.find(BOX_CLOSE, start)
        if letter := options.choice(text[start + 1 : box_end]):
            yield start, options.agreed(letter, "", text[box_end + 1 : box_end + _REACH])
            break
    if not text.isascii():
        for cue in deque(_CHINESE_SUBJECT.finditer(text), maxlen=1):
            yield cue.start(), options.letter(cue[1]) or UNCLEAR
        for cue in deque(_CHINESE.finditer(text), maxlen=_MOST_CUES):
            if letter := _read_choice(text, cue.end(), options, firm=True):
                yield cue.start(), letter


def _find_words(lowered: str, word: str) -> Iterator[int]:
    """The places of a word, from the last one back."""
    end = len(lowered)
    for _ in range(_MOST_CUES):
        start = lowered.rfind(word, 0, end)
        if start < 0:
            return
        after = start + len(word)
        if not lowered[max(0, start - 1) : start].isalnum() and not lowered[after : after + 1].isalpha():
            yield start
        end = start


def _read_noun(text: str, start: int, end: int, options: PlainOptions) -> str | None:
    return _read_after_noun(text, start, end, options) or _read_subject(text, start, end, options)


def _read_verb(text: str, start: int, end: int, options: PlainOptions) -> str | None:
    """Read "I choose B"."""
    letter = _read_choice(text, end, options, firm=False)
    return letter if letter and not _DOUBT.search(text, max(0, start - 16), start) else None


def _read_after_noun(text: str, start: int, end: int, options: PlainOptions) -> str | None:
    """Read "answer: B", "answer is B", "answer to the question is B"."""
    link = _LINK.match(text, end)
    if _CONDITION.search(text, max(0, start - 48), start):
        return None
    if link:
        return _read_choice(text, link.end(), options, firm=True)
    for later in _LATER_LINK.finditer(text, end, end + _GAP):
        if not later[1] or _NEGATION.search(text, end, later.end()):
            return None
        if letter := _read_choice(text, later.end(), options, firm=False):
            return letter
    return None


def _read_choice(text: str, start: int, options: PlainOptions, firm: bool) -> str | None:
    """Read the choice at a place: a letter, `UNCLEAR` for several, or nothing.

    Args:
        text (`str`): The plain text.
        start (`int`): Where the choice would stand.
        options (`PlainOptions`): What is offered.
        firm (`bool`): Whether the words before can only be followed by the answer, so that its text alone will do.
    """
    rest = text[start : start + options.longest].lstrip()
    if filler := _FILLERS.match(rest):
        rest = rest[filler.end() :].lstrip()
    named = _NAMED.match(rest)
    letter = options.letter(named[1] or named[2] or named[3]) if named else None
    if named and letter and _stands_for_option(letter, named, rest[named.end() :], options, firm):
        following = rest[named.end() :]
        other = _ALTERNATIVE.match(following)
        if other and options.letter(other[1] or other[2]) not in (None, letter):
            return UNCLEAR
        return options.agreed(letter, "", following)
    return _read_text(rest, options) if firm else None


def _stands_for_option(letter: str, named: re.Match, following: str, options: PlainOptions, firm: bool) -> bool:
    """Whether a letter is one of an option, not an article, a pronoun or a quantity."""
    if named[1] or options.starts_with_own(letter, following):
        return True
    if _QUANTITY.match(following) or not (firm or _CLOSED.match(following)):
        return False
    return letter not in "AI" or bool(_AFTER_LETTER.match(following))


def _read_text(rest: str, options: PlainOptions) -> str | None:
    """Read an answer in the option's words, perhaps with its letter behind: `right`, `right (B)`."""
    end = _SENTENCE_END.search(rest)
    sentence = rest[: end.start()] if end else rest
    if letter := options.by_text(sentence):
        return letter
    letter = options.named_by_text(sentence)
    mentions = options.mentions(sentence)
    if letter and len(mentions) == 1:
        return letter if letter in mentions else UNCLEAR
    return letter if not mentions else None


def _read_subject(text: str, start: int, end: int, options: PlainOptions) -> str | None:
    """Read what is said to be the answer by the word at `start`: "B is correct", "B (right) is the best option"."""
    before = text[max(0, start - _REACH) : start]
    predicate = _PREDICATE.search(before) if before[-1:].isspace() else None
    if predicate is None or not _AFTER_PREDICATE.match(text, end):
        return None
    subject = before[: predicate.start()]
    ends = list(_SENTENCE_END.finditer(subject))
    subject = subject[ends[-1].end() :] if ends else subject
    if _CONDITION.search(subject):
        return None
    bare = _PARENTHESIS.sub("", subject)
    for part in (_SUBJECT_START.split(bare)[-1], bare):
        letters = {letter for found in _subject_letters(part) if (letter := options.letter(found))}
        if len(letters) == 1:
            letter = letters.pop()
            place = subject.rfind(letter)
            return options.agreed(letter, subject[:place], subject[place + 1 :])
        if letters:
            return None
    return options.named_by_text(subject) if not options.mentions(subject) else None


def _subject_letters(part: str) -> list[str]:
    return re.findall(r"(?<![A-Za-z0-9'])([B-HJ](?![A-Za-z0-9'])|[AI](?![A-Za-z0-9']|\s[a-z]))", part)

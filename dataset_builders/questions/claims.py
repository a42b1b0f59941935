"""Check that every place, direction and time in a reasoning follows from what is seen."""

import re
from collections.abc import Iterable, Sequence

from ...modeling.errors import InputError
from .evidence import Change, Sight, compare

_TIME = re.compile(r"\b(\d+\.\d) s\b")
_BOX = re.compile(r"\[(\d+), (\d+), (\d+), (\d+)\]")
_CENTRE = re.compile(r"\((\d+), (\d+)\)")
_SHIFT = re.compile(r"\b(\d+) pixels? (?:to the )?(left|right|up|down)\b")
_SPEED = re.compile(r"\b(\d+)(?: pixels a second)? (at first|in the middle|at the end)\b")
_GROWTH = re.compile(r"\b(\d+\.\d+) times\b")
_TURN = re.compile(r"\b(\d+) degrees (clockwise|counterclockwise)\b")
_STATE = re.compile(r"\[(-?\d+\.\d\d), (-?\d+\.\d\d), (-?\d+\.\d\d)\]")
_FRAME = re.compile(r"\bframe (\d+)\b", re.IGNORECASE)
_METRES = re.compile(r"\b(\d+\.\d\d) m\b(?: (to the left|to the right|up|down|nearer|away))?")
_SEEN = re.compile(r"\b(\d+) degrees (?:to the )?(left|right|up|down)\b")
_STEP = re.compile(r"^\d\. |\(\d\) ", re.MULTILINE)  # numbers of what is listed
_PLACE = re.compile(
    r"\bthe (upper left|upper right|lower left|lower right|upper|lower|left|right|middle) part of the picture\b"
)
_MEASURED = {"shifts": _SHIFT, "speeds": _SPEED, "growths": _GROWTH, "turns": _TURN}
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
# What a word claims. A claim may be made if the facts' own phrases make it, or another claim that holds it.
_CLAIMS = {
    "left": r"left\w*",
    "right": r"right\w*",
    "up": r"up|upwards?|upper\w*|above|top|ris(?:e|es|en|ing)|rose|rais\w+|climb\w*|ascen\w+",
    "down": r"down|downwards?|lower\w*|below|beneath|bottom|falls?|fallen|falling|fell|s[aiu]nk\w*|drop\w*|descen\w+",
    "forward": r"forwards?|ahead",
    "back": r"back|backwards?",
    "clockwise": r"clockwise",
    "counterclockwise": r"(?:counter-?|anti-?)clockwise",
    "near": r"towards?|nearer|closer|approach\w*",
    "far": r"away|farther|further|reced\w+|retreat\w*",
    "fast": r"speed(?:s|ing)? up|sped up|fast|faster|quick\w*|rapid\w*|accelerat\w+",
    "slow": r"slow\w*|decelerat\w+",
    "stop": r"stop\w*|paus\w+|halt\w*",
    "turn": r"turn(?:s|ed|ing)?|rotat\w+|spin\w*|swivel\w*",
    "pan": r"pan(?:s|ned|ning)?",
    "tilt": r"tilt\w*",
    "roll": r"roll\w*",
    "truck": r"truck(?:s|ed|ing)?",
    "pedestal": r"pedestal\w*",
    "dolly": r"doll(?:y|ies|ied|ying)",
    "arc": r"arc(?:s|ed|ing)?|orbit\w*",
    "stay": r"stays?|stayed|staying",
    "zoom": r"zoom\w*",
    "sideways": r"horizontal\w*|sideways|lateral\w*",
    "upright": r"vertical\w*",
    "compass": r"(?:north|south|east|west)\w*",
    "growth": r"gr[eo]w\w*|larger|bigger|enlarg\w+|expan\w+",
    "shrinking": r"shr[aiu]nk\w*|smaller|dwindl\w+",
    "a number in words": r"two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|"
    r"fifty|hundreds?|thousands?|dozens?|twice|thrice|doubl\w+|tripl\w+|half|halv\w+|quarters?",
    "a negation": r"not|never|neither|nor|cannot|\w+n't|instead|rather",
}
# What says something of a motion in a name, beside the claims of a reasoning; and what does in a reasoning alone.
_TELLING = re.compile(
    r"\b(?:mov\w+|going|goes|camera|picture|frame|option|answer|rectangle|thing|object|this|that)\b", re.IGNORECASE
)
_VEHICLES = ("truck", "trucks")
_IMPLIED = {
    **dict.fromkeys(("pan", "tilt", "roll", "arc"), ("turn",)),
    **dict.fromkeys(("left", "right"), ("sideways",)),
    **dict.fromkeys(("up", "down"), ("upright",)),
}
_OPPOSITES = (
    ("left", "right"),
    ("up", "down"),
    ("forward", "back"),
    ("near", "far"),
    ("clockwise", "counterclockwise"),
    ("fast", "slow"),
)
_CLAIM = re.compile(
    "|".join(f"(?P<c{number}>\\b(?:{words})\\b)" for number, words in enumerate(_CLAIMS.values())), re.IGNORECASE
)


def check_claims(
    text: str,
    sights: Sequence[Sight],
    times: Iterable[float],
    directions: Iterable[str],
    numbers: Iterable[str] = (),
    names: Iterable[str] = (),
) -> None:
    """Check a reasoning word by word against the facts.

    Args:
        text (`str`): The reasoning.
        sights (`Sequence[Sight]`): What is seen in the imagined frames.
        times (`Iterable[float]`): Seconds that may be named.
        directions (`Iterable[str]`): What the facts say about directions: labels, and what follows from them. Their
            words may be used.
        numbers (`Iterable[str]`): Phrases with other numbers of the facts, such as `12 pixels to the left`, `1.43 m`,
            `frame 3` or `[0.00, 0.10, 4.20]`.
        names (`Iterable[str]`, *optional*): What objects are called, which may hold any words.

    Raises:
        InputError: Naming the first claim that does not follow.
    """
    changes = [*compare([sights[0], sights[-1]]), *compare(sights)] if sights else []
    rest = blank_names(text, names)
    rest = _take(rest, _TIME, {f"{time:.1f}" for time in times}, "time")
    facts = " ; ".join(numbers)
    rest = _STEP.sub(" ", rest)
    for pattern, what in ((_STATE, "centre"), (_FRAME, "frame"), (_METRES, "distance"), (_SEEN, "angle")):
        rest = _take(rest, pattern, _found(facts, pattern), what)
    rest = _take(rest, _BOX, {", ".join(map(str, sight.box)) for sight in sights}, "box")
    rest = _take(rest, _CENTRE, {", ".join(map(str, sight.centre)) for sight in sights}, "centre")
    shifts = {shift for change in changes for shift in _shifts(change)} | _found(facts, _SHIFT)
    rest = _take(rest, _SHIFT, shifts, "shift")
    rest = _take(rest, _SPEED, _found(facts, _SPEED), "speed")
    rest = _take(rest, _GROWTH, {f"{change.growth:.2f}" for change in changes}, "growth")
    rest = _take(rest, _TURN, {_turn(change) for change in changes} | _found(facts, _TURN), "turn")
    rest = _take(rest, _PLACE, {sight.place for sight in sights}, "place")
    if found := _NUMBER.search(rest):
        raise InputError(f"the reasoning says {found[0]}, which the facts do not: {text!r}")
    known = {claim for phrase in directions for _, claim in find_claims(phrase)}
    known |= {implied for claim in known for implied in _IMPLIED.get(claim, ())}
    known |= {"growth"} if any(change.growth > 1 for change in changes) else set()
    known |= {"shrinking"} if any(change.growth < 1 for change in changes) else set()
    for word, claim in find_claims(rest):
        if claim not in known:
            raise InputError(f"the reasoning says {word!r}, which the facts do not: {text!r}")


def check_order(text: str, draft: str, names: Iterable[str] = ()) -> None:
    """Check that another wording of a checked reasoning keeps the order of its claims, so that none changes places.

    Args:
        text (`str`): The wording.
        draft (`str`): The reasoning that is known to be true.
        names (`Iterable[str]`, *optional*): What objects are called, which may hold any words.

    Raises:
        InputError: Naming the kind of claim.
    """
    names = tuple(names)
    text, draft = blank_names(text, names), blank_names(draft, names)
    for what, pattern in {"boxes": _BOX, "centres": _CENTRE, **_MEASURED}.items():
        given, true = ([found.groups() for found in pattern.finditer(whole)] for whole in (text, draft))
        if not _is_within(given, true):
            raise InputError(f"the reasoning gives {what} in another order, or more often, than the draft: {text!r}")
        text, draft = pattern.sub(" ", text), pattern.sub(" ", draft)
    said, known = ([claim for _, claim in find_claims(_PLACE.sub(" ", whole))] for whole in (text, draft))
    for pair in _OPPOSITES:
        both = [claim for claim in known if claim in pair]
        if len(set(both)) == 2 and not _is_within([claim for claim in said if claim in pair], both):
            raise InputError(f"the reasoning says {pair[0]} and {pair[1]} in another order than the draft: {text!r}")


def _is_within(part: Sequence, whole: Sequence) -> bool:
    """Whether one sequence is another one, or the other one with gaps."""
    rest = iter(whole)
    return all(item in rest for item in part)


def blank_names(text: str, names: Iterable[str]) -> str:
    """The text without what objects are called, which may hold any words."""
    for name in filter(None, names):
        text = text.replace(name, " ")
    return text


def find_claims(text: str) -> list[tuple[str, str]]:
    """The words of a text that claim a direction, a motion, a change or a number, and what each of them claims.

    Example:

    ```python
    >>> find_claims("It drifts leftward, then slows down.")
    [('leftward', 'left'), ('slows', 'slow'), ('down', 'down')]

    ```
    """
    names = list(_CLAIMS)
    found = _CLAIM.finditer(text)
    return [(match[0], names[int((match.lastgroup or "c0")[1:])]) for match in found]


def find_telling_words(name: str) -> list[str]:
    """The words of an object's name that tell of a place, a motion or a number, which could give answers away.

    Example:

    ```python
    >>> find_telling_words("man walking away"), find_telling_words("pickup truck")
    (['away'], [])

    ```
    """
    claims = [word for word, _ in find_claims(name) if word.lower() not in _VEHICLES]
    return claims + _TELLING.findall(name)


def _take(text: str, pattern: re.Pattern, true: set[str], what: str) -> str:
    """The text without the claims of one kind, all of which must be among the true ones."""
    for found in pattern.finditer(text):
        if (claim := _claim(found)) not in true:
            raise InputError(f"the reasoning gives the {what} {claim!r}, the facts {sorted(true)}: {text!r}")
    return pattern.sub(" ", text)


def _found(text: str, pattern: re.Pattern) -> set[str]:
    return {_claim(found) for found in pattern.finditer(text)}


def _claim(found: re.Match) -> str:
    return ", ".join(group for group in found.groups() if group)


def _shifts(change: Change) -> set[str]:
    return {
        f"{abs(change.right)}, {'right' if change.right > 0 else 'left'}",
        f"{abs(change.down)}, {'down' if change.down > 0 else 'up'}",
    }


def _turn(change: Change) -> str:
    return f"{abs(change.clockwise):.0f}, {'clockwise' if change.clockwise > 0 else 'counterclockwise'}"

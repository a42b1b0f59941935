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
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DIRECTION = re.compile(
    r"\b(left|right|up|down|upper|lower|upwards?|downwards?|forwards?|backwards?|clockwise|counterclockwise|towards?|away|nearer|"
    r"closer|farther|in|out)\b",
    re.IGNORECASE,
)
_PLAIN_WORDS = frozenset({"in", "out"})  # directions only in labels


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
    rest = text
    for name in filter(None, names):
        rest = rest.replace(name, " ")
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
    known = {word.lower() for phrase in directions for word in re.findall(r"[A-Za-z]+", phrase)} | _PLAIN_WORDS
    for found in _DIRECTION.finditer(rest):
        if found[0].lower() not in known:
            raise InputError(f"the reasoning says {found[0]!r}, which the facts do not: {text!r}")


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

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
_PLACE = re.compile(
    r"\bin the (upper left|upper right|lower left|lower right|upper|lower|left|right|middle) part of the picture\b"
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
    name: str = "",
) -> None:
    """Check a reasoning word by word against the facts.

    Args:
        text (`str`): The reasoning.
        sights (`Sequence[Sight]`): What is seen in the imagined frames.
        times (`Iterable[float]`): Seconds that may be named.
        directions (`Iterable[str]`): What the facts say about directions: labels, and what follows from them. Their
            words may be used.
        numbers (`Iterable[str]`): Phrases with other numbers of the facts, such as `12 pixels to the left`.
        name (`str`, *optional*): What the object is called, which may hold any words.

    Raises:
        InputError: Naming the first claim that does not follow.
    """
    changes = [*compare([sights[0], sights[-1]]), *compare(sights)] if sights else []
    rest = _take(text.replace(name, " ") if name else text, _TIME, {f"{time:.1f}" for time in times}, "time")
    rest = _take(rest, _BOX, {", ".join(map(str, sight.box)) for sight in sights}, "box")
    rest = _take(rest, _CENTRE, {", ".join(map(str, sight.centre)) for sight in sights}, "centre")
    facts = " ; ".join(numbers)
    shifts = {shift for change in changes for shift in _shifts(change)} | _found(facts, _SHIFT)
    rest = _take(rest, _SHIFT, shifts, "shift")
    rest = _take(rest, _SPEED, _found(facts, _SPEED), "speed")
    rest = _take(rest, _GROWTH, {f"{change.growth:.2f}" for change in changes}, "growth")
    rest = _take(rest, _TURN, {_turn(change) for change in changes}, "turn")
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
        if (claim := ", ".join(found.groups())) not in true:
            raise InputError(f"the reasoning gives the {what} {claim!r}, the facts {sorted(true)}: {text!r}")
    return pattern.sub(" ", text)


def _found(text: str, pattern: re.Pattern) -> set[str]:
    return {", ".join(found.groups()) for found in pattern.finditer(text)}


def _shifts(change: Change) -> set[str]:
    return {
        f"{abs(change.right)}, {'right' if change.right > 0 else 'left'}",
        f"{abs(change.down)}, {'down' if change.down > 0 else 'up'}",
    }


def _turn(change: Change) -> str:
    return f"{abs(change.clockwise):.0f}, {'clockwise' if change.clockwise > 0 else 'counterclockwise'}"

"""Questions in the manner of DSR-Bench: how distance, direction, orientation and speed change, step by step.

Two perspectives are told apart: following the camera (`rel_`), whose axes are those of each moment, and the camera of
one moment (`abs_`), whose place and axes stay as they were then. An answer lists what happens in order:
`(1) Becomes smaller. (2) Becomes larger.`
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..geometry.spatial_view import SpatialView

CAMERA = -1  # as an object's number
# A ratio of distances from which it changes, and up to which it does not, as logarithms; likewise of speeds.
_CHANGED, _SAME = np.log(1.2), np.log(1.08)
_FASTER, _AS_FAST = np.log(1.6), np.log(1.15)
_REST = 0.04  # of its distance a second: what is slower rests
_SHIFTED_DEGREES, _STEADY_DEGREES = 8.0, 2.5
_DOMINANT = 2.0  # times as much along one axis as along any other

SIZES = ("Becomes smaller", "Keeps nearly constant", "Becomes larger")
SHIFTS = ("Shifts to the left", "Shifts to the right", "Shifts up", "Shifts down", "Keeps nearly constant")
TURNS = (
    "Turns to the left",
    "Turns to the right",
    "Tilts up",
    "Tilts down",
    "Rolls clockwise",
    "Rolls counterclockwise",
    "Keeps nearly constant",
)
COMPARISONS = ("The former is faster", "The latter is faster", "Nearly the same speed")
WAYS = ("To the left", "To the right", "Upward", "Downward", "Toward the camera", "Away from the camera")

Steps = tuple[str, ...]
Measure = Callable[[SpatialView, int, int], Steps | None]


@dataclass(frozen=True)
class DsrKind:
    """One type of question.

    Attributes:
        question (`str`): With `{name}`, and `{other}` where two things are compared.
        labels (`tuple[str, ...]`): What a step can be.
        measure (`Callable`): The steps in order, from a view, the object and the other thing; `None` if one is
            unclear.
        follows (`bool`): Whether the perspective follows the camera; else it is that of the first moment.
        moments (`tuple[int, ...]`): At how many moments to look: the first of them that gives an answer counts.
        subject (`str`): Whom it asks about: `object` and the camera, `pair` (two things) or `camera`.
    """

    question: str
    labels: tuple[str, ...]
    measure: Measure
    follows: bool
    moments: tuple[int, ...] = (4, 3, 2)
    subject: str = "object"

    @property
    def is_prediction(self) -> bool:
        """Whether the answer lies after what is shown."""
        return self.labels is WAYS


def write_steps(steps: Sequence[str]) -> str:
    """`(1) Becomes smaller. (2) Becomes larger.`: what happens in order, equal neighbours once."""
    merged = [step for number, step in enumerate(steps) if number == 0 or step != steps[number - 1]]
    return " ".join(f"({number}) {step}." for number, step in enumerate(merged, 1))


def count_steps(answer: str) -> int:
    """How many steps an answer of [`write_steps`] has."""
    return answer.count("(")


def _name_all(steps: Sequence[str | None]) -> Steps | None:
    return None if any(step is None for step in steps) else tuple(str(step) for step in steps)


def _name_change(change: float, changed: float, same: float, names: tuple[str, str, str]) -> str | None:
    """One of three names: for less, for about nothing, for more; `None` between them."""
    if abs(change) <= same:
        return names[1]
    return names[2 * int(change > 0)] if abs(change) >= changed else None


def _strongest(parts: Sequence[tuple[float, str, str]], least: float, steady: float, none: str) -> str | None:
    """The name of the only strong part, `none` if all are weak, `None` if that is unclear.

    Args:
        parts (`Sequence[tuple[float, str, str]]`): Size, name if negative, name if positive.
        least (`float`): From which size a part is strong.
        steady (`float`): Up to which size it is weak.
        none (`str`): What no strong part is called.
    """
    *_, second, first = sorted(parts, key=lambda part: abs(part[0]))
    if abs(first[0]) <= steady:
        return none
    if abs(first[0]) < least or abs(first[0]) < _DOMINANT * abs(second[0]):
        return None
    return first[2] if first[0] > 0 else first[1]


def _places(view: SpatialView, number: int) -> np.ndarray:
    return view.centres if number == CAMERA else np.asarray(view.places[number])


def distances(view: SpatialView, number: int, other: int, follows: bool) -> np.ndarray:
    """Distances `(K,)` between two things; the camera is that of each moment, or of the first one."""
    ends = [_places(view, one) for one in (number, other)]
    if not follows:
        ends = [
            np.broadcast_to(place[:1], place.shape) if one == CAMERA else place
            for one, place in zip((number, other), ends, strict=True)
        ]
    return np.linalg.norm(ends[0] - ends[1], axis=1)


def directions(view: SpatialView, number: int, follows: bool) -> np.ndarray:
    """Degrees to the right and up `(K, 2)` at which an object is seen; those to the right go on past half a turn."""
    x, y, z = view.in_camera(number, None if follows else 0).T
    right = np.unwrap(np.arctan2(x, z))
    return np.degrees(np.stack([right, np.arctan2(-y, np.hypot(x, z))], axis=1))


def orientations(view: SpatialView) -> np.ndarray:
    """Degrees `(K, 3)` by which the camera has turned to the right, up and clockwise since the first moment.

    Turns to the right and clockwise go on past half a turn.
    """
    turns = np.einsum("ji,kjl->kil", view.poses[0, :3, :3], view.poses[:, :3, :3])
    ahead, right = turns[:, :, 2], turns[:, :, 0]
    yaw = np.unwrap(np.arctan2(ahead[:, 0], ahead[:, 2]))
    pitch = np.arctan2(-ahead[:, 1], np.hypot(ahead[:, 0], ahead[:, 2]))
    roll = np.unwrap(np.arctan2(right[:, 1], np.hypot(right[:, 0], right[:, 2])))
    return np.degrees(np.stack([yaw, pitch, roll], axis=1))


def speeds(view: SpatialView, number: int, follows: bool) -> np.ndarray:
    """Mean speeds `(K - 1,)` between moments, in the unit of the poses a second."""
    if number == CAMERA:
        path = np.zeros_like(view.centres) if follows else view.centres
    else:
        path = view.in_camera(number) if follows else view.places[number]
    return np.linalg.norm(np.diff(path, axis=0), axis=1) / np.diff(view.seconds)


def _rest_speeds(view: SpatialView, numbers: Sequence[int]) -> float:
    """The speed up to which things rest."""
    seen = [distances(view, number, CAMERA, True).mean() for number in numbers if number != CAMERA]
    return _REST * float(np.mean(seen))


def _measure_distance(follows: bool) -> Measure:
    def measure(view: SpatialView, number: int, other: int) -> Steps | None:
        changes = np.diff(np.log(np.maximum(distances(view, number, other, follows), 1e-6)))
        return _name_all([_name_change(change, _CHANGED, _SAME, SIZES) for change in changes])

    return measure


def _measure_direction(follows: bool) -> Measure:
    def measure(view: SpatialView, number: int, other: int) -> Steps | None:
        steps = np.diff(directions(view, number, follows), axis=0)
        left, right, up, down, none = SHIFTS
        named = [
            _strongest([(aside, left, right), (above, down, up)], _SHIFTED_DEGREES, _STEADY_DEGREES, none)
            for aside, above in steps
        ]
        return _name_all(named)

    return measure


def _measure_orientation(view: SpatialView, number: int, other: int) -> Steps | None:
    left, right, up, down, clockwise, counter, none = TURNS
    named = [
        _strongest(
            [(yaw, left, right), (pitch, down, up), (roll, counter, clockwise)],
            _SHIFTED_DEGREES,
            _STEADY_DEGREES,
            none,
        )
        for yaw, pitch, roll in np.diff(orientations(view), axis=0)
    ]
    return _name_all(named)


def _measure_speed(follows: bool) -> Measure:
    def measure(view: SpatialView, number: int, other: int) -> Steps | None:
        found, rest = speeds(view, number, follows), _rest_speeds(view, [number])
        return _name_all([_compare_speeds(later, before, rest, SIZES) for before, later in pairwise(found)])

    return measure


def _measure_comparison(follows: bool) -> Measure:
    former, latter, same = COMPARISONS

    def measure(view: SpatialView, number: int, other: int) -> Steps | None:
        rest = _rest_speeds(view, [number, other])
        pairs = zip(speeds(view, number, follows), speeds(view, other, follows), strict=True)
        return _name_all([_compare_speeds(one, two, rest, (latter, same, former)) for one, two in pairs])

    return measure


def _compare_speeds(one: float, two: float, rest: float, names: tuple[str, str, str]) -> str | None:
    """Which of two speeds is greater; below the speed of what rests there is no ratio."""
    if max(one, two) <= rest:
        return names[1]
    if min(one, two) <= rest:
        return names[2 * int(one > two)] if max(one, two) >= 2 * rest else None
    return _name_change(float(np.log(one / two)), _FASTER, _AS_FAST, names)


def _measure_prediction(follows: bool) -> Measure:
    """The way after the middle moment, if it is the way before it as well: else nobody could foresee it."""

    def measure(view: SpatialView, number: int, other: int) -> Steps | None:
        path = view.in_camera(number, None if follows else 1)
        least = _REST * float(np.linalg.norm(path[1])) * np.diff(view.seconds)
        left, right, up, down, toward, away = WAYS
        named = [
            _strongest([(x, left, right), (y, up, down), (z, toward, away)], shortest, 0.0, "")
            for (x, y, z), shortest in zip(np.diff(path, axis=0), least, strict=True)
        ]
        return (str(named[1]),) if named[0] == named[1] and named[1] else None

    return measure


_DISTANCE = "how does the distance between {name} and {other} change?"
_DIRECTION = "how does the direction of {name} as seen from {other} change?"
_SPEED = "how does the speed of {name} change?"
_COMPARISON = "compare the speeds of {name} (the former) and {other} (the latter)."
_PREDICTION = "which way will {name} move next?"
KINDS = {
    "rel_dis": DsrKind(_DISTANCE, SIZES, _measure_distance(True), True, subject="pair"),
    "abs_dis": DsrKind(_DISTANCE, SIZES, _measure_distance(False), False),
    "rel_dir": DsrKind(_DIRECTION, SHIFTS, _measure_direction(True), True),
    "abs_dir": DsrKind(_DIRECTION, SHIFTS, _measure_direction(False), False),
    "abs_ori": DsrKind(
        "how does the orientation of {other} change?", TURNS, _measure_orientation, False, subject="camera"
    ),
    "rel_spd": DsrKind(_SPEED, SIZES, _measure_speed(True), True, moments=(4, 3)),
    "abs_spd": DsrKind(_SPEED, SIZES, _measure_speed(False), False, moments=(4, 3)),
    "rel_spd_comp": DsrKind(_COMPARISON, COMPARISONS, _measure_comparison(True), True, subject="pair"),
    "abs_spd_comp": DsrKind(_COMPARISON, COMPARISONS, _measure_comparison(False), False, subject="pair"),
    "rel_dir_pred": DsrKind(_PREDICTION, WAYS, _measure_prediction(True), True, moments=(3,)),
    "abs_dir_pred": DsrKind(_PREDICTION, WAYS, _measure_prediction(False), False, moments=(3,)),
}


def ask_dsr(kind: DsrKind, name: str, other: str, start: float, end: float) -> str:
    """The words of a question.

    Args:
        kind ([`DsrKind`]): Which.
        name, other (`str`): What the things are called, with their articles.
        start, end (`float`): Seconds of the span, which a prediction follows on.
    """
    perspective = "following the perspective of the camera"
    if not kind.follows:
        moment = end if kind.is_prediction else start
        perspective = f"from the perspective of the camera at {moment:.1f} s"
    asked = f"{perspective}, {kind.question.format(name=name, other=other)}"
    return f"After {end:.1f} s, {asked}" if kind.is_prediction else f"Between {start:.1f} s and {end:.1f} s, {asked}"


def list_answers(kind: DsrKind, steps: int, rng: np.random.Generator) -> list[str]:
    """Answers of a kind in random order, those with that many steps first."""
    single = [write_steps([label]) for label in kind.labels]
    double = [write_steps([one, two]) for one in kind.labels for two in kind.labels if one != two]
    mixed = [str(answer) for part in (single, double) for answer in rng.permutation(part)]
    return sorted(mixed, key=lambda answer: abs(count_steps(answer) - steps))

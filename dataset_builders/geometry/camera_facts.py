"""What a question may ask about a camera: motions that are named alike whatever cannot be known about the scene."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..clip_record import CameraPoses
from .camera_motion import CAMERA_LABELS, MIN_DEGREES, camera_steps, check_poses

STAY = "Stay"
# An orbit: the camera goes sideways round what it looks at, to its own left or right, and turns so as to keep it in
# view. `Arc Right` is a truck to the right with a pan to the left; seen from above it goes counter-clockwise.
ARC_LABELS = ("Arc Left", "Arc Right")
ASKED_LABELS = (*CAMERA_LABELS, STAY, *ARC_LABELS)

MAX_NAMED = 4  # labels in one option
NAMED_SHARE, UNNAMED_SHARE = 0.4, 0.35  # of the strongest motion, at least and at most; between, nobody could say
POSSIBLE_SHARE = 0.7  # of the strongest motion: what is not named may at most be, at the least likely depth
NET_SHARE = 0.8  # of the way gone along an axis
MAX_STAY_DEGREES = 0.6
SPAN_SECONDS = 2.0  # parts of a window that are asked about besides the whole
MIN_SPAN_SECONDS = 0.75
_DEPTH_FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)  # of the scene's depth, where the poses are up to scale
_METRIC_FACTORS = (0.8, 1.0, 1.25)
_NEAREST_METRES = 0.3  # what a camera looks at, where poses are in metres and no depth is known
_ANY = 1e9  # a factor for poses of no known unit, where any move may be large
_TREMOR_SHARE, _WAVER_SHARE = 0.05, 0.15  # of the reach along an axis, below which it did not turn round
_SAME_SPAN = 0.7  # overlap beyond which two spans show the same motion
_GAP_STEPS = 3.0  # median steps in time, beyond which a trajectory has a gap
_ARC_DEPTHS = (0.5, 2.0)  # scene depths at which the axis of an orbit may cross the view
_ARC_MISS = 0.25  # of that distance: how far from the middle of the view it may pass
_ARC_ACROSS = 0.5  # sine of the angle between the axis and the line of view, at least
_ARC_SIDEWAYS = 0.8  # share of an orbit's way that goes left or right


@dataclass(frozen=True)
class CameraFact:
    """What the camera did between two times, sure enough to be asked.

    Attributes:
        span (`tuple[float, float]`): Seconds.
        parts (`tuple[tuple[str, ...], ...]`): The labels of the whole span; two tuples are what the camera did first
            and then, where it turns round. All of `ASKED_LABELS`, in their order.
        cut (`float`, *optional*): Seconds of the turning point between two parts.
        numbers (`dict[str, float]`): Degrees of each motion; those of two parts begin with `first ` and `then `.
    """

    span: tuple[float, float]
    parts: tuple[tuple[str, ...], ...]
    cut: float | None
    numbers: dict[str, float]


def camera_facts(camera: CameraPoses, timestamps: Sequence[float]) -> list[CameraFact]:
    """Name the camera's motion over a window and over parts of it, wherever that can be said for sure.

    A motion is named where (a) it is strong for every depth of the scene that cannot be excluded, and in the second
    path where there is one, (b) the net motion is at least `NET_SHARE` of the way gone along its axis, and (c) all
    that is not named is weak at the likely depth and strongest at none. Where the camera turns round once, the two
    halves are named instead.

    Args:
        camera ([`CameraPoses`]): Its path; no span crosses frames without a pose, or a gap in time.
        timestamps (`Sequence[float]`): Seconds, one a frame, increasing.

    Returns:
        `list[CameraFact]`: The longest spans first; perhaps none.

    Raises:
        InputError: If poses are not rigid or do not fit the timestamps.
    """
    seconds = np.asarray(timestamps, dtype=float)
    facts: list[CameraFact] = []
    for start, stop in _runs(camera.registered, seconds):
        check_poses(camera.camera_to_world[start:stop], seconds[start:stop])
        path = _Path(camera, start, stop)
        for first, last in _spans(path, seconds[start:stop]):
            fact = _fact(path, first, last, seconds[start:stop])
            if fact is not None and not any(_overlap(fact.span, other.span) > _SAME_SPAN for other in facts):
                facts.append(fact)
    return sorted(facts, key=lambda fact: (fact.span[0] - fact.span[1], fact.span[0]))


def _overlap(span: tuple[float, float], other: tuple[float, float]) -> float:
    """Intersection over union."""
    shared = min(span[1], other[1]) - max(span[0], other[0])
    return shared / (max(span[1], other[1]) - min(span[0], other[0]))


class _Path:
    """The way gone along each axis up to each frame of a run, as is likely and as cannot be excluded."""

    def __init__(self, camera: CameraPoses, start: int, stop: int):
        poses = camera.camera_to_world[start:stop]
        self.depth_known = camera.scene_depth is not None
        self.way = _way(poses, camera.scene_depth or 1.0)
        self.shown = self.way * np.array([1, 1, 1, *3 * (self.depth_known,)])
        self.possible = [self.way * factor for factor in _move_factors(camera)]
        self.likely = [self.way if self.depth_known else self.possible[-1]]
        if camera.second_path is not None:
            second = camera.second_path[start:stop]
            known = np.isfinite(second).all()
            self.likely.append(_way(second, camera.scene_depth or 1.0) if known else np.zeros_like(self.way))


def _way(poses: np.ndarray, depth: float) -> np.ndarray:
    return np.concatenate([np.zeros((1, 6)), np.cumsum(camera_steps(poses, depth), axis=0)])


def _move_factors(camera: CameraPoses) -> list[np.ndarray]:
    """By what the six strengths are to be multiplied, for every depth that the scene may have."""
    if camera.kind in ("still", "turn_only"):
        moves: Sequence[float] = (0.0,)
    elif camera.scene_depth is None:
        moves = (0.0, 1 / _NEAREST_METRES if camera.kind == "metric" else _ANY)
    else:
        moves = _METRIC_FACTORS if camera.kind == "metric" else _DEPTH_FACTORS
    return [np.array([1, 1, 1, *3 * (factor,)]) for factor in moves]


def _runs(registered: np.ndarray, seconds: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last-but-one frame of each stretch without a frame that has no pose and without a gap in time."""
    steps = np.diff(seconds)
    usual = np.median(steps) if len(steps) else 0.0
    start = None
    for index in range(len(registered) + 1):
        inside = index < len(registered) and registered[index]
        broken = inside and start is not None and steps[index - 1] > _GAP_STEPS * usual
        if start is not None and (not inside or broken):
            if index - start > 1:
                yield start, index
            start = None
        if inside and start is None:
            start = index


def _spans(path: _Path, seconds: np.ndarray) -> Iterator[tuple[int, int]]:
    """The whole run, equal parts of it, and the stretches between the points where the camera turns round."""
    last = len(seconds) - 1
    yield 0, last
    parts = min(last, round((seconds[-1] - seconds[0]) / SPAN_SECONDS))
    if parts > 1:
        bounds = np.searchsorted(seconds, np.linspace(seconds[0], seconds[-1], parts + 1)[1:-1])
        yield from pairwise([0, *map(int, bounds), last])
    for axis in range(6):
        yield from pairwise(_extremes(path.shown[:, axis], MIN_DEGREES))


def _fact(path: _Path, first: int, last: int, seconds: np.ndarray) -> CameraFact | None:
    """What is sure of one span, as a whole or else as what comes first and then."""
    if last <= first or seconds[last] - seconds[first] < MIN_SPAN_SECONDS:
        return None
    span = (float(seconds[first]), float(seconds[last]))
    labels = _labels(path, first, last)
    if labels is not None:
        return CameraFact(span, (labels,), None, _degrees(path, first, last))
    cuts = _turning_points(path, first, last)
    if len(cuts) != 1 or min(seconds[cuts[0]] - span[0], span[1] - seconds[cuts[0]]) < MIN_SPAN_SECONDS / 2:
        return None
    before, after = _labels(path, first, cuts[0]), _labels(path, cuts[0], last)
    if before is None or after is None or before == after or STAY in (*before, *after):
        return None
    numbers = {f"first {name}": value for name, value in _degrees(path, first, cuts[0]).items()}
    numbers |= {f"then {name}": value for name, value in _degrees(path, cuts[0], last).items()}
    return CameraFact(span, (before, after), float(seconds[cuts[0]]), numbers)


def _labels(path: _Path, first: int, last: int) -> tuple[str, ...] | None:
    """The labels that hold in every reading, `None` where there is none or something unnamed is not weak."""
    likely, possible = ([way[first : last + 1] for way in ways] for ways in (path.likely, path.possible))
    if all(np.ptp(way, axis=0).max() <= MAX_STAY_DEGREES for way in (*likely, *possible)):
        return (STAY,)
    net = likely[0][-1] - likely[0][0]
    strong = np.logical_and.reduce([_strong(way) for way in (*likely, *possible)])
    arc = _arc(net) if path.depth_known else None
    named = np.array([True, False, bool(strong[2]), False, True, False]) if arc else strong
    if not 1 <= named.sum() <= MAX_NAMED:
        return None
    clear = all(_is_clear(way, named, np.sign(net), UNNAMED_SHARE) for way in likely)
    if not clear or not all(_is_clear(way, named, np.sign(net), POSSIBLE_SHARE) for way in possible):
        return None
    return (arc,) if arc else tuple(CAMERA_LABELS[2 * axis + (net[axis] < 0)] for axis in np.flatnonzero(named))


def _strong(way: np.ndarray) -> np.ndarray:
    """Whether each axis may be named."""
    net = np.abs(way[-1] - way[0])
    return net >= max(MIN_DEGREES, NAMED_SHARE * net.max())


def _is_clear(way: np.ndarray, named: np.ndarray, signs: np.ndarray, unnamed_share: float) -> bool:
    """Whether what is named goes that way without turning round, and all else is weak."""
    net, reach = way[-1] - way[0], np.ptp(way, axis=0)
    peak = np.abs(net[named]).max()
    straight = all(net[axis] * signs[axis] >= NET_SHARE * _length(way[:, axis]) for axis in np.flatnonzero(named))
    enough = np.abs(net[named]).min() >= MIN_DEGREES
    return bool(straight and enough and (reach[~named] <= unnamed_share * peak).all())


def _arc(net: np.ndarray) -> str | None:
    """`Arc Left` or `Arc Right` where the axis of turning passes near the middle of the view.

    A motion with turn w and shift t is a screw about an axis along w through w x t / |w|^2 (t in scene depths).
    It must cross the line of view within the scene.
    """
    turn = np.radians([net[1], -net[0], net[2]])
    shift = np.radians([-net[4], -net[5], net[3]])
    angle, way = np.linalg.norm(turn), np.linalg.norm(shift)
    if np.degrees(angle) < MIN_DEGREES or np.degrees(way) < MIN_DEGREES or abs(shift[0]) < _ARC_SIDEWAYS * way:
        return None
    axis, through = turn / angle, np.cross(turn, shift) / angle**2
    across = axis[:2] @ axis[:2]
    if across < _ARC_ACROSS**2:  # turns about the line of view
        return None
    # Where the axis comes nearest to the line of view, which is (0, 0, depth).
    miss_x, miss_y, depth = through - axis * (through[:2] @ axis[:2]) / across
    if not _ARC_DEPTHS[0] <= depth <= _ARC_DEPTHS[1] or np.hypot(miss_x, miss_y) > _ARC_MISS * depth:
        return None
    return ARC_LABELS[int(shift[0] > 0)]


def _degrees(path: _Path, first: int, last: int) -> dict[str, float]:
    net = path.way[last] - path.way[first]
    names = [CAMERA_LABELS[2 * axis + (value < 0)] for axis, value in enumerate(net)]
    return {name: round(abs(float(value)), 1) for name, value in zip(names, net, strict=True) if abs(value) >= 0.05}


def _turning_points(path: _Path, first: int, last: int) -> list[int]:
    """Frames at which the axis that goes farthest turns round."""
    way = path.shown[first : last + 1]
    reach = np.ptp(way, axis=0)
    axis = int(np.argmax(reach))
    return [first + index for index in _extremes(way[:, axis], _WAVER_SHARE * reach[axis])[1:-1]]


def _length(way: np.ndarray) -> float:
    """Length of the way there and back along one axis, less its tremor."""
    return float(np.abs(np.diff(way[_extremes(way, _TREMOR_SHARE * np.ptp(way))])).sum())


def _extremes(way: np.ndarray, tolerance: float) -> list[int]:
    """First index, those between at which the way turns round by more than the tolerance, and last index."""
    found, candidate, direction = [0], 0, 0.0
    for index in range(1, len(way)):
        step = way[index] - way[candidate]
        if direction == 0:
            if abs(way[index] - way[0]) > tolerance:
                direction, candidate = np.sign(way[index] - way[0]), index
        elif step * direction >= 0:
            candidate = index
        elif abs(step) > tolerance:
            found.append(candidate)
            direction, candidate = -direction, index
    return [*found, len(way) - 1]

"""Labels of an object's motion from its masks, the camera's poses and, where known, its depth, with their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..clip_record import CameraPoses, ObjectTrack
from .object_directions import (
    AT_REST,
    DIRECTIONS,
    MAIN_DIRECTIONS,
    MIN_NET_OF_PATH,
    is_straight,
    least_move,
    main_direction,
    measure_direction,
    one_way_parts,
)
from .object_paths import ObjectPath, measure_path, noise, smooth

ObjectFactKind = Literal["direction", "main_direction", "apparent_direction", "distance", "speed", "followed"]

DISTANCES = ("Moving Toward the Camera", "Moving Away from the Camera", "Keeping Its Distance")
SPEEDS = ("Speeding Up", "Slowing Down", "Keeping Its Speed", "Stopping and Going On")
FOLLOWED = (
    "Followed by the Camera",
    "Shifted by the Camera Alone",
    "The Same Way in the Picture",
    "The Opposite Way in the Picture",
)
LABELS: dict[ObjectFactKind, tuple[str, ...]] = {
    "direction": (*DIRECTIONS, AT_REST),
    "main_direction": MAIN_DIRECTIONS,
    "apparent_direction": (*DIRECTIONS, AT_REST),
    "distance": DISTANCES,
    "speed": SPEEDS,
    "followed": FOLLOWED,
}

_MIN_SIZE_CHANGE = 0.2  # of the logarithm of the linear size: 22 %
_MIN_DISTANCE_CHANGE = 0.1  # of the logarithm of the distance, where depth is known
_STATIC_FACTOR = 4.0  # times the change of size of regions that stand still
_KEPT = 0.35  # of the least change: what is less is none
_DEFAULT_STATIC_SIZE = 0.03
_SMOOTHED_STEP = 0.3  # noise of a step between smoothed places, of the noise of one place
_FOLLOWED_SHARE = 0.25  # of the way in the world, within which the picture of a followed object stays
_MIN_LENGTH_RATIO = 0.4  # between the ways in the world and in the picture, or the camera follows in part
# Logarithm of the linear size that masks win or lose.
_MAX_SIZE_PARTS, _MAX_SPEED_PARTS = 0.12, 0.2
_FASTER, _STEADY, _STANDING = 1.8, 1.25, 0.2  # ratios of speeds


@dataclass(frozen=True)
class ObjectFact:
    """One thing that is true of an object over a span of a clip.

    Attributes:
        kind (`str`): `direction` (in the picture that the first camera would have seen; compensated),
            `main_direction` (the same, of four sides, where it lies between two of the eight), `apparent_direction`
            (in the picture as it is), `distance` (from the first camera), `speed` (compensated), or `followed`
            (compensated against apparent).
        label (`str`, *optional*): One of [`LABELS`] of the kind; `None` where a person could not say.
        span (`tuple[float, float]`): Seconds from the first frame of the video.
        numbers (`dict[str, float]`): What the label follows from, with the unit in the name; `_side` is the picture's
            longer side.
        made_by (`dict[str, str]`): Tool to version, of the masks and the poses.
    """

    kind: ObjectFactKind
    label: str | None
    span: tuple[float, float]
    numbers: dict[str, float]
    made_by: dict[str, str] = field(default_factory=dict)


def object_facts(
    track: ObjectTrack,
    camera: CameraPoses | None,
    timestamps: Sequence[float],
    size: tuple[int, int],
    depths: ArrayLike | None = None,
) -> list[ObjectFact]:
    """Name how an object moved, over the longest stretch in which its masks are sure and whole in the picture.

    The motion is given in the picture of the first camera of that stretch. It is known for a camera that stands
    still or turns, and for any other where the object's depth is. A motion to and fro, or round a bend, has a fact
    about the whole stretch, without a direction, and facts about the parts of it that have one.

    Args:
        track ([`ObjectTrack`]): The object; `errors["static_size"]` is the noise of sizes in this clip.
        camera ([`CameraPoses`], *optional*): Where the camera was.
        timestamps (`Sequence[float]`): Seconds of the frames.
        size (`tuple[int, int]`): Width and height of the frames in pixels.
        depths (`ArrayLike` of shape `(T,)`, *optional*): Median depth of the object in each frame, along the view axis
            in the unit of the poses; NaN where unknown.

    Returns:
        `list[ObjectFact]`: None where the object is not seen for long enough.
    """
    path = measure_path(track, camera, timestamps, size, depths)
    if path is None:
        return []
    made_by = {**track.made_by, **(camera.made_by if camera is not None else {})}
    found = _direction_facts("apparent_direction", path, path.picture)
    if path.world is not None:
        found += _direction_facts("direction", path, path.world)
        found.append(_speed_fact(path, path.world, track.errors.get("mask_size", 0.0)))
        if camera is not None and camera.kind != "still":
            found.append(_followed_fact(path, path.world))
    if path.distances is not None or (camera is not None and camera.kind in ("still", "turn_only")):
        found.append(_distance_fact(path, track.errors))
    return [ObjectFact(kind, label, span, _rounded(numbers), made_by) for kind, label, span, numbers in found]


_Found = tuple[ObjectFactKind, str | None, tuple[float, float], dict[str, float]]


def _span(path: ObjectPath) -> tuple[float, float]:
    return float(path.seconds[0]), float(path.seconds[-1])


def _direction_facts(kind: ObjectFactKind, path: ObjectPath, places: np.ndarray) -> list[_Found]:
    label, numbers = measure_direction(places, path.extent)
    facts: list[_Found] = [(kind, label, _span(path), numbers)]
    if label is not None:
        return facts
    main = main_direction(numbers)
    if main is None or not is_straight(numbers):
        for first, last in one_way_parts(path, places):
            part = measure_direction(places[first : last + 1], path.extent)
            facts.append((kind, part[0], _span(path.cut(first, last)), part[1]))
    if kind == "direction" and len(facts) == 1 and main is not None:
        facts.append(("main_direction", main, _span(path), numbers))
    return facts


def _distance_fact(path: ObjectPath, errors: Mapping[str, float]) -> _Found:
    """Toward or away from the camera, by distance where it is known, else by size.

    A size may change because the mask wins or loses an arm: a change must exceed that by the least change, and no
    label follows from masks that win or lose much. A camera
    that moves changes the distance too: there is a label only if the distances from where the camera was at first and
    from where it is in each frame change alike.
    """
    if path.distances is None:
        static, parts = errors.get("static_size", _DEFAULT_STATIC_SIZE), errors.get("mask_size", 0.0)
        measures = [path.sizes, path.spans]
        label, numbers = _approach(path, measures, _MIN_SIZE_CHANGE, -1.0, _STATIC_FACTOR * static, parts)
        label = label if parts <= _MAX_SIZE_PARTS else None
        return "distance", label, _span(path), {"static_size_log": static, "mask_size_log": parts, **numbers}
    label, numbers = _approach(path, [path.distances], _MIN_DISTANCE_CHANGE, 1.0)
    if path.ranges is not None:
        seen, other = _approach(path, [path.ranges], _MIN_DISTANCE_CHANGE, 1.0)
        numbers["camera_change_log"] = other["change_log"]
        label = label if label == seen else None
    return "distance", label, _span(path), numbers


def _approach(
    path: ObjectPath, measures: list[np.ndarray], least: float, sign: float, error: float = 0.0, parts: float = 0.0
) -> tuple[str | None, dict[str, float]]:
    """One of [`DISTANCES`] or none, and the numbers, from measures that grow (`sign` 1) or shrink with distance."""
    curves = [smooth(measure) for measure in measures]
    change = float(curves[0][-1] - curves[0][0])
    travelled = float(np.abs(np.diff(curves[0][:: max(1, (len(curves[0]) - 1) // 6)])).sum())
    jitter = float(np.std(measures[0] - np.polyval(np.polyfit(path.seconds, measures[0], 2), path.seconds)))
    numbers = {
        "change_log": change,
        "path_log": travelled,
        "noise_log": jitter,
        "least_log": max(least, error) + parts,
    }
    label = None
    # The box must say the same as the area, at least half as loudly: limbs change one of them alone.
    agreed = all(
        np.sign(c[-1] - c[0]) == np.sign(change) and abs(c[-1] - c[0]) > max(least, error) / 2 for c in curves
    )
    if abs(change) >= max(numbers["least_log"], 3 * jitter) and agreed and abs(change) >= MIN_NET_OF_PATH * travelled:
        label = DISTANCES[int(sign * change > 0)]
    elif max(np.ptp(curve) for curve in curves) <= _KEPT * least and max(error, parts) <= least:
        label = DISTANCES[2]
    return label, numbers


def _speed_fact(path: ObjectPath, world: np.ndarray, parts: float) -> _Found:
    """How the speed changed; in the picture only for what keeps its distance, which deforms speeds there.

    A mask that wins or loses parts, by as much in its linear size, shifts its own middle: then there is no label.
    """
    places = path.points if path.points is not None else world
    scale = 1.0 if path.points is None else float(np.median(np.linalg.norm(path.points, axis=1)))
    curve = smooth(places)
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1) / scale
    speeds = steps / np.diff(path.seconds)
    jitter = noise(places) / scale
    net_of_path = float(np.linalg.norm(curve[-1] - curve[0]) / scale / max(steps.sum(), 1e-9))
    thirds = np.array_split(speeds, 3)
    first, middle, last = (float(part.mean()) for part in thirds)
    fastest = max(float(speeds.max()), 1e-9)
    numbers = {
        "first_third_side_per_second": first,
        "middle_third_side_per_second": middle,
        "last_third_side_per_second": last,
        "slowest_of_fastest": float(speeds.min()) / fastest,
        "variation": float(speeds.std() / max(speeds.mean(), 1e-9)),
        "net_of_path": net_of_path,
        "noise_side": jitter,
    }
    label = (
        None if parts > _MAX_SPEED_PARTS else _speed_label(path, speeds, jitter, (first, middle, last), net_of_path)
    )
    return "speed", label, _span(path), numbers


def _speed_label(
    path: ObjectPath, speeds: np.ndarray, jitter: float, thirds: tuple[float, float, float], net_of_path: float
) -> str | None:
    first, middle, last = thirds
    travelled = float((speeds * np.diff(path.seconds)).sum())
    step_noise = _SMOOTHED_STEP * jitter / float(np.median(np.diff(path.seconds)))
    if travelled < 2 * least_move(path.extent) or step_noise > 0.25 * speeds.mean() or len(speeds) < 6:
        return None
    if net_of_path < MIN_NET_OF_PATH:  # at a turning point everything stands for a moment
        return None
    sizes = smooth(path.sizes)
    if path.points is None and abs(sizes[-1] - sizes[0]) > 0.6 * _MIN_SIZE_CHANGE:
        return None
    low = int(np.argmin(speeds[1:-1])) + 1
    before, after = speeds[:low].max(), speeds[low + 1 :].max()
    if speeds[low] < _STANDING * min(before, after) and min(before, after) > 0.5 * speeds.max():
        return SPEEDS[3]
    if last > _FASTER * first and first < 1.1 * middle < 1.21 * last:
        return SPEEDS[0]
    if first > _FASTER * last and last < 1.1 * middle < 1.21 * first:
        return SPEEDS[1]
    if max(thirds) < _STEADY * min(thirds) and speeds.std() < 0.2 * speeds.mean():
        return SPEEDS[2]
    return None


def _followed_fact(path: ObjectPath, places: np.ndarray) -> _Found:
    """How the motion in the world shows in the picture of a camera that moves itself."""
    world, in_world = measure_direction(places, path.extent)
    picture, in_picture = measure_direction(path.picture, path.extent)
    least = least_move(path.extent)
    between = abs((in_world["angle_degrees"] - in_picture["angle_degrees"] + 180) % 360 - 180)
    numbers = {
        "right_side": in_world["right_side"],
        "up_side": in_world["up_side"],
        "apparent_right_side": in_picture["right_side"],
        "apparent_up_side": in_picture["up_side"],
        "between_degrees": between,
    }
    lengths = [numbers["path_side"] * numbers["net_of_path"] for numbers in (in_world, in_picture)]
    straight = [numbers["net_of_path"] >= MIN_NET_OF_PATH for numbers in (in_world, in_picture)]
    goes = [length >= least and steady for length, steady in zip(lengths, straight, strict=True)]
    shorter, longer = min(lengths), max(*lengths, 1e-9)
    label = None
    # What a camera follows never stands quite still in its picture.
    if goes[0] and 2 * in_picture["spread_side"] < _FOLLOWED_SHARE * lengths[0]:
        label = FOLLOWED[0]
    elif world == AT_REST and goes[1]:
        label = FOLLOWED[1]
    elif all(goes) and between <= 30 and _MIN_LENGTH_RATIO < shorter / longer:
        label = FOLLOWED[2]
    elif all(goes) and between >= 150 and _MIN_LENGTH_RATIO < shorter / longer:
        label = FOLLOWED[3]
    return "followed", label, _span(path), numbers


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in numbers.items()}

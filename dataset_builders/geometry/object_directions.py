"""Directions of a path: one of eight, or of four where it lies between two of these, and its parts that have one."""

from collections.abc import Iterator

import numpy as np

from .object_paths import MIN_FRAMES, MIN_SECONDS, ObjectPath, noise, smooth

AT_REST = "Staying in Place"
DIRECTIONS = (
    "Moving Right",
    "Moving to the Upper Right",
    "Moving Up",
    "Moving to the Upper Left",
    "Moving Left",
    "Moving to the Lower Left",
    "Moving Down",
    "Moving to the Lower Right",
)
MAIN_DIRECTIONS = ("Mainly to the Right", "Mainly Up", "Mainly to the Left", "Mainly Down")

# Lengths are shares of the picture's longer side, or of the object's extent (square root of its area).
MIN_NET_SIDE, MIN_NET_EXTENT = 0.03, 0.25
REST_SIDE, REST_EXTENT = 0.01, 0.08
MIN_NET_OF_PATH = 0.8
_NOISE_FACTOR = 5.0
_SECTOR_MARGIN = 5.0  # degrees to the next direction
_MAIN_MARGIN = 12.0  # degrees to a diagonal, which is mainly neither
# A part is chosen among many, and masks that win and lose parts of a thing at rest sway by less than this multiple of
# the least move: of 35 parts with masks at an overlap of 0.7, one of 19 below it is right, and 14 of 16 above.
_PART_LENGTH = 3.0
_PART_MARGIN, _PART_NET_OF_PATH = 10.0, 0.9
_STRAIGHT = 0.95  # net of path
_MAX_PLACES = 24  # ends that the search for a part tries
_MAX_TURNS = 2  # turning points at which a path is cut, and again each part of it


def least_move(extent: float) -> float:
    """How far an object of an extent must go, both in picture sides, before a person would say that it moved."""
    return max(MIN_NET_SIDE, MIN_NET_EXTENT * extent)


def measure_direction(
    places: np.ndarray, extent: float, margin: float = _SECTOR_MARGIN
) -> tuple[str | None, dict[str, float]]:
    """One of [`DIRECTIONS`], or [`AT_REST`], or none; and the numbers.

    Args:
        places (`np.ndarray` of shape `(n, 2)`): Columns and rows in picture sides.
        extent (`float`): Of the object, in picture sides.
        margin (`float`, *optional*, defaults to 5): Degrees that the direction must keep to the next one.
    """
    curve, jitter = smooth(places), noise(places)
    net = curve[-1] - curve[0]
    length = float(np.linalg.norm(net))
    # Thinned to what lies above the noise, or jitter would count as path.
    steps = np.diff(curve[:: max(1, (len(curve) - 1) // 8)], axis=0)
    travelled = max(float(np.linalg.norm(steps, axis=1).sum()), length)
    spread = float(np.linalg.norm(curve - curve.mean(axis=0), axis=1).max())
    angle = float(np.degrees(np.arctan2(-net[1], net[0])))
    numbers = {
        "right_side": float(net[0]),
        "up_side": float(-net[1]),
        "path_side": travelled,
        "net_of_path": length / max(travelled, 1e-9),
        "angle_degrees": angle,
        "spread_side": spread,
        "extent_side": extent,
        "noise_side": jitter,
    }
    if 2 * spread <= max(REST_SIDE, REST_EXTENT * extent):
        return AT_REST, numbers
    if not _goes_one_way(numbers):
        return None, numbers
    sector, off = nearest_multiple(angle, 45)
    if off > 22.5 - max(margin, _doubt(numbers)):
        return None, numbers
    return DIRECTIONS[sector % 8], numbers


def is_straight(numbers: dict[str, float]) -> bool:
    """Whether what [`measure_direction`] measured goes straight on, so that no part of it goes another way."""
    return numbers["net_of_path"] >= _STRAIGHT


def main_direction(numbers: dict[str, float]) -> str | None:
    """One of [`MAIN_DIRECTIONS`] for what [`measure_direction`] measured, or none where it rests, turns, or is as much
    sideways as upright."""
    if not _goes_one_way(numbers):
        return None
    side, off = nearest_multiple(numbers["angle_degrees"], 90)
    return MAIN_DIRECTIONS[side % 4] if off <= 45 - max(_MAIN_MARGIN, _doubt(numbers)) else None


def one_way_parts(path: ObjectPath, places: np.ndarray) -> list[tuple[int, int]]:
    """Parts of a path without one direction that have one, in the order of time.

    It is cut where it turns round; of what then lies between two directions, the longest part with one is taken, and
    the longest before and after that.

    Args:
        path ([`ObjectPath`]): Its times and the object's extent.
        places (`np.ndarray` of shape `(n, 2)`): Columns and rows in picture sides.

    Returns:
        `list[tuple[int, int]]`: First and last place of each part.
    """
    return list(_parts(path, places, 0, len(places) - 1, _MAX_TURNS))


def _parts(path: ObjectPath, places: np.ndarray, first: int, last: int, turns: int) -> Iterator[tuple[int, int]]:
    if not _is_long(path, first, last):
        return
    part = places[first : last + 1]
    label, numbers = measure_direction(part, path.extent)
    if label is not None:
        if label != AT_REST and _goes_far(path, numbers):
            yield first, last
        return
    if numbers["path_side"] < _PART_LENGTH * least_move(path.extent):
        return
    if turns and numbers["net_of_path"] < MIN_NET_OF_PATH:
        curve = smooth(part)
        turn = first + int(np.argmax(np.linalg.norm(curve - curve[0], axis=1)))
        yield from _parts(path, places, first, turn, turns - 1)
        yield from _parts(path, places, turn, last, turns - 1)
    elif (found := _longest_part(path, places, first, last)) is not None:
        yield from _parts(path, places, first, found[0], 0)
        yield found
        yield from _parts(path, places, found[1], last, 0)


def _longest_part(path: ObjectPath, places: np.ndarray, first: int, last: int) -> tuple[int, int] | None:
    """The longest part with a direction that is clear beyond doubt."""
    ends = np.unique(np.linspace(first, last, min(last - first + 1, _MAX_PLACES)).round().astype(int))
    pairs = [(int(a), int(b)) for a in ends for b in ends if _is_long(path, int(a), int(b))]
    for start, end in sorted(pairs, key=lambda pair: path.seconds[pair[0]] - path.seconds[pair[1]]):
        label, numbers = measure_direction(places[start : end + 1], path.extent, _PART_MARGIN)
        clear = _goes_far(path, numbers) and numbers["net_of_path"] >= _PART_NET_OF_PATH
        if label not in (None, AT_REST) and clear:
            return start, end
    return None


def _goes_far(path: ObjectPath, numbers: dict[str, float]) -> bool:
    return bool(np.hypot(numbers["right_side"], numbers["up_side"]) >= _PART_LENGTH * least_move(path.extent))


def _is_long(path: ObjectPath, first: int, last: int) -> bool:
    return last - first + 1 >= MIN_FRAMES and bool(path.seconds[last] - path.seconds[first] >= MIN_SECONDS)


def _goes_one_way(numbers: dict[str, float]) -> bool:
    length = np.hypot(numbers["right_side"], numbers["up_side"])
    least = max(least_move(numbers["extent_side"]), _NOISE_FACTOR * numbers["noise_side"])
    return bool(length >= least and numbers["net_of_path"] >= MIN_NET_OF_PATH)


def _doubt(numbers: dict[str, float]) -> float:
    """Degrees by which noise may turn the direction."""
    length = np.hypot(numbers["right_side"], numbers["up_side"])
    return float(np.degrees(np.arctan2(2 * numbers["noise_side"], length)))


def nearest_multiple(angle: float, step: float) -> tuple[int, float]:
    """Which multiple of a step is nearest to an angle, and how many degrees it is off."""
    number = round(angle / step)
    return number, abs(angle - step * number)

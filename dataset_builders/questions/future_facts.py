"""Facts about the frames after a cut: where objects will be, how far, which will be nearer, and whether two will meet.

A clip is cut; the label comes from the later frames of the same clip, so that no annotator is needed. Everything is
measured on masks, and on places in space where the record has depth.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..clip_record import ClipRecord, ObjectTrack
from ..geometry.masks import decode_mask, mask_area, touches_border
from ..geometry.object_directions import nearest_multiple
from ..geometry.object_places import ObjectPlaces, measure_places
from .spatial_facts import METRIC_KINDS

FAMILY = "future"
PLACE, DISTANCE, NEARER, MEET = "future_place", "future_distance", "future_nearer", "future_meet"
DIRECTIONS = (
    "Shifted Right",
    "Shifted to the Upper Right",
    "Shifted Up",
    "Shifted to the Upper Left",
    "Shifted Left",
    "Shifted to the Lower Left",
    "Shifted Down",
    "Shifted to the Lower Right",
)
UNSHIFTED = "In the Same Place"
NEARER_THAN_BEFORE, FARTHER_THAN_BEFORE = "Nearer to the Camera", "Farther from the Camera"
DISTANCES = (NEARER_THAN_BEFORE, FARTHER_THAN_BEFORE, "About as Far as Before")
MEETINGS = (
    "They Will Meet",
    "They Will Come Closer without Meeting",
    "They Will Move Apart",
    "They Will Keep Their Distance",
)
# Whether the object that is nearer when the video ends is still the nearer one later: options are the two names.
ORDERS = ("keeps", "changes")
LABELS = {PLACE: (*DIRECTIONS, UNSHIFTED), DISTANCE: DISTANCES, NEARER: ORDERS, MEET: MEETINGS}

HORIZONS = (1.5, 1.0, 2.0, 0.5)  # seconds after the cut
_MIN_SHOWN, _MIN_SEEN = 1.0, 0.4  # seconds of video before the cut; of it with the object, at its end
_MIN_SEEN_FRAMES = 3
_MIN_SHIFT, _MIN_EXTENTS = 0.05, 0.3  # of the picture's longer side, and of the object's own side
_REST_SHIFT, _REST_EXTENTS = 0.012, 0.1
_SECTOR_MARGIN = 6.0  # degrees to the next direction
_MIN_SIZE_CHANGE, _MIN_DISTANCE_CHANGE, _KEPT = 0.2, 0.12, 0.35  # logarithms; the last is a share of the others
_NEARER_BY = 0.15  # logarithm of the ratio of two distances
# Distances between middles of two objects, in their mean extents.
_TOUCH, _CLEAR_OF = 1.3, 1.6
_TOUCH_GAP, _CLEAR_GAP = 0.03, 0.25  # between their masks where only these are known
_CLOSER, _SAME = 0.75, 0.08  # ratio of two distances; deviation from 1 of such a ratio


class Moment(NamedTuple):
    """A cut of a window and what is asked about after it.

    Attributes:
        cut (`int`): Last frame that the video shows.
        middle (`int`, *optional*): Frame halfway to `until`, `None` where there is none between.
        until (`int`): Frame that the question is about.
    """

    cut: int
    middle: int | None
    until: int

    @property
    def later(self) -> list[int]:
        """The frames after the cut that are imagined."""
        return [self.until] if self.middle is None else [self.middle, self.until]


def find_moment(seconds: Sequence[float], cut: int, horizon: float) -> Moment | None:
    """The frames of a question about some seconds after a cut, `None` where the window has none near that time."""
    times = np.asarray(seconds, dtype=float)
    wanted = times[cut] + horizon
    until = int(np.abs(times - wanted).argmin())
    if until <= cut or abs(times[until] - wanted) > 0.1 * horizon + 0.02:
        return None
    between = np.arange(cut + 1, until)
    middle = int(between[np.abs(times[between] - (times[cut] + times[until]) / 2).argmin()]) if len(between) else None
    return Moment(cut, middle, until)


def list_moments(record: ClipRecord) -> list[Moment]:
    """Cuts of a window, one for each horizon that fits; which comes first depends on the clip's name alone."""
    times = np.asarray(record.window.timestamps, dtype=float)
    start = zlib.crc32(record.clip.encode())
    moments = []
    for number in range(len(HORIZONS)):
        horizon = HORIZONS[(start + number) % len(HORIZONS)]
        before = np.flatnonzero((times <= times[-1] - horizon + 1e-6) & (times >= times[0] + _MIN_SHOWN))
        moment = find_moment(times, int(before[-1]), horizon) if len(before) else None
        if moment is not None:
            moments.append(moment)
    return moments


def future_facts(record: ClipRecord) -> list[dict[str, Any]]:
    """Everything that can be asked about what comes after a cut; of each kind one fact an object or pair at most."""
    view = FutureView(record)
    moments = list_moments(record)
    return [
        fact
        for task, numbers in _subjects(record)
        if (fact := next(view.facts(task, numbers, moments), None)) is not None
    ]


def _subjects(record: ClipRecord) -> Iterator[tuple[str, tuple[int, ...]]]:
    count = len(record.objects or ())
    for number in range(count):
        yield from ((task, (number,)) for task in (PLACE, DISTANCE))
    for one in range(count):
        for other in range(one + 1, count):
            for task in (NEARER, MEET):
                seed = zlib.crc32(f"{record.clip} {task} {one} {other}".encode())
                yield task, (other, one) if seed % 2 else (one, other)


@dataclass
class FutureView:
    """A record with what is measured once for all of its facts."""

    record: ClipRecord

    def facts(self, task: str, numbers: tuple[int, ...], moments: Sequence[Moment]) -> Iterator[dict[str, Any]]:
        """The facts of one kind about one or two objects, at each moment that has one."""
        for moment in moments:
            found = _MEASURES[task](self, numbers, moment) if self._all_seen(numbers, moment) else None
            if found is not None:
                label, measured = found
                yield {
                    "family": FAMILY,
                    "task": task,
                    "object": numbers[0],
                    "other": numbers[1] if len(numbers) > 1 else None,
                    "frames": [moment.cut, *moment.later],
                    "answer": label,
                    "numbers": {name: round(float(value), 4) for name, value in measured.items()},
                }

    @cached_property
    def _places(self) -> dict[int, ObjectPlaces]:
        camera, depth = self.record.camera, self.record.depth
        if camera is None or depth is None or camera.kind not in METRIC_KINDS or not depth.metric:
            return {}
        tracks = self.record.objects or ()
        return {n: measure_places(track, camera, depth, self.record.size) for n, track in enumerate(tracks)}

    def track(self, number: int) -> ObjectTrack:
        """An object's track."""
        assert self.record.objects is not None
        return self.record.objects[number]

    def _all_seen(self, numbers: Sequence[int], moment: Moment) -> bool:
        """Whether objects are whole in the picture when the video ends and later, and for a while before."""
        times = np.asarray(self.record.window.timestamps, dtype=float)
        before = np.flatnonzero(times[: moment.cut + 1] >= times[moment.cut] - _MIN_SEEN - 1e-6)
        before = np.union1d(before, np.arange(max(0, moment.cut + 1 - _MIN_SEEN_FRAMES), moment.cut + 1))
        needed = [*before.tolist(), *moment.later]
        whole = (moment.cut, *moment.later)
        seen = {(number, frame): self._encoded(number, frame) for number in numbers for frame in needed}
        return all(
            mask is not None and not (frame in whole and touches_border(mask)) for (_, frame), mask in seen.items()
        )

    def _encoded(self, number: int, frame: int) -> dict | None:
        """The mask of an object that is seen for certain in a frame, `None` where it is not."""
        track = self.track(number)
        mask = track.masks[frame] if track.sure[frame] else None
        return mask if mask is not None and mask_area(mask) else None

    def mask(self, number: int, frame: int) -> np.ndarray | None:
        """Where an object is seen for certain in a frame, `None` where it is not."""
        mask = self._encoded(number, frame)
        return None if mask is None else decode_mask(mask)

    def place(self, number: int, frame: int) -> tuple[np.ndarray, float]:
        """Middle of an object's mask and square root of its area, in longer sides of the picture."""
        mask = self.mask(number, frame)
        assert mask is not None
        rows, columns = np.nonzero(mask)
        side = max(mask.shape)
        return np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / side, float(np.sqrt(len(rows))) / side

    def distances(self, numbers: Sequence[int], frames: Sequence[int]) -> list[list[float]] | None:
        """How far objects are from the camera in each frame, in the unit of the poses; `None` where any is not known.

        All are distances from the camera to the objects' middles, or else all are depths along its axis, since one
        kind does not compare with the other.
        """
        if all(number in self._places and self._places[number].known[frame] for number in numbers for frame in frames):
            camera = self.record.camera
            assert camera is not None
            return [
                [
                    float(np.linalg.norm(self._places[n].centres[frame] - camera.camera_to_world[frame, :3, 3]))
                    for n in numbers
                ]
                for frame in frames
            ]
        depths = [self.track(number).depths for number in numbers]
        found = [[np.nan if one is None else float(one[frame]) for one in depths] for frame in frames]
        return found if np.all(np.isfinite(found)) and np.all(found) else None

    def apart(self, numbers: Sequence[int], frame: int) -> tuple[float, float] | None:
        """Distance between two objects in space and their mean extent there, `None` where that is not known."""
        places = [self._places.get(number) for number in numbers]
        if not all(place is not None and place.known[frame] for place in places):
            return None
        one, other = places
        assert one is not None and other is not None
        gap = float(np.linalg.norm(one.centres[frame] - other.centres[frame]))
        return gap, float(one.extents[frame] + other.extents[frame]) / 2


Measured = tuple[str, dict[str, float]]


def _measure_place(view: FutureView, numbers: Sequence[int], moment: Moment) -> Measured | None:
    """Where an object is compared with its last place, in the picture as the camera then shows it."""
    (number,) = numbers
    (before, extent), (after, _) = (view.place(number, frame) for frame in (moment.cut, moment.until))
    shift = after - before
    length = float(np.linalg.norm(shift))
    measured = {"right_side": shift[0], "up_side": -shift[1]}
    if length <= max(_REST_SHIFT, _REST_EXTENTS * extent):
        return UNSHIFTED, measured
    if length < max(_MIN_SHIFT, _MIN_EXTENTS * extent) or not _has_room(view, before, shift, extent):
        return None
    sector, off = nearest_multiple(float(np.degrees(np.arctan2(-shift[1], shift[0]))), 45)
    return None if off > 22.5 - _SECTOR_MARGIN else (DIRECTIONS[sector % 8], measured)


def _has_room(view: FutureView, before: np.ndarray, shift: np.ndarray, extent: float) -> bool:
    """Whether the object could have gone any way and still be seen: else its last place would exclude answers."""
    width, height = np.array(view.record.size) / max(view.record.size)
    short = max(_MIN_SHIFT, _MIN_EXTENTS * extent)
    ways = [-shift, *(short * np.array(way) for way in ((1, 0), (-1, 0), (0, 1), (0, -1)))]
    half = extent / 2
    return all(
        half <= column <= width - half and half <= row <= height - half
        for column, row in (before + way for way in ways)
    )


def _measure_distance(view: FutureView, numbers: Sequence[int], moment: Moment) -> Measured | None:
    """Whether an object is nearer to the camera than when the video ended: by depth, else by its size."""
    (number,) = numbers
    grown = np.log(view.place(number, moment.until)[1] / view.place(number, moment.cut)[1])
    known = view.distances(numbers, (moment.cut, moment.until))
    if known is not None:
        (before,), (after,) = known
        change, least = np.log(after / before), _MIN_DISTANCE_CHANGE
        measured = {"distance_before": before, "distance_after": after}
    else:
        change, least = -grown, _MIN_SIZE_CHANGE
        measured = {"size_ratio": np.exp(grown)}
    if abs(change) <= _KEPT * least:
        return DISTANCES[2], measured
    if abs(change) < least or change * grown > 0:
        return None
    return (NEARER_THAN_BEFORE if change < 0 else FARTHER_THAN_BEFORE), measured


def _measure_nearer(view: FutureView, numbers: Sequence[int], moment: Moment) -> Measured | None:
    """Whether the nearer of two objects is still the nearer one."""
    found = view.distances(numbers, (moment.cut, moment.until))
    if found is None:
        return None
    before, after = (np.log(one / other) for one, other in found)
    if abs(after) < _NEARER_BY or abs(before) < _KEPT * _NEARER_BY:
        return None
    measured = {"distance_after": found[1][0], "other_distance_after": found[1][1]}
    return ORDERS[int((before > 0) != (after > 0))], measured


def _measure_meeting(view: FutureView, numbers: Sequence[int], moment: Moment) -> Measured | None:
    """What becomes of the distance of two objects: in space where that is known, else in the picture."""
    frames = range(moment.cut, moment.until + 1)
    spaces = {frame: found for frame in frames if (found := view.apart(numbers, frame)) is not None}
    if moment.cut in spaces and moment.until in spaces:
        gaps = {frame: gap / extent for frame, (gap, extent) in spaces.items()}
        touch, clear = _TOUCH, _CLEAR_OF
        before, after = spaces[moment.cut][0], spaces[moment.until][0]
        measured = {"metres_before": before, "metres_after": after}
    else:
        gaps = {frame: gap for frame in frames if (gap := _mask_gap(view, numbers, frame)) is not None}
        touch, clear = _TOUCH_GAP, _CLEAR_GAP
        ends = [[view.place(number, frame)[0] for number in numbers] for frame in (moment.cut, moment.until)]
        before, after = (float(np.linalg.norm(one - other)) for one, other in ends)
        measured = {"side_before": before, "side_after": after}
    if gaps[moment.cut] < clear:
        return None
    least = min(gaps.values())
    measured["least_gap_extents"] = least
    if least <= touch:
        return MEETINGS[0], measured
    ratio = after / before
    # Where they are not both seen, they may have touched.
    if least < clear or len(gaps) < len(frames):
        return None
    if ratio <= _CLOSER:
        return MEETINGS[1], measured
    if ratio >= 1 / _CLOSER:
        return MEETINGS[2], measured
    return (MEETINGS[3], measured) if abs(np.log(ratio)) <= _SAME else None


def _mask_gap(view: FutureView, numbers: Sequence[int], frame: int) -> float | None:
    """How far two masks are apart, in their mean sides; `None` where one of them is not seen."""
    import cv2

    one, other = (view.mask(number, frame) for number in numbers)
    if one is None or other is None:
        return None
    away = cv2.distanceTransform((~one).astype(np.uint8), cv2.DIST_L2, 5)
    side = (np.sqrt(one.sum()) + np.sqrt(other.sum())) / 2
    return float(max(0.0, away[other].min() - 1) / side)


_MEASURES: Mapping[str, Callable[[FutureView, Sequence[int], Moment], Measured | None]] = {
    PLACE: _measure_place,
    DISTANCE: _measure_distance,
    NEARER: _measure_nearer,
    MEET: _measure_meeting,
}

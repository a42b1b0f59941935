"""Facts in space about a clip with depth: what MLLM-4D's and DSR-Bench's kinds of question can ask about it."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..clip_record import ClipRecord
from ..geometry.camera_motion import camera_labels
from ..geometry.object_paths import longest_run
from ..geometry.object_places import ObjectPlaces, map_intrinsics, measure_places, place_noise, smooth_run
from ..geometry.spatial_view import (
    Accuracy,
    SpatialView,
    measure_surely,
    spread_frames,
    view_moments,
)
from . import dsr, mllm4d

MIN_SECONDS = 1.0  # that a question spans
_MIN_FRAMES = 5
METRIC_KINDS = ("metric", "still", "turn_only")  # poses whose unit is that of metric depth, or that have none
_GUESSED_FOCAL, _FOCAL_ERROR = ("still", "turn_only"), 0.2  # poses that do not tell the focal length
_STANDS = 0.02  # of the scene's depth: a camera that goes less far has one perspective
_TURNS = 2.0  # degrees likewise
_MOST_OFF = 0.055  # by which a distance in metres may be off: three fifths of half the smallest step between options


def spatial_facts(record: ClipRecord) -> list[dict[str, Any]]:
    """Everything that can be asked about places in space, with the numbers that it follows from.

    Of each kind there is at most one fact about each object, or pair of things; a fact holds with all noise that the
    clip's own resting points show.

    Args:
        record ([`ClipRecord`]): With poses, and depth in their unit, or else nothing is found.

    Returns:
        `list[dict]`: Each with `family` (`mllm4d` or `dsr`), `task`, `object` and `other` (numbers of the record's
        objects, -1 for the camera, `None` for nothing), `frames` of the window, `answer` and numbers.
    """
    camera, depth = record.camera, record.depth
    if camera is None or depth is None or camera.kind not in METRIC_KINDS or not depth.metric:
        return []
    clip = _SpatialClip(record)
    return [*_mllm4d_facts(clip), *_dsr_facts(clip)]


@dataclass
class _SpatialClip:
    """A record with what is measured once for all of its facts."""

    record: ClipRecord
    _smoothed: dict[tuple[int, tuple[int, int]], np.ndarray] = field(default_factory=dict)
    _views: dict[tuple, SpatialView] = field(default_factory=dict)

    @cached_property
    def places(self) -> dict[int, ObjectPlaces]:
        """Of the objects that a name tells apart from the others."""
        record, names = self.record, [track.name for track in self.record.objects or ()]
        return {
            number: measure_places(track, record.camera, record.depth, record.size)
            for number, track in enumerate(record.objects or ())
            if names.count(track.name) == 1
        }

    @cached_property
    def accuracy(self) -> Accuracy:
        """How well places are known, by the clip's own resting points."""
        record = self.record
        pixel = 1 / float(map_intrinsics(record.camera.intrinsics, record.depth, record.size)[0, 0])
        focal = _FOCAL_ERROR if record.camera.kind in _GUESSED_FOCAL else 0.0
        found = place_noise(record)
        depth = float(np.nanmedian(record.depth.maps))
        return Accuracy(found.single, pixel, depth, focal, found.smoothed, found.camera)

    @property
    def seconds(self) -> np.ndarray:
        """Times of the frames."""
        return np.asarray(self.record.window.timestamps, dtype=float)

    @cached_property
    def moves(self) -> bool:
        """Whether the camera has more than one perspective."""
        poses = self.record.camera.camera_to_world[self.record.camera.registered]
        gone = np.linalg.norm(poses[:, :3, 3] - poses[0, :3, 3], axis=1).max()
        cosine = (np.einsum("ij,kij->k", poses[0, :3, :3], poses[:, :3, :3]).min() - 1) / 2
        return bool(
            gone > _STANDS * self.accuracy.scene_depth or np.degrees(np.arccos(np.clip(cosine, -1, 1))) > _TURNS
        )

    def run(self, numbers: Sequence[int]) -> tuple[int, int] | None:
        """The longest stretch with poses and with places of some objects, if it is long enough."""
        known = self.record.camera.registered.copy()
        for number in numbers:
            known &= self.places[number].known
        first, last = longest_run(known)
        if last - first + 1 < _MIN_FRAMES or self.seconds[last] - self.seconds[first] < MIN_SECONDS:
            return None
        return first, last

    def view(
        self, numbers: Sequence[int], run: tuple[int, int], frames: Sequence[int], nearest: bool = False
    ) -> SpatialView:
        """Camera and objects at frames of a stretch; one view for all that is measured on it."""
        key = (tuple(numbers), run, tuple(frames), nearest)
        if key not in self._views:
            self._views[key] = self._view(numbers, run, frames, nearest)
        return self._views[key]

    def _view(self, numbers: Sequence[int], run: tuple[int, int], frames: Sequence[int], nearest: bool) -> SpatialView:
        places = {number: self.places[number] for number in numbers}
        for number in numbers:
            if (number, run) not in self._smoothed:
                self._smoothed[number, run] = smooth_run(places[number].centres, run)
        smoothed = {number: self._smoothed[number, run] for number in numbers}
        poses = self.record.camera.camera_to_world
        return view_moments(places, smoothed, poses, self.seconds, np.array(frames), nearest)

    def seed(self, *what: Any) -> int:
        """Of choices about this clip."""
        return zlib.crc32(repr((self.record.clip, *what)).encode())

    def surely(self, measure: Callable[[SpatialView], Any], view: SpatialView) -> Any:
        """As [`measure_surely`] with this clip's noise."""
        return measure_surely(measure, view, self.accuracy)

    def numbers(self) -> dict[str, float]:
        """What every fact tells of its accuracy."""
        return {"noise_share": round(self.accuracy.noise, 4), "unit_error": self.record.depth.scale_error}


def _mllm4d_facts(clip: _SpatialClip) -> Iterator[dict[str, Any]]:
    about_objects = [name for name, kind in mllm4d.KINDS.items() if any(kind.object)]
    for number in [None, *clip.places]:
        numbers = [] if number is None else [number]
        run = clip.run(numbers)
        if run is None:
            continue
        tasks = about_objects if number is not None else [name for name in mllm4d.KINDS if name not in about_objects]
        ends = [clip.view(numbers, run, pair, nearest=True) for pair in _pairs(run, clip.seconds)]
        for task in tasks:
            found = [(view, answer) for view in ends if (answer := _measure_two(clip, task, number, view)) is not None]
            if found:
                view, answer = found[clip.seed(task, number) % len(found)]
                yield _two_frame_fact(clip, task, number, view, answer)


def _pairs(run: tuple[int, int], seconds: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of frames of a stretch, at least half of it apart."""
    first, last = run
    marks = [first + round(share * (last - first)) for share in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    return [
        (one, other)
        for one in marks
        for other in marks
        if 2 * (other - one) >= last - first and seconds[other] - seconds[one] >= MIN_SECONDS
    ]


def two_frames(view: SpatialView, number: int | None) -> mllm4d.TwoFrames:
    """The first and last moment of a view in the form of MLLM-4D's questions; the object stays at 0 without one."""
    start, chosen = view.poses[0], [0, -1]
    nothing = np.zeros((2, 3))

    def to_camera(points: np.ndarray) -> np.ndarray:
        return (points - start[:3, 3]) @ start[:3, :3]

    return mllm4d.TwoFrames(
        numbers=(int(view.frames[0]), int(view.frames[-1])),
        seconds=(float(view.seconds[0]), float(view.seconds[-1])),
        camera=to_camera(view.centres[chosen]),
        object_centers=nothing if number is None else to_camera(view.places[number][chosen]),
        nearest=nothing[:, :2] if number is None else view.nearest[number][np.ix_(chosen, chosen)],
    )


def _measure_two(clip: _SpatialClip, task: str, number: int | None, view: SpatialView) -> float | str | None:
    measure = mllm4d.KINDS[task].measure
    if mllm4d.KINDS[task].labels != (mllm4d.METRES,):
        return clip.surely(lambda seen: measure(two_frames(seen, number)), view)
    metres = measure(two_frames(view, number))
    if metres is None:
        return None

    def is_near(seen: SpatialView) -> bool:
        other = measure(two_frames(seen, number))
        return other is not None and abs(np.log(other / metres)) <= _MOST_OFF

    return float(metres) if clip.surely(is_near, view) else None


def _two_frame_fact(
    clip: _SpatialClip, task: str, number: int | None, view: SpatialView, answer: float | str
) -> dict[str, Any]:
    frames = two_frames(view, number)
    return {
        "family": "mllm4d",
        "task": task,
        "object": number,
        "other": None,
        "frames": list(frames.numbers),
        "answer": answer,
        "camera_centers": _rounded(frames.camera),
        "object_centers": None if number is None else _rounded(frames.object_centers),
        "camera_labels": _camera_labels(clip, frames.numbers),
        "nearest": None if number is None else _rounded(frames.nearest),
        **clip.numbers(),
    }


def _camera_labels(clip: _SpatialClip, ends: tuple[int, int]) -> list[str]:
    camera = clip.record.camera
    part = np.flatnonzero(camera.registered)
    part = part[(part >= ends[0]) & (part <= ends[1])]
    return camera_labels(camera.camera_to_world[part], clip.seconds[part].tolist(), clip.accuracy.scene_depth)


def _dsr_facts(clip: _SpatialClip) -> Iterator[dict[str, Any]]:
    for task, kind in dsr.KINDS.items():
        if kind.follows and not clip.moves:
            continue  # one perspective: asked once
        for number, other in _subjects(clip, task, kind):
            fact = _steps_fact(clip, task, kind, number, other)
            if fact is not None:
                yield fact


def _subjects(clip: _SpatialClip, task: str, kind: dsr.DsrKind) -> list[tuple[int, int]]:
    numbers = list(clip.places)
    with_camera = [(number, dsr.CAMERA) for number in numbers]
    if kind.subject == "camera":
        return [(dsr.CAMERA, dsr.CAMERA)] if clip.moves else []
    if kind.subject == "object":
        return with_camera
    pairs = [(one, two) for one in numbers for two in numbers if one < two]
    swapped = [(two, one) if clip.seed(task, one, two) % 2 else (one, two) for one, two in pairs]
    compared_with_camera = clip.moves and task != "rel_spd_comp"  # which stands still where it is followed
    return swapped + (with_camera if compared_with_camera else [])


def _steps_fact(clip: _SpatialClip, task: str, kind: dsr.DsrKind, number: int, other: int) -> dict[str, Any] | None:
    numbers = sorted({one for one in (number, other) if one != dsr.CAMERA})
    run = clip.run(numbers)
    if run is None:
        return None
    for count in kind.moments:
        if run[1] - run[0] < 2 * (count - 1):
            continue
        view = clip.view(numbers, run, spread_frames(clip.seconds, run, count).tolist())
        steps = clip.surely(lambda seen: kind.measure(seen, number, other), view)
        if steps is not None:
            shown = list(map(int, view.frames[:2] if kind.is_prediction else view.frames))
            return {
                "family": "dsr",
                "task": task,
                "object": number,
                "other": other,
                "frames": shown,
                "answer": dsr.write_steps(steps),
                "steps": list(steps),
                "until": int(view.frames[-1]),
                "values": _values(view, task, kind, number, other),
                **clip.numbers(),
            }
    return None


def _values(view: SpatialView, task: str, kind: dsr.DsrKind, number: int, other: int) -> list:
    """The numbers that steps follow from: metres, degrees or metres a second."""
    if task.endswith("_dis"):
        return _rounded(dsr.distances(view, number, other, kind.follows))
    if task.endswith("_dir"):
        return _rounded(dsr.directions(view, number, kind.follows), 1)
    if task.endswith("_ori"):
        return _rounded(dsr.orientations(view), 1)
    if task.endswith("_spd"):
        return _rounded(dsr.speeds(view, number, kind.follows))
    if task.endswith("_spd_comp"):
        return _rounded(np.stack([dsr.speeds(view, one, kind.follows) for one in (number, other)], axis=1))
    return _rounded(view.in_camera(number, None if kind.follows else 1)[:2])


def _rounded(values: np.ndarray, digits: int = 3) -> list:
    return np.round(np.asarray(values, dtype=float), digits).tolist()


def objects_of(fact: dict[str, Any]) -> list[int]:
    """Numbers of the objects that a fact about objects or about space is of; none for one of the camera alone."""
    named = (fact["object"], fact.get("other"))
    return [number for number in named if number is not None and number >= 0]


def name_of(number: int, names: Mapping[int, str]) -> str:
    """What a thing is called in a sentence, with its article."""
    return "the camera" if number == dsr.CAMERA else f"the {names[number]}"

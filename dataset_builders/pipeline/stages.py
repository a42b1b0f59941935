"""What each stage does with one clip. It runs in a worker process, which a clip may end."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..clip_error import ClipError
from ..clip_record import CameraPoses, ClipRecord, ObjectTrack, Window
from .record_json import build_record, camera_to_json, track_to_json, window_to_json
from .settings import WINDOW_STAGES, BuildSettings, stage_key
from .stage_files import Fault, StageResult

if TYPE_CHECKING:
    from ...modeling.clip import Clip

# After these the next stage would meet the same fate.
_FATAL = ("crashed", "timeout", "memory", "damaged", "failed")
Emit = Callable[[str, StageResult | None], None]


@dataclass
class WindowTask:
    """One window of a video, with what its stages have made so far.

    Attributes:
        clip (`str`): The window's name.
        path (`Path`): The video file.
        source (`str`): The video, relative to the source folder.
        licence (`str`, *optional*): Terms of the video.
        file (`dict`): State of the file, by which a changed one is noticed.
        window ([`Window`]): Which part of the video.
        results (`dict[str, StageResult]`): Results by stage.
    """

    clip: str
    path: Path
    source: str
    licence: str | None
    file: Mapping[str, Any]
    window: Window
    results: dict[str, StageResult] = field(default_factory=dict)

    @property
    def record(self) -> ClipRecord:
        """The record that the results amount to."""
        return build_record(self.clip, self.source, self.licence, self.window, self.results)

    def key(self, stage: str, settings: BuildSettings) -> str:
        """The key that the result of a stage must have, given the earlier ones."""
        video = {"source": self.source, "file": dict(self.file), "window": window_to_json(self.window)}
        return stage_key(stage, settings, video, {name: result.digest for name, result in self.results.items()})

    def next_stage(self, settings: BuildSettings, last_stage: str) -> str | None:
        """The first stage whose result is missing or out of date, `None` if there is none up to `last_stage`."""
        for stage in WINDOW_STAGES:
            result = self.results.get(stage)
            if result is None or result.key != self.key(stage, settings):
                return stage
            if stage == last_stage or ends_window(result):
                return None
        return None

    @property
    def fault(self) -> Fault | None:
        """The first fault of the stages."""
        return next((result.fault for result in self.results.values() if result.fault is not None), None)


def ends_window(result: StageResult) -> bool:
    """Whether no later stage runs after this result."""
    return result.fault is not None and result.fault.code in _FATAL


def find_shots(path: Path, source: str, settings: BuildSettings) -> dict:
    """The value of the stage `shots`: the windows of a video, and what tells copies of it."""
    from ..sources.video_files import content_hash

    windows = _find_windows(path, settings)
    return {
        "source": source,
        "licence": None,
        "content": content_hash(path),
        "windows": [window_to_json(window) for window in windows],
    }


def run_window(task: WindowTask, settings: BuildSettings, last_stage: str, emit: Emit) -> None:
    """Run the stages of a window that are missing or out of date.

    Args:
        task ([`WindowTask`]): What to run on; its results are completed.
        settings ([`BuildSettings`]): What a user set.
        last_stage (`str`): Where to end.
        emit (`Callable`): Called with a stage and `None` when it begins, and with its result when it ends.
    """
    frames = _Frames(task)
    while (stage := task.next_stage(settings, last_stage)) is not None:
        emit(stage, None)
        key = task.key(stage, settings)
        try:
            value, fault = _RUN[stage](task, frames, settings), None
            if "fault" in value:
                fault = Fault.of(value.pop("fault"), stage)
        except ClipError as error:
            value, fault = None, Fault.of(error, stage)
        result = StageResult(key, value, fault)
        task.results[stage] = result
        emit(stage, result)


class _Frames:
    """The frames of a task's window, decoded when first asked for."""

    def __init__(self, task: WindowTask):
        self._task = task
        self._clip: Clip | None = None

    @property
    def clip(self) -> "Clip":
        if self._clip is None:
            self._clip = read_window(self._task.path, self._task.window)
        return self._clip


def _run_poses(task: WindowTask, frames: _Frames, settings: BuildSettings) -> dict:
    clip = frames.clip
    value: dict[str, Any] = {"size": list(clip.frames[0].size), "camera": None}
    try:
        value["camera"] = camera_to_json(_estimate_camera(clip, settings))
    except ClipError as error:
        value["fault"] = error  # objects may still be found
    return value


def _run_objects(task: WindowTask, frames: _Frames, settings: BuildSettings) -> dict:
    from ..geometry.resting import find_resting_regions

    value: dict[str, Any] = {"objects": [], "resting": []}
    camera, movers = task.record.camera, []
    try:
        movers = _find_objects(frames.clip, camera, settings)
    except ClipError as error:
        value["fault"] = error  # the camera may still be asked about
    value["objects"] = [track_to_json(track) for track in movers]
    if camera is not None:
        value["resting"] = [track_to_json(track) for track in find_resting_regions(frames.clip, camera, movers)]
    return value


def _run_facts(task: WindowTask, frames: _Frames, settings: BuildSettings) -> dict:
    from ..questions.clip_questions import list_candidates

    record = task.record
    value: dict[str, Any] = {"facts": {"camera": _camera_facts(record), "objects": _object_facts(record)}}
    if not list_candidates(value["facts"]):
        value["fault"] = ClipError("unclear", "no clear motion of the camera or of an object", "give another clip")
    return value


_RUN = {"poses": _run_poses, "objects": _run_objects, "facts": _run_facts}


# What the parts of a window are made by.


def _find_windows(path: Path, settings: BuildSettings) -> list[Window]:
    from ..sources.windows import find_windows

    with _as_clip_errors():
        return find_windows(path, settings.seed, settings.max_windows)


def read_window(path: Path, window: Window) -> "Clip":
    """The frames of a window, at its timestamps.

    Raises:
        ClipError: If the video is damaged there.
    """
    from ..sources import windows

    with _as_clip_errors():
        return windows.read_window(path, window)


@contextmanager
def _as_clip_errors() -> Iterator[None]:
    from ...modeling.video_file import VideoError

    try:
        yield
    except VideoError as error:
        raise ClipError(error.code, error.reason, error.remedy) from error


def _estimate_camera(clip: "Clip", settings: BuildSettings) -> CameraPoses:
    from importlib.metadata import version

    from ..geometry.poses import PoseError, estimate_poses

    try:
        poses = estimate_poses(clip, settings.seed)
    except PoseError as error:
        raise ClipError("unclear", str(error).partition(";")[0], "give a clip with a clear motion") from error
    return CameraPoses(
        "up_to_scale",
        poses.camera_to_world,
        poses.intrinsics,
        poses.scene_depth,
        made_by={"pycolmap": version("pycolmap")},
    )


def _find_objects(clip: "Clip", camera: CameraPoses | None, settings: BuildSettings) -> list[ObjectTrack]:
    if settings.objects == "none":
        return []
    from ..geometry.object_tracks import find_objects

    return find_objects(clip, camera)


def _camera_facts(record: ClipRecord) -> list[dict]:
    from ..geometry.camera_motion import camera_labels, camera_strengths

    camera, times = record.camera, record.window.timestamps
    if camera is None or camera.scene_depth is None:
        return []
    usable = np.flatnonzero(camera.registered)
    poses = camera.camera_to_world[usable]
    labels = camera_labels(poses, scene_depth=camera.scene_depth)
    strengths = camera_strengths(poses, scene_depth=camera.scene_depth)
    if not labels:
        return []
    numbers = {label: round(degrees, 1) for label, degrees in strengths.items()}
    return [{"span": [times[usable[0]], times[usable[-1]]], "parts": [labels], "numbers": numbers}]


def _object_facts(record: ClipRecord) -> list[dict]:
    from ..geometry.object_facts import object_facts

    return [
        {"object": number, **asdict(fact)}
        for number, track in enumerate(record.objects or ())
        for fact in object_facts(track, record.camera, record.window.timestamps, record.size)
    ]

"""What each stage does with one clip. It runs in a worker process, which a clip may end."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..clip_error import ClipError
from ..clip_record import POSE_KIND_WORDS, ClipRecord, Window
from ..sources.mask_files import mask_folder
from .object_sources import (
    Footage,
    as_clip_errors,
    describe_known_masks,
    describe_masks,
    find_known_masks,
    find_movers,
    load_models,
)
from .record_json import (
    build_record,
    camera_to_json,
    clip_folder,
    track_to_json,
    window_name,
    window_to_json,
)
from .settings import WINDOW_STAGES, BuildSettings, stage_key
from .stage_files import Fault, StageResult

if TYPE_CHECKING:
    from ...modeling.clip import Clip
    from ..layouts.imported_clip import ImportedClip

# After these the next stage would meet the same fate, or masks may be as wrong as poses. A crash is mostly the pose
# solver's own.
_FATAL = ("timeout", "memory", "damaged", "poses_disagree")
_SHOWN_DEGREES = 1.0
# What shots, and the seconds of frames, come from, and the distribution that has its version: the one that setup.cfg
# asks for, as `scenedetect` itself need not be installed.
_TOOLS = {"av": "av", "scenedetect": "scenedetect-headless"}
Report = Callable[..., None]  # `report(step)` when one begins, `report(None, (stage, result))` when it ends


class Video(NamedTuple):
    """A video file of a build.

    Attributes:
        path (`Path`): Where it is.
        source (`str`): Its path under the source folder.
        name (`str`): What it is called in ids and on disk.
        file (`dict[str, int]`): State of the file, by which a changed one is noticed.
        imported ([`ImportedClip`], *optional*): What comes with it in the layout of a data set or tool.
    """

    path: Path
    source: str
    name: str
    file: dict[str, int]
    imported: "ImportedClip | None" = None

    def licence(self, settings: BuildSettings) -> str | None:
        """Terms of the video: what the user says, else what its data set says."""
        return settings.licence or (None if self.imported is None else self.imported.licence)

    @property
    def subject(self) -> dict[str, Any]:
        """What results depend on, as JSON values."""
        if self.imported is None:
            return {"source": self.source, "file": self.file}
        return {"source": self.source, "file": self.file, "imported": self.imported.state()}


@dataclass
class ShotsTask:
    """The stage `shots` of one video."""

    video: Video
    settings: BuildSettings

    @property
    def folder(self) -> str:
        """Where results lie below `.stages`."""
        return self.video.name

    def key(self, stage: str = "shots") -> str:
        """The key that the result must have."""
        return stage_key(stage, self.settings, self.video.subject, {})

    def run(self, report: Report) -> None:
        """Find the windows of the video, and what tells copies of it."""
        from ..sources.video_files import content_hash
        from ..sources.windows import search_windows

        report("shots")
        path, settings, imported = self.video.path, self.settings, self.video.imported
        value, fault = None, None
        try:
            with as_clip_errors():
                given = (None, None) if imported is None else (imported.fps, imported.annotated())
                found = search_windows(path, settings.seed, settings.max_windows, *given)
            value = {
                "source": self.video.source,
                "licence": self.video.licence(settings),
                "content": content_hash(path),
                "windows": [window_to_json(window) for window in found.windows],
                "dropped": found.dropped,
                "made_by": {tool: version(distribution) for tool, distribution in _TOOLS.items()},
            }
        except ClipError as error:
            fault = Fault.of(error, "shots")
        report(None, ("shots", StageResult(self.key(), value, fault)))


@dataclass
class WindowTask:
    """The stages of one window of a video.

    Attributes:
        video ([`Video`]): Whose window it is.
        number (`int`): Which of them.
        licence (`str`, *optional*): Terms of the video.
        window ([`Window`]): Which part of the video.
        settings ([`BuildSettings`]): What a user set.
        last_stage (`str`): Where to end.
        results (`dict[str, StageResult]`): Up-to-date results by stage.
    """

    video: Video
    number: int
    licence: str | None
    window: Window
    settings: BuildSettings
    last_stage: str
    results: dict[str, StageResult] = field(default_factory=dict)

    @property
    def clip(self) -> str:
        """The window's name."""
        return window_name(self.video.name, self.number)

    @property
    def folder(self) -> str:
        """Where results lie below `.stages`."""
        return clip_folder(self.video.name, self.number)

    @property
    def record(self) -> ClipRecord:
        """The record that the results amount to."""
        return build_record(self.clip, self.video.source, self.licence, self.window, self.results)

    @property
    def fault(self) -> Fault | None:
        """Why nothing is known that could be asked: what failed first, or the last word on what is unclear."""
        faults = [result.fault for result in self.results.values() if result.fault is not None]
        return next((fault for fault in faults if fault.code != "unclear"), faults[-1] if faults else None)

    def key(self, stage: str) -> str:
        """The key that the result of a stage must have, given the earlier ones."""
        subject = {**self.video.subject, "window": window_to_json(self.window)}
        if stage == "poses" and self.video.imported is None:
            subject |= describe_known_masks(self.settings, self.video.path)
        if stage == "objects":
            subject |= describe_masks(self.settings, self.video.path, self.video.source)
        if stage == "depth" and self.settings.depth is not None:
            subject["model"] = self.settings.depth.digest
        return stage_key(stage, self.settings, subject, {name: made.digest for name, made in self.results.items()})

    def next_stage(self) -> str | None:
        """The first stage whose result is missing or out of date, `None` if there is none up to the last one."""
        for stage in WINDOW_STAGES:
            result = self.results.get(stage)
            if result is None or result.key != self.key(stage):
                return stage
            if stage == self.last_stage or (result.fault is not None and result.fault.code in _FATAL):
                return None
        return None

    def run(self, report: Report) -> None:
        """Run the stages that are missing or out of date."""
        frames = _Frames(self.video, self.window)
        while (stage := self.next_stage()) is not None:
            report(stage)
            if load_models(stage, self.settings):
                report(stage)  # loading, once in each worker, does not count as time of this clip
            value, fault = None, None
            try:
                value = _RUN[stage](self, frames)
                if "fault" in value:  # of a part of the stage, beside which others have come to something
                    fault = Fault.of(value.pop("fault"), stage)
            except ClipError as error:
                fault = Fault.of(error, stage)
            self.results[stage] = StageResult(self.key(stage), value, fault)
            report(None, (stage, self.results[stage]))


def read_frames(path: Path, window: Window) -> "Clip":
    """The frames of a window.

    Raises:
        ClipError: If the video is damaged there.
    """
    from ..sources.windows import read_window

    with as_clip_errors():
        return read_window(path, window)


@dataclass
class _Frames:
    """The frames of a window, decoded when first asked for."""

    video: Video
    window: Window

    @cached_property
    def clip(self) -> "Clip":
        return read_frames(self.video.path, self.window)

    @cached_property
    def footage(self) -> Footage:
        return Footage(self.video.path, self.video.source, self.window, self.clip, self.video.imported)


def _run_poses(task: WindowTask, frames: _Frames) -> dict[str, Any]:
    from ..geometry.poses import estimate_camera
    from ..layouts.instructions import compare_instructions
    from ..layouts.records import import_camera

    value: dict[str, Any] = {"size": list(frames.clip.frames[0].size), "camera": None}
    imported = task.video.imported
    try:
        if imported is None:
            camera = estimate_camera(frames.clip, task.settings.seed, find_known_masks(task.settings, frames.footage))
        else:
            with as_clip_errors():
                camera = import_camera(imported, frames.clip)
                value["instructions"] = compare_instructions(imported, camera, frames.clip.timestamps)
        value["camera"] = camera_to_json(camera)
    except ClipError as error:
        value["fault"] = error  # objects may still be found
    return value


def _run_objects(task: WindowTask, frames: _Frames) -> dict[str, Any]:
    from ..geometry.resting import find_resting_regions

    value: dict[str, Any] = {"size": list(frames.clip.frames[0].size), "objects": [], "resting": []}
    camera, movers = task.record.camera, []
    try:
        movers = find_movers(task.settings, frames.footage, camera)
    except ClipError as error:
        value["fault"] = error  # the camera may still be asked about
    value["objects"] = [track_to_json(track) for track in movers]
    if camera is not None:
        regions = find_resting_regions(frames.clip, camera, movers)
        value["resting"] = [track_to_json(track) for track in regions]
    return value


def _run_depth(task: WindowTask, frames: _Frames) -> dict[str, Any]:
    from .depth_stage import find_depth

    with as_clip_errors():
        return find_depth(task.record, task.video.imported, task.settings.depth, lambda: frames.clip.frames)


def _run_facts(task: WindowTask, frames: _Frames) -> dict[str, Any]:
    from ..questions.clip_questions import list_candidates
    from ..questions.future_facts import future_facts
    from ..questions.spatial_facts import spatial_facts

    record, known = task.record, _knows_movers(task)
    facts = {
        "camera": _camera_facts(record),
        "objects": _object_facts(record) if known else [],
        "space": spatial_facts(record),
        "future": future_facts(record) if known else [],
    }
    value: dict[str, Any] = {"facts": facts}
    if not list_candidates(facts):
        reason = f"camera: {_describe_camera(task)}; objects: {describe_objects(task)}"
        faults = [task.results[stage].fault for stage in ("poses", "objects")]
        remedy = ", or ".join(fault.remedy for fault in faults if fault is not None)
        value["fault"] = ClipError(
            "unclear", reason, remedy or "give a clip with one clear motion of the camera or of an object"
        )
    return value


def _knows_movers(task: WindowTask) -> bool:
    """Whether what was found moves: flow shows what is nearer too, unless the camera is known to stand or turn."""
    return task.settings.objects != "flow" or task.record.camera is not None


def _describe_camera(task: WindowTask) -> str:
    """What is known of the camera, with numbers, where it is not enough for a question."""
    from ..geometry.camera_motion import camera_strengths

    fault, camera = task.results["poses"].fault, task.record.camera
    if fault is not None:
        return fault.reason
    if camera is None or camera.registered.sum() < 2:
        return "no poses"
    strengths = camera_strengths(camera.camera_to_world[camera.registered], scene_depth=camera.scene_depth or 1.0)
    strong = ", ".join(f"{label} {degrees:.1f}" for label, degrees in strengths.items() if degrees >= _SHOWN_DEGREES)
    moves = POSE_KIND_WORDS[camera.kind]
    return f"it {moves}, in no way clear enough for a question (in degrees: {strong or 'all weak'})"


def describe_objects(task: WindowTask) -> str:
    """What is known of the objects, where it is not enough for a question."""
    fault, objects = task.results["objects"].fault, task.record.objects
    if fault is not None:
        return fault.reason
    if objects and not _knows_movers(task):
        return f"{len(objects)} found that may stand still, nearer to the camera"
    if objects:
        return f"{len(objects)} found, without a clear motion"
    masks = mask_folder(task.video.path)
    if task.settings.objects == "files" and task.video.imported is None and not masks.is_dir():
        return f"no masks, which would lie in {masks.name} as 00000.png and so on, one for each frame of the video"
    return "nothing moves"


_RUN: Mapping[str, Callable[[WindowTask, _Frames], dict[str, Any]]] = {
    "poses": _run_poses,
    "objects": _run_objects,
    "depth": _run_depth,
    "facts": _run_facts,
}


def _camera_facts(record: ClipRecord) -> list[dict[str, Any]]:
    from ..geometry.camera_facts import camera_facts

    if record.camera is None:
        return []
    facts = []
    for fact in camera_facts(record.camera, record.window.timestamps):
        start, end = fact.span
        span = [start, end] if fact.cut is None else [start, fact.cut, end]
        facts.append({"span": span, "parts": [list(part) for part in fact.parts], "numbers": fact.numbers})
    return facts


def _object_facts(record: ClipRecord) -> list[dict[str, Any]]:
    from ..geometry.object_facts import object_facts

    return [
        {"object": number, **asdict(fact)}
        for number, track in enumerate(record.objects or ())
        for fact in object_facts(track, record.camera, record.window.timestamps, record.size, track.depths)
    ]

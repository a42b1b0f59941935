"""Every clip of a build through the stages, in worker processes, going on from what is on disk."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...modeling.progress import Progress
from ..layouts.source import AUTO, find_imported, trajectory_clip
from ..questions.clip_questions import Candidate, list_candidates
from ..sources.video_files import file_state, find_videos, path_text, safe_names
from .record_json import window_from_json, window_name
from .settings import WINDOW_STAGES, BuildSettings
from .stage_files import Fault, StageFiles, StageResult
from .stage_tasks import ShotsTask, Video, WindowTask, describe_objects
from .worker_pool import Death, Ended, Made, WorkerPool

# What may have been the machine's fault: tried again by later builds, so often in all.
_RETRIED, _MAX_ATTEMPTS = ("crashed", "timeout", "memory", "failed"), 3
_REMEDIES = {
    "crashed": "convert the video, for example with ffmpeg, or leave it out",
    "timeout": "run the same command again when the machine is less busy, raise --time-limit, or cut the video",
    "memory": "scale the video down, or leave it out",
    "failed": "report this as a defect of the builder, or leave the clip out",
}
_NO_METRES = Fault(
    "depth",
    "unclear",
    "depth in metres, which the questions mllm4d and dsr take, is not known",
    "guess it with --depth MODEL where the clip comes without depth, or ask --questions camera,object",
)


@dataclass
class ClipOutcome:
    """How a window, or a video without windows, ended.

    Attributes:
        clip (`str`): Its name.
        source (`str`): The video.
        candidates (`list[Candidate]`): What could be asked about it.
        questions (`int`): How much of it is asked.
        fault ([`Fault`], *optional*): Why that is nothing.
        agreement (`tuple[int, int]`): Spans with labels that came along, and how many have the same by geometry.
    """

    clip: str
    source: str
    candidates: list[Candidate] = field(default_factory=list)
    questions: int = 0
    fault: Fault | None = None
    agreement: tuple[int, int] = (0, 0)


@dataclass
class VideoOutcome:
    """How a video ended: its clips in order, and what tells copies of it."""

    video: Video
    content: str = ""
    clips: list[ClipOutcome] = field(default_factory=list)
    waiting: int = 1  # tasks without an end yet

    @property
    def is_askable(self) -> bool:
        """Whether something could be asked about one of its clips."""
        return any(clip.candidates for clip in self.clips)

    @property
    def asked(self) -> Iterator[tuple[int, ClipOutcome]]:
        """Its clips that have questions, with their numbers."""
        return ((number, clip) for number, clip in enumerate(self.clips) if clip.questions)


def list_videos(source: Path, layout: str = AUTO, fps: float | None = None) -> list[Video]:
    """The videos under a folder, and the clips in other layouts, in the order of their names.

    Args:
        source (`Path`): A folder or one file.
        layout (`str`, *optional*, defaults to `"auto"`): Which of `layouts.source.FORMATS`; with another than `auto`
            clips outside that layout are left out.
        fps (`float`, *optional*): Pictures a second of layouts without times.

    Raises:
        InputError: If there is none.
    """
    imported = {clip.video: clip for clip in find_imported(source, layout, fps)}
    paths = list(imported)
    if layout == AUTO:
        roots = {clip.root for clip in imported.values()}
        videos = find_videos(source) if not imported else find_videos(source, required=False)
        plain = [path for path in videos if path not in imported and not roots & set(path.parents)]
        imported |= {path: clip for path in plain if (clip := trajectory_clip(path)) is not None}
        paths = sorted({*plain, *imported})
    relative = [path.relative_to(source) if path != source else Path(path.name) for path in paths]
    names = safe_names(relative)
    return [
        Video(path, path_text(below), name, file_state(path), imported.get(path))
        for path, below, name in zip(paths, relative, names, strict=True)
    ]


class StageRunner:
    """Runs the stages of all clips and keeps their results.

    Args:
        files ([`StageFiles`]): Where results are kept.
        settings ([`BuildSettings`]): What a user set.
        last_stage (`str`): Where to end.
        clips (`int`, *optional*): Stop after this number of videos about which something can be asked.
    """

    def __init__(self, files: StageFiles, settings: BuildSettings, last_stage: str, clips: int | None = None):
        self._files, self._settings, self._last_stage, self._clips = files, settings, last_stage, clips
        self._outcomes: dict[str, VideoOutcome] = {}
        self._ready: deque[WindowTask] = deque()
        self._running: dict[int, ShotsTask | WindowTask] = {}
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._given = 0

    def run(self, videos: Sequence[Video], pool: WorkerPool) -> list[VideoOutcome]:
        """Bring every video to the last stage.

        Returns:
            `list[VideoOutcome]`: In the order of the videos, up to the last one that was wanted.
        """
        waiting = deque(videos)
        with Progress("videos", len(videos)) as progress:
            for event in pool.run(lambda: self._next_task(waiting)):
                if isinstance(event, Made):
                    self._keep(self._running[event.task], *event.value)
                elif isinstance(event, Ended):
                    self._end(self._running.pop(event.task), event.death)
                progress.reach(sum(not outcome.waiting for outcome in self._outcomes.values()))
        return self._wanted(videos)

    def _next_task(self, waiting: deque[Video]) -> tuple[int, Any] | None:
        while True:
            if self._ready:
                return self._start(self._ready.popleft())
            if not waiting or self._enough():
                return None
            video = waiting.popleft()
            self._outcomes[video.name] = VideoOutcome(video)
            task = ShotsTask(video, self._settings)
            shots = self._load(task.folder, "shots")
            if shots is None or shots.key != task.key():
                return self._start(task)
            licence = video.licence(self._settings)
            if shots.value is not None and shots.value["licence"] != licence:
                shots = replace(shots, value={**shots.value, "licence": licence})
                self._files.write(task.folder, "shots", shots)
            self._take_windows(video, shots)

    def _start(self, task: ShotsTask | WindowTask) -> tuple[int, Any]:
        self._given += 1
        self._running[self._given] = task
        return self._given, task

    def _enough(self) -> bool:
        return self._clips is not None and sum(o.is_askable for o in self._outcomes.values()) >= self._clips

    def _wanted(self, videos: Sequence[Video]) -> list[VideoOutcome]:
        """Outcomes up to the last video that was asked for: workers may have gone on to later ones."""
        kept, askable = [], 0
        for video in videos:
            if video.name not in self._outcomes or (self._clips is not None and askable == self._clips):
                break
            kept.append(self._outcomes[video.name])
            askable += kept[-1].is_askable
        return kept

    def _load(self, folder: str, stage: str) -> StageResult | None:
        """A stored result; nothing if it failed in a way that another try may mend."""
        result = self._files.read(folder, stage)
        if result is not None and result.fault is not None and result.fault.code in _RETRIED:
            self._attempts[folder, stage] = result.attempts
            if result.attempts < _MAX_ATTEMPTS:
                return None
        return result

    def _keep(self, task: ShotsTask | WindowTask, stage: str, result: StageResult) -> None:
        """Write a result, and remove those of later stages that were made from another one."""
        before = self._files.read(task.folder, stage)
        if before is None or before.digest != result.digest:
            self._files.remove_later(task.folder, stage, before, result)
        self._files.write(task.folder, stage, result)
        if isinstance(task, WindowTask):
            task.results[stage] = result
        else:
            self._take_windows(task.video, result)

    def _end(self, task: ShotsTask | WindowTask, death: Death | None) -> None:
        if death is not None and not self._is_done(task):
            begun = "shots" if isinstance(task, ShotsTask) else task.next_stage() or WINDOW_STAGES[0]
            stage = death.step or begun
            fault = Fault(stage, death.code, death.reason, _REMEDIES[death.code])
            attempts = self._attempts[task.folder, stage] + 1
            self._keep(task, stage, StageResult(task.key(stage), None, fault, attempts))
        if isinstance(task, WindowTask):
            if task.next_stage() is not None:  # a later stage may do without the one that failed
                self._ready.append(task)
            else:
                self._settle(task)

    def _is_done(self, task: ShotsTask | WindowTask) -> bool:
        """Whether all results of a task are there: its worker may die after that."""
        if isinstance(task, WindowTask):
            return task.next_stage() is None
        return bool(self._outcomes[task.video.name].clips)

    def _take_windows(self, video: Video, shots: StageResult) -> None:
        """Queue the windows of a video whose shots are known."""
        outcome = self._outcomes[video.name]
        outcome.waiting -= 1
        if shots.value is None:
            outcome.clips = [ClipOutcome(video.name, video.source, fault=shots.fault)]
            return
        outcome.content = shots.value["content"]
        for number, value in enumerate(shots.value["windows"]):
            outcome.clips.append(ClipOutcome(window_name(video.name, number), video.source))
            if self._last_stage == "shots":
                continue
            outcome.waiting += 1
            window, licence = window_from_json(value), shots.value["licence"]
            task = WindowTask(video, number, licence, window, self._settings, self._last_stage)
            self._load_results(task)
            if task.next_stage() is None:
                self._settle(task)
            else:
                self._ready.append(task)

    def _load_results(self, task: WindowTask) -> None:
        """Take the stored results that are up to date, from the first stage on."""
        while (stage := task.next_stage()) is not None:
            result = self._load(task.folder, stage)
            if result is None or result.key != task.key(stage):
                return
            task.results[stage] = result

    def _settle(self, task: WindowTask) -> None:
        """Note what became of a window, and forget its results, which are on disk."""
        outcome = self._outcomes[task.video.name]
        outcome.waiting -= 1
        clip = outcome.clips[task.number]
        facts, poses = task.results.get("facts"), task.results.get("poses")
        clip.agreement = tuple(((poses and poses.value) or {}).get("instructions", (0, 0)))
        known = (facts.value or {}).get("facts", {}) if facts is not None else {}
        clip.candidates = list_candidates(known, self._settings.questions)
        if facts is None:  # an earlier stage was asked for, which may leave open what can be asked
            clip.fault = task.fault
        else:
            clip.fault = None if clip.candidates else self._explain(task)
        task.results.clear()

    def _explain(self, task: WindowTask) -> Fault:
        """Why nothing can be asked; what else is unclear is no reason where only places in space are asked about."""
        fault, record = task.fault, task.record
        asked = set(self._settings.questions)
        space_alone = asked <= {"mllm4d", "dsr"}
        found = "depth" in task.results and record.camera is not None
        unknown = found and (record.depth is None or not record.depth.metric)
        if space_alone and unknown and (fault is None or (fault.code == "unclear" and fault.stage != "depth")):
            return _NO_METRES
        if fault is not None:
            return fault
        objects = "" if "camera" in asked else f" (objects: {describe_objects(task)})"
        reason = f"nothing clear that --questions asks about{objects}"
        return Fault("facts", "unclear", reason, "ask about more with --questions")

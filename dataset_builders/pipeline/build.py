"""Build a dataset from video files: every clip through every stage, then the rows."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from ..questions.clip_questions import Candidate, list_candidates
from ..sources.video_files import file_state, find_videos, safe_names
from .record_json import window_from_json, window_name
from .settings import STAGES, WINDOW_STAGES, BuildSettings, stage_key
from .stage_files import Fault, StageFiles, StageResult
from .stages import WindowTask, find_shots, run_window
from .worker_pool import Death, Ended, Made, WorkerPool

TIME_LIMIT = 120.0  # seconds a clip and stage
MEMORY_LIMIT = 4 * 2**30  # bytes a worker
# What may have been the machine's fault: tried again by later builds, so often in all.
_RETRIED, _MAX_ATTEMPTS = ("crashed", "timeout", "memory", "failed"), 3
_REMEDIES = {
    "crashed": "convert the video, for example with ffmpeg, or leave it out",
    "timeout": "raise --time-limit, or cut the video",
    "memory": "scale the video down, or leave it out",
    "failed": "report this as a defect of the builder, or leave the clip out",
}


class Video(NamedTuple):
    """A video file of a build: where it is, what it is called under the source and in ids, and its state."""

    path: Path
    source: str
    name: str
    file: dict[str, int]


@dataclass
class ClipOutcome:
    """How a window, or a video without windows, ended.

    Attributes:
        clip (`str`): Its name.
        source (`str`): The video.
        candidates (`list[Candidate]`): What could be asked about it.
        fault ([`Fault`], *optional*): Why that is nothing.
    """

    clip: str
    source: str
    candidates: list[Candidate] = field(default_factory=list)
    fault: Fault | None = None


@dataclass
class VideoOutcome:
    """How a video ended: its clips in order, and what tells copies of it apart."""

    video: Video
    content: str = ""
    clips: list[ClipOutcome] = field(default_factory=list)
    waiting: int = 0  # windows without an outcome yet

    @property
    def gives_questions(self) -> bool:
        """Whether anything can be asked about one of its clips."""
        return any(clip.candidates for clip in self.clips)


def list_videos(source: Path) -> list[Video]:
    """The videos under a folder, in the order of their names.

    Raises:
        InputError: If there is none.
    """
    paths = find_videos(source)
    relative = [path.relative_to(source) if path != source else Path(path.name) for path in paths]
    names = safe_names(relative)
    return [
        Video(path, below.as_posix(), name, file_state(path))
        for path, below, name in zip(paths, relative, names, strict=True)
    ]


class StageRunner:
    """Runs the stages of all clips in worker processes and keeps their results.

    Args:
        files ([`StageFiles`]): Where results are kept.
        settings ([`BuildSettings`]): What a user set.
        last_stage (`str`): Where to end.
        clips (`int`, *optional*): Stop after so many videos that gave questions.
    """

    def __init__(
        self, files: StageFiles, settings: BuildSettings, last_stage: str = STAGES[-1], clips: int | None = None
    ):
        self._files, self._settings, self._last_stage, self._clips = files, settings, last_stage, clips
        self._outcomes: dict[str, VideoOutcome] = {}
        self._ready: deque[WindowTask] = deque()
        self._running: dict[int, Video | WindowTask] = {}
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._given = 0

    def run(self, videos: Sequence[Video], pool: WorkerPool) -> list[VideoOutcome]:
        """Bring every video to the last stage.

        Returns:
            `list[VideoOutcome]`: In the order of the videos, up to the last one that was wanted.
        """
        waiting = deque(videos)
        with tqdm(total=len(videos), desc="videos", unit="video", disable=None) as bar:
            for event in pool.run(lambda: self._next_task(waiting)):
                if isinstance(event, Made):
                    self._keep(self._running[event.task], *event.value)
                elif isinstance(event, Ended):
                    self._end(self._running.pop(event.task), event.death)
                bar.update(self._finished() - bar.n)
        return self._wanted(videos)

    def _next_task(self, waiting: deque[Video]) -> tuple[int, Any] | None:
        while True:
            if self._ready:
                return self._start(self._ready.popleft())
            if not waiting or self._enough():
                return None
            video = waiting.popleft()
            self._outcomes[video.name] = VideoOutcome(video)
            shots = self._load(video.name, "shots")
            if shots is None or shots.key != self._shots_key(video):
                return self._start(video)
            self._take_windows(video, shots)

    def _start(self, task: Video | WindowTask) -> tuple[int, Any]:
        self._given += 1
        self._running[self._given] = task
        return self._given, (task, self._settings, self._last_stage)

    def _finished(self) -> int:
        return sum(not outcome.waiting for outcome in self._outcomes.values()) - sum(
            isinstance(task, Video) for task in self._running.values()
        )

    def _enough(self) -> bool:
        return self._clips is not None and sum(o.gives_questions for o in self._outcomes.values()) >= self._clips

    def _wanted(self, videos: Sequence[Video]) -> list[VideoOutcome]:
        """Outcomes up to the last video that was asked for: workers may have gone on to later ones."""
        wanted, giving = [], 0
        for video in videos:
            if video.name not in self._outcomes or (self._clips is not None and giving == self._clips):
                break
            wanted.append(self._outcomes[video.name])
            giving += wanted[-1].gives_questions
        return wanted

    def _load(self, clip: str, stage: str) -> StageResult | None:
        """A stored result; nothing if it failed in a way that another try may mend."""
        result = self._files.read(clip, stage)
        if result is not None and result.fault is not None and result.fault.code in _RETRIED:
            self._attempts[clip, stage] = result.attempts
            if result.attempts < _MAX_ATTEMPTS:
                return None
        return result

    def _shots_key(self, video: Video) -> str:
        return stage_key("shots", self._settings, {"source": video.source, "file": video.file}, {})

    def _keep(self, task: Video | WindowTask, stage: str, result: StageResult) -> None:
        if isinstance(task, Video):
            result = StageResult(self._shots_key(task), result.value, result.fault)
            self._files.write(task.name, stage, result)
            self._take_windows(task, result)
        else:
            self._files.write(_folder(task), stage, result)
            task.results[stage] = result

    def _end(self, task: Video | WindowTask, death: Death | None) -> None:
        if death is not None:
            stage = "shots" if isinstance(task, Video) else death.step or WINDOW_STAGES[0]
            clip = task.name if isinstance(task, Video) else _folder(task)
            key = self._shots_key(task) if isinstance(task, Video) else task.key(stage, self._settings)
            fault = Fault(stage, death.code, death.reason, _REMEDIES[death.code])
            result = StageResult(key, None, fault, self._attempts[clip, stage] + 1)
            self._keep_death(task, clip, stage, result)
        if isinstance(task, WindowTask):
            self._settle(task)

    def _keep_death(self, task: Video | WindowTask, clip: str, stage: str, result: StageResult) -> None:
        self._files.write(clip, stage, result)
        if isinstance(task, Video):
            self._take_windows(task, result)
        else:
            task.results[stage] = result

    def _take_windows(self, video: Video, shots: StageResult) -> None:
        """Queue the windows of a video whose shots are known."""
        outcome = self._outcomes[video.name]
        if shots.value is None:
            outcome.clips = [ClipOutcome(video.name, video.source, fault=shots.fault)]
            return
        outcome.content = shots.value["content"]
        for number, window in enumerate(shots.value["windows"]):
            task = WindowTask(
                window_name(video.name, number),
                video.path,
                video.source,
                shots.value["licence"],
                video.file,
                window_from_json(window),
            )
            outcome.clips.append(ClipOutcome(task.clip, video.source))
            if self._last_stage == "shots":
                continue
            outcome.waiting += 1
            self._load_results(task)
            if task.next_stage(self._settings, self._last_stage) is None:
                self._settle(task)
            else:
                self._ready.append(task)

    def _load_results(self, task: WindowTask) -> None:
        """Take the stored results that are up to date, from the first stage on."""
        while (stage := task.next_stage(self._settings, self._last_stage)) is not None:
            result = self._load(_folder(task), stage)
            if result is None or result.key != task.key(stage, self._settings):
                return
            task.results[stage] = result

    def _settle(self, task: WindowTask) -> None:
        """Note what became of a window, and forget its results, which are on disk."""
        video, _, number = task.clip.rpartition("-")
        outcome = self._outcomes[video]
        outcome.waiting -= 1
        facts = task.results.get("facts")
        clip = outcome.clips[int(number)]
        clip.candidates = list_candidates((facts.value or {}).get("facts", {}) if facts is not None else {})
        clip.fault = None if clip.candidates else task.fault
        task.results.clear()


def work_on_stages(given: tuple, report: Any) -> None:
    """What a worker does with a task of [`StageRunner`]."""
    task, settings, last_stage = given
    if isinstance(task, WindowTask):
        run_window(task, settings, last_stage, lambda stage, result: _report(report, stage, result))
        return
    from ..clip_error import ClipError

    report("shots")
    try:
        value, fault = find_shots(task.path, task.source, settings), None
    except ClipError as error:
        value, fault = None, Fault.of(error, "shots")
    report(None, ("shots", StageResult("", value, fault)))


def _report(report: Any, stage: str, result: StageResult | None) -> None:
    if result is None:
        report(stage)
    else:
        report(None, (stage, result))


def _folder(task: WindowTask) -> str:
    video, _, number = task.clip.rpartition("-")
    return f"{video}/{number}"

"""One clip of a build with its frames and questions."""

import difflib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...modeling.errors import InputError
from ..clip_error import ClipError
from ..clip_record import ClipRecord, Window
from ..pipeline.record_json import clip_folder
from ..pipeline.settings import WINDOW_STAGES
from ..pipeline.stage_files import FOLDER, Fault, StageFiles, is_build_folder
from ..pipeline.stage_runner import list_videos
from ..pipeline.stage_tasks import read_frames
from ..pipeline.worker_pool import Ended, Made, WorkerPool
from ..preview.build_output import iter_clips, load_clip

if TYPE_CHECKING:
    from ...modeling.clip import Clip


@dataclass
class BuiltClip:
    """A clip of a build.

    Attributes:
        record ([`ClipRecord`]): What the stages have found.
        frames ([`Clip`]): Its frames.
        questions (`list[dict]`): What is asked about it.
        faults (`list[Fault]`): Why a stage has less of it than it could.
        number, count (`int`): Which of the build's clips it is, from 1.
    """

    record: ClipRecord
    frames: "Clip"
    questions: list[dict[str, Any]]
    faults: list[Fault]
    number: int
    count: int


def open_clip(output: Path, name: str | None, source: Path | None = None) -> BuiltClip:
    """Read a clip of a build and decode its frames.

    Args:
        output (`Path`): The folder of the build.
        name (`str`, *optional*): The clip; by default the first with questions, or the first of all.
        source (`Path`, *optional*): Where the videos are; by default where the build has read them.

    Raises:
        InputError: If there is no such build, clip or video, or if the video cannot be read.
    """
    if not is_build_folder(output):
        raise InputError(f"{output} holds no build from videos: name the --output folder of such a `build-data`")
    clips = {clip: clip_folder(video, number) for clip, video, number in iter_clips(output)}
    files = StageFiles(output)
    if not clips:
        raise InputError(f"{output} has no clips: go on with its build")
    if name is None:
        name = next((clip for clip, folder in clips.items() if _read_questions(files, folder)), next(iter(clips)))
    if name not in clips:
        close = difflib.get_close_matches(name, clips, n=1, cutoff=0) or list(clips)[:1]
        raise InputError(f"{output} has no clip {name!r}; did you mean {close[0]}? ({len(clips)} in all)")
    record = load_clip(output, name)
    assert record is not None
    frames = _decode(_find_video(output, record, source), record)
    if record.size == (0, 0):  # no stage after the first has seen it
        record.size = frames.frames[0].size
    number = list(clips).index(name) + 1
    results = [files.read(clips[name], stage) for stage in WINDOW_STAGES]
    faults = [result.fault for result in results if result is not None and result.fault is not None]
    return BuiltClip(record, frames, _read_questions(files, clips[name]), faults, number, len(clips))


def _read_questions(files: StageFiles, folder: str) -> list[dict[str, Any]]:
    stored = files.read(folder, "questions")
    return (stored and stored.value or {}).get("questions", [])


def _find_video(output: Path, record: ClipRecord, source: Path | None) -> Path:
    if source is None:
        source = Path(json.loads((output / FOLDER / "build.json").read_text(encoding="utf-8"))["source"])
    video = source if source.is_file() else source / record.source
    if not video.exists() and source.is_dir():  # its name may be no text
        with suppress(InputError):  # there is no video at all
            video = next((found.path for found in list_videos(source) if found.source == record.source), video)
    if not video.exists():
        raise InputError(f"{video} is not there: say with --source where the videos are now")
    return video


@dataclass(frozen=True)
class _FramesTask:
    """Decode a window in a worker process, which the video may crash."""

    video: Path
    window: Window

    def run(self, report: Callable[..., None]) -> None:
        report("frames")
        try:
            report(None, read_frames(self.video, self.window))
        except ClipError as error:
            report(None, error)


def _decode(video: Path, record: ClipRecord) -> "Clip":
    tasks = iter([(0, _FramesTask(video, record.window))])
    with WorkerPool(1) as pool:
        for event in pool.run(lambda: next(tasks, None)):
            if isinstance(event, Made):
                made = event.value
            elif isinstance(event, Ended) and event.death is not None:
                raise InputError(f"{video}: {event.death.reason}; convert it, for example with ffmpeg")
    if isinstance(made, ClipError):
        raise InputError(f"{video}: {made.reason}; {made.remedy}") from made
    return made

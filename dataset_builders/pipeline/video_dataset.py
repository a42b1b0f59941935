"""A dataset from a folder of videos: stages, rows, card and the list of clips that gave none."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ...modeling.atomic import atomic_dir, atomic_path
from ...modeling.progress import Progress
from ..fourd_cot import Written
from ..review.honour import Review
from ..review.verdicts import ReviewFile
from .derived_rows import CONFIGURATIONS, MLLM4D, MOTION, write_configurations
from .question_stage import ask_about_clips
from .ray_pool import RayPool
from .record_json import clip_folder, window_from_json
from .rows import RowTask, stream_rows
from .settings import BuildSettings, rows_key
from .stage_files import Fault, StageFiles, StageResult
from .stage_runner import StageRunner, VideoOutcome
from .stage_tasks import Video
from .worker_pool import MEMORY_LIMIT, TIME_LIMIT, WorkerPool

if TYPE_CHECKING:
    from ..writer.write_texts import WritingReport

QUARANTINE = "quarantine.jsonl"
_PACKAGES = ("cv2", "pycocotools", "pycolmap", "scenedetect", "scipy")
_WRITER_PACKAGES = ("openai", "pydantic")


@dataclass
class BuildReport:
    """What came of a build.

    Attributes:
        written ([`Written`], *optional*): The dataset's files; `None` if the build ended before rows, or has none.
        clips (`int`): Windows, and videos that have none.
        giving (`int`): How many of them gave questions.
        faults (`list[dict]`): The lines of `quarantine.jsonl`.
        agreement (`tuple[int, int]`): Spans with labels that came along, and how many have the same by geometry.
        writing ([`WritingReport`], *optional*): What a language model wrote, if one was to.
        review ([`Review`]): What people have judged, with how often it applied.
    """

    written: Written | None = None
    clips: int = 0
    giving: int = 0
    faults: list[dict] = field(default_factory=list)
    agreement: tuple[int, int] = (0, 0)
    writing: "WritingReport | None" = None
    review: Review = field(default_factory=Review)

    @property
    def counts(self) -> dict[str, int]:
        """Clips without a row, by code; the most frequent first."""
        return dict(Counter(fault["code"] for fault in self.faults).most_common())


def build_from_videos(
    source: Path,
    videos: Sequence[Video],
    output: Path,
    settings: BuildSettings,
    card: Callable[[Written, Sequence[str]], str],
    *,
    workers: int = 1,
    time_limit: float = TIME_LIMIT,
    last_stage: str = "rows",
    clips: int | None = None,
    held_out: int = 0,
    engine: str = "local",
    address: str | None = None,
) -> BuildReport:
    """Build, or go on with, a dataset of the videos under a folder.

    What an earlier call has finished with the same settings is kept. Rows do not depend on `workers` and `engine`.

    Args:
        source (`Path`): A folder of videos, or one file.
        videos (`Sequence[Video]`): What [`~stage_runner.list_videos`] finds there.
        output (`Path`): Folder of the dataset; its folder `.stages` keeps what every stage has made.
        settings ([`BuildSettings`]): What rows depend on.
        card (`Callable`): Makes the text of the `README.md` from what was written and the licences of the videos.
        workers (`int`, *optional*, defaults to 1): Processes.
        time_limit (`float`, *optional*, defaults to 120): Seconds that a clip may take in one stage.
        last_stage (`str`, *optional*, defaults to `"rows"`): Where to end.
        clips (`int`, *optional*): Stop after this number of videos that gave questions.
        held_out (`int`, *optional*, defaults to 0): Of a hundred videos about this many, with all their rows, are the
            split `test`; copies of a video under other names are in the same split.
        engine (`str`, *optional*, defaults to `"local"`): Where workers run: `local`, or `ray` for a Ray cluster.
        address (`str`, *optional*): Of the cluster, as of [`RayPool`].

    Raises:
        InputError: If another build writes there or left its files, or the disk is full.
    """
    packages = [*_PACKAGES, *(_WRITER_PACKAGES if settings.writer else ()), *(("ray",) if engine == "ray" else ())]
    for package in packages:
        _check_package(package)
    if any(video.imported.has_exr for video in videos if video.imported is not None):
        _check_package("OpenEXR")
    files = StageFiles(output)
    faults: dict[str, Fault] = {}
    written, writing = None, None
    review = Review.of(ReviewFile(output).read())
    memory = MEMORY_LIMIT + sum(model.memory for model in settings.models)
    if engine == "ray":
        needs_gpu = bool(settings.models)
        workers_of = RayPool(workers, source, time_limit, memory, address=address, needs_gpu=needs_gpu)
    else:
        workers_of = WorkerPool(workers, time_limit, memory)
    with files.locked(str(source.resolve())), workers_of as pool:
        outcomes = StageRunner(files, settings, last_stage, clips).run(videos, pool)
        if last_stage in ("questions", "rows"):
            writing = ask_about_clips(files, settings, outcomes, pool, review)
        if last_stage == "rows" and any(any(outcome.asked) for outcome in outcomes):
            splits = _split(outcomes, held_out)
            licences = _licences(splits, settings)
            written = _write(output, files, splits, pool, faults, lambda made: card(made, licences), licences)
        report = _report(outcomes, faults, written, writing)
        report.review = review
        # What a stage alone says is no word on a build that had come further.
        if last_stage == "rows" or not (output / "README.md").exists():
            _write_quarantine(output / QUARANTINE, report.faults)
    return report


def _check_package(package: str) -> None:
    if find_spec(package) is None:  # here, where it ends the build, and not once for every clip
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def _split(outcomes: Sequence[VideoOutcome], held_out: int) -> dict[str, list[VideoOutcome]]:
    splits: dict[str, list[VideoOutcome]] = {"train": [], "test": []}
    for outcome in outcomes:
        if any(outcome.asked):
            share = int(outcome.content[:8], 16) % 100 if held_out else 100
            splits["test" if share < held_out else "train"].append(outcome)
    return {split: videos for split, videos in splits.items() if videos}


def _licences(splits: dict[str, list[VideoOutcome]], settings: BuildSettings) -> list[str]:
    """Terms of the videos that gave rows, each once, `other` for those of some that are not known; empty if of all."""
    found = {outcome.video.licence(settings) for outcomes in splits.values() for outcome in outcomes}
    return sorted(licence or "other" for licence in found) if found != {None} else []


def _write(
    output: Path,
    files: StageFiles,
    splits: dict[str, list[VideoOutcome]],
    pool: WorkerPool,
    faults: dict[str, Fault],
    card: Callable[[Written], str],
    licences: list[str],
) -> Written:
    """Write the dataset unless it is there already, and remove what an earlier one has left."""
    key = rows_key([[split, list(_row_keys(files, outcomes))] for split, outcomes in splits.items()])
    stored = files.read("", "rows")
    if stored is not None and stored.key == key and stored.value is not None:
        value = dict(stored.value)
        licences_before = value.pop("licences", None)
        written = Written(**value)
        if all((output / path).is_file() for path in ["README.md", *_paths(written)]):
            _remove_others(output, written)
            if licences_before != licences:
                _write_card(output, card(written))
                files.write("", "rows", StageResult(key, {**written._asdict(), "licences": licences}))
            return written
    with atomic_dir(files.folder / "dataset") as folder:
        written = _write_rows(folder, files, splits, pool, faults)
    _place(files.folder / "dataset", output, written, card)
    if not faults:  # or the next build would not try again
        files.write("", "rows", StageResult(key, {**written._asdict(), "licences": licences}))
    return written


def _write_rows(
    folder: Path, files: StageFiles, splits: dict[str, list[VideoOutcome]], pool: WorkerPool, faults: dict[str, Fault]
) -> Written:
    """Write every configuration: the first of each sort from the videos, the others from its rows."""
    chosen = {
        name: {split: tasks for split, outcomes in splits.items() if (tasks := _row_tasks(files, outcomes, name))}
        for name in (MOTION, MLLM4D)
    }
    total = sum(len(tasks) for of_splits in chosen.values() for tasks in of_splits.values())
    with Progress("clips made into rows", total) as progress:
        counted = count(1)

        def watched(tasks: Sequence[tuple[str, RowTask]]) -> Iterator[tuple[str, RowTask]]:
            for task in tasks:
                yield task
                progress.reach(next(counted))

        made = {
            name: {split: stream_rows(watched(tasks), pool, faults) for split, tasks in of_splits.items()}
            for name, of_splits in chosen.items()
        }
        return write_configurations(made, folder)


def _row_tasks(files: StageFiles, outcomes: Sequence[VideoOutcome], name: str) -> list[tuple[str, RowTask]]:
    """Windows with the questions of a configuration: MLLM-4D's kinds have columns of their own."""
    tasks = []
    for outcome in outcomes:
        windows = files.load(outcome.video.name, "shots")["windows"]
        for number, clip in outcome.asked:
            asked = files.load(clip_folder(outcome.video.name, number), "questions")["questions"]
            chosen = [question for question in asked if ("camera_centers" in question) == (name == MLLM4D)]
            if chosen:
                tasks.append((clip.clip, RowTask(outcome.video.path, window_from_json(windows[number]), chosen)))
    return tasks


def _row_keys(files: StageFiles, outcomes: Sequence[VideoOutcome]) -> Iterator[list]:
    """What the rows of each clip depend on."""
    for outcome in outcomes:
        for number, clip in outcome.asked:
            stored_questions = files.read(clip_folder(outcome.video.name, number), "questions")
            yield [clip.clip, outcome.video.file, stored_questions and stored_questions.digest]


def _place(made: Path, output: Path, written: Written, card: Callable[[Written], str]) -> None:
    """Replace the Parquet files in the output, then write the card that names them, then remove all others.

    New files have the names of old ones. So there is no card while they are replaced: nobody reads rows of two builds,
    and the next build, finding none, starts over after one that was killed there.
    """
    (output / "README.md").unlink(missing_ok=True)
    for path in _paths(written):
        (output / path).parent.mkdir(exist_ok=True)
        os.replace(made / path, output / path)
    _write_card(output, card(written))
    _remove_others(output, written)
    shutil.rmtree(made)


def _write_card(output: Path, text: str) -> None:
    with atomic_path(output / "README.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


def _remove_others(output: Path, written: Written) -> None:
    """Remove Parquet files of earlier builds, or of one that was killed before its card was written."""
    for name in CONFIGURATIONS:
        for file in (output / name).glob("*.parquet"):
            if f"{name}/{file.name}" not in _paths(written):
                file.unlink()


def _paths(written: Written) -> list[str]:
    return [path for splits in written.files.values() for paths in splits.values() for path in paths]


def _report(
    outcomes: Sequence[VideoOutcome],
    faults: dict[str, Fault],
    written: Written | None,
    writing: "WritingReport | None",
) -> BuildReport:
    report = BuildReport(written, writing=writing)
    for outcome in outcomes:
        for clip in outcome.clips:
            report.clips += 1
            fault = faults.get(clip.clip, clip.fault)
            report.giving += fault is None and clip.questions > 0
            report.agreement = (report.agreement[0] + clip.agreement[0], report.agreement[1] + clip.agreement[1])
            if fault is not None:
                report.faults.append({"clip": clip.clip, "source": clip.source, **asdict(fault)})
    return report


def _write_quarantine(path: Path, faults: Sequence[dict]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(fault) + "\n" for fault in faults), encoding="utf-8")

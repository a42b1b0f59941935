"""Rows from records: the questions of each clip with its frames, read again from the video."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..clip_error import ClipError
from ..clip_record import Window
from ..geometry.masks import decode_mask
from ..imagery import paint_object
from .stage_files import Fault
from .stage_tasks import read_frames
from .worker_pool import Ended, Made, WorkerPool

if TYPE_CHECKING:
    from ...modeling.clip import Clip

# What a question holds beside the columns of its row.
_NO_COLUMNS = ("shown", "imagined", "size")
_AHEAD = 2  # finished clips that may wait for an earlier one, as a multiple of the workers


@dataclass(frozen=True)
class RowTask:
    """One window whose questions become rows.

    Attributes:
        path (`Path`): The video file.
        window ([`Window`]): Which part of it.
        questions (`list[dict]`): As [`ask_about_clip`] gives them.
    """

    path: Path
    window: Window
    questions: list[dict]

    def run(self, report: Callable[..., None]) -> None:
        """Make the rows."""
        report("rows")
        try:
            report(None, make_rows(read_frames(self.path, self.window), self.questions))
        except ClipError as error:
            report(None, Fault.of(error, "rows"))


def make_rows(clip: "Clip", questions: Sequence[dict]) -> list[dict]:
    """The rows of a clip, their pictures encoded as PNG.

    Args:
        clip ([`Clip`]): All frames of the window.
        questions (`Sequence[dict]`): As [`ask_about_clip`] gives them.
    """
    fitted = {
        index: clip.frames[index].resize(tuple(question["size"]), Image.Resampling.LANCZOS)
        for question in questions
        for index in _needed(question)
    }
    encoded = {index: _encode(picture) for index, picture in fitted.items()}
    rows = []
    for question in questions:
        imagined = [_imagine(fitted[one["frame"]], one["mask"]) for one in question["imagined"]]
        row = {name: value for name, value in question.items() if name not in _NO_COLUMNS}
        row["frames"] = [encoded[index] for index in question["shown"]]
        row["timestamps"] = [clip.timestamps[index] for index in question["shown"]]
        row["imagery"] = [_encode(picture) for picture, _ in imagined]
        row["imagery_timestamps"] = [clip.timestamps[one["frame"]] for one in question["imagined"]]
        row["imagery_masks"] = [_encode(mask) for _, mask in imagined]
        rows.append(row)
    return rows


def stream_rows(tasks: Iterator[tuple[str, RowTask]], pool: WorkerPool, faults: dict[str, Fault]) -> Iterator[dict]:
    """Rows of one clip after the other, made by the workers of a pool.

    Args:
        tasks (`Iterator[tuple[str, RowTask]]`): Names of clips and what to make of them.
        pool ([`WorkerPool`]): Who makes them.
        faults (`dict[str, Fault]`): Takes what went wrong, by clip.

    Yields:
        `dict`: In the order of the tasks, whatever the workers' number.
    """
    names: dict[int, str] = {}
    finished: dict[int, list[dict]] = {}
    due = 0  # the task whose rows come next

    def next_task() -> tuple[int, Any] | None:
        if len(names) >= due + _AHEAD * pool.size + 1 or (item := next(tasks, None)) is None:
            return None
        name, task = item
        names[len(names)] = name
        return len(names) - 1, task

    made: dict[int, list[dict]] = {}
    for event in pool.run(next_task):
        if isinstance(event, Made):
            if isinstance(event.value, Fault):
                faults[names[event.task]] = event.value
            else:
                made[event.task] = event.value
        elif isinstance(event, Ended):
            if event.death is not None:
                faults[names[event.task]] = Fault(
                    "rows", event.death.code, event.death.reason, "run the same command again"
                )
            finished[event.task] = made.pop(event.task, [])
        while due in finished:
            yield from finished.pop(due)
            due += 1


def _needed(question: dict) -> set[int]:
    return {*question["shown"], *(one["frame"] for one in question["imagined"])}


def _imagine(picture: Image.Image, mask: dict | None) -> tuple[Image.Image, Image.Image]:
    """The imagery of one frame and where it shows what is meant: all of it, if nothing is singled out."""
    if mask is None:
        return picture, Image.new("L", picture.size, 255)
    small = Image.fromarray(decode_mask(mask).astype(np.uint8) * 255).resize(picture.size, Image.Resampling.BOX)
    seen = np.asarray(small) >= 128
    return paint_object(np.asarray(picture), seen), Image.fromarray(seen.astype(np.uint8) * 255)


def _encode(picture: Image.Image) -> dict[str, Any]:
    """A picture as `datasets` stores it."""
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}

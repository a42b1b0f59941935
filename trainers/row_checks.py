"""Rows looked through before the first step, so that a bad one does not end a run in the middle."""

import functools
import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..modeling.errors import InputError
from ..modeling.tokens import IMAGERY_MARK

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

logger = logging.getLogger(__name__)

ON_BAD_ROW = ("stop", "skip")
_ROWS_AT_ONCE = 1000
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_PICTURES = ("frames", "imagery", "imagery_masks")
_VIDEO = "video"


def usable_rows(rows: "Dataset", on_bad_row: str = "stop") -> "Dataset":
    """The rows that can be trained on.

    A row of a `dift` dataset must have as many imagery marks in its response as imagery frames, and end in its only
    answer; every picture must be there, in the row or as a file, and so must the video of a row that names one. Of a
    picture its header is read, and of a video the header and the first frame: what is no picture, no video or cut off
    that early is a bad row. Damage further in is not looked for, which would cost a decoding of everything: it stops
    the run when its row comes, in a line that names it.

    Args:
        rows (`datasets.Dataset`): Rows of `dift` or `grpo`.
        on_bad_row (`str`, *optional*, defaults to `"stop"`): `"skip"` leaves bad rows out, with a warning for each.

    Returns:
        `datasets.Dataset`: All the rows, or without the bad ones.

    Raises:
        InputError: On a bad row, unless they are skipped; if no row is left.
    """
    if on_bad_row not in ON_BAD_ROW:
        raise InputError(f"on_bad_row is {on_bad_row!r}: choose one of {', '.join(ON_BAD_ROW)}")
    bad = dict(_faults(rows))
    if not bad:
        return rows
    told = f"{len(bad)} of {len(rows)} rows cannot be trained on"
    identity = rows.with_format(None)["id"]  # as stored: reading a row may decode its video
    if on_bad_row == "stop":
        number, reason = next(iter(bad.items()))
        raise InputError(f"{told}; the first is {identity[number]}: {reason} (--on-bad-row skip leaves them out)")
    for number, reason in bad.items():
        logger.warning("row %s is left out: %s", identity[number], reason)
    if len(bad) == len(rows):
        raise InputError(f"{told}, so none is left; the warnings say why")
    logger.warning("%s and are left out", told)
    return rows.select([number for number in range(len(rows)) if number not in bad])


def _faults(rows: "Dataset") -> Iterator[tuple[int, str]]:
    """Number and reason of each bad row."""
    columns = [name for name in ("response", _VIDEO, *_PICTURES) if name in rows.column_names]
    start = 0
    for table in rows.select_columns(columns).with_format("arrow").iter(_ROWS_AT_ONCE):
        checks = [_unreadable_pictures(table, name) for name in _PICTURES if name in columns]
        checks.append(_nothing_to_see(table))
        if "response" in columns:
            checks.append(_wrong_response(table))
        for number in range(table.num_rows):
            reason = next(filter(None, (check(number) for check in checks)), None)
            if reason:
                yield start + number, reason
        start += table.num_rows


def _wrong_response(table: "pyarrow.Table") -> Callable[[int], str | None]:
    import pyarrow.compute

    responses = table["response"].to_pylist()
    imagery = pyarrow.compute.list_value_length(table["imagery"]).to_pylist()

    def check(number: int) -> str | None:
        marks, frames = responses[number].count(IMAGERY_MARK), imagery[number] or 0
        if marks != frames:
            return f"its response has {marks} {IMAGERY_MARK} marks for {frames} imagery frames"
        answers = _ANSWER.findall(responses[number])
        if len(answers) != 1 or not answers[0].strip() or not responses[number].rstrip().endswith("</answer>"):
            return "its response does not end in exactly one <answer>…</answer>"
        return None

    return check


def _nothing_to_see(table: "pyarrow.Table") -> Callable[[int], str | None]:
    import pyarrow.compute

    frames = pyarrow.compute.list_value_length(table["frames"]).to_pylist()
    videos = table[_VIDEO].to_pylist() if _VIDEO in table.column_names else [None] * table.num_rows

    def check(number: int) -> str | None:
        if frames[number]:
            return None
        return _video_fault(videos[number]) if videos[number] else "it has no frames"

    return check


@functools.lru_cache(maxsize=1)  # the rows of a video often stand together
def _video_fault(file: str) -> str | None:
    from ..dataset_builders.video import check_video

    if not os.path.isfile(file):
        return f"its video is not there: {file}"
    try:
        check_video(file)
    except InputError as error:
        return f"its video is damaged: {error}"
    return None


def _unreadable_pictures(table: "pyarrow.Table", name: str) -> Callable[[int], str | None]:
    import pyarrow.compute

    column = table[name].combine_chunks()
    lengths = pyarrow.compute.list_value_length(column).to_pylist()
    pictures: Any = pyarrow.compute.list_flatten(column)
    contents, paths = pictures.field("bytes"), pictures.field("path").to_pylist()
    ends = [0]
    for length in lengths:
        ends.append(ends[-1] + (length or 0))
    known: dict[str, str | None] = {}

    def check(number: int) -> str | None:
        for place in range(ends[number], ends[number + 1]):
            content, path = contents[place], paths[place]
            if content.is_valid:
                fault = _picture_fault(pyarrow.BufferReader(content.as_buffer()))
            elif path is None:
                fault = "is not there: neither bytes nor a file name"
            else:
                if path not in known:
                    known[path] = _picture_fault(path) if os.path.isfile(path) else f"is not there: {path}"
                fault = known[path]
            if fault:
                return f"{name} {place - ends[number] + 1} {fault}"
        return None

    return check


def _picture_fault(file: Any) -> str | None:
    from ..modeling.processing import UNREADABLE

    try:
        with Image.open(file):
            return None
    except UNREADABLE:
        return f"is no picture, or damaged: {file}" if isinstance(file, str) else "is no picture, or damaged"

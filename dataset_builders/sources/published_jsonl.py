"""Read 4DThinker's published JSONL files as rows."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset

from ...modeling.errors import InputError
from ...modeling.row_rules import MAX_OPTIONS, MIN_OPTIONS, answer_fault
from ...modeling.text_files import json_object, text_lines
from ...modeling.tokens import OPTION_LETTERS
from ..loading import VIDEO_COLUMN, decode_frames_when_read
from .file_rows import FEATURES, FileRoot, collect_rows, default_timestamps


def read_published(path: Path, configuration: str, root: Path | None = None, on_bad_row: str = "stop") -> Dataset:
    """Read a published file.

    Args:
        path (`Path`): For `dift` a line holds `id, text_input, text_output, image_input[], image_output[]`, for `grpo`
            `Type, Question, A, B, C, D, Correct`, and `frame_paths[]` or `video_path`; the frames win over the video.
            Options may be two (`A` and `B`) to ten (`A` to `J`).
        configuration (`str`): `"dift"` or `"grpo"`.
        root (`Path`, *optional*): What relative file names start from, and the only folder from which images and
            videos are read; by default the file's folder.
        on_bad_row (`str`, *optional*, defaults to `"stop"`): `"skip"` leaves out lines that hold no such row, with a
            warning for each.

    Returns:
        `datasets.Dataset`: Columns as of `load_dataset(..., configuration)`, without `source`, `facts` and the times
        of the imagery. The images are file names, which need not exist; a frame is taken for every second. Rows of
        `grpo` have a column `video` as well: the file whose frames are decoded when the row is read, see
        [`decode_frames_when_read`], or nothing.

    Raises:
        InputError: If the file is missing or not UTF-8; if a line is no JSON, lacks a field, or names a file outside
            the root, unless it is skipped; if no row is left.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    files = FileRoot(path.parent if root is None else root)
    reader = {"dift": _dift_row, "grpo": _grpo_row}[configuration]

    def read(number: int, line: str) -> dict[str, Any]:
        where = f"{path}, line {number}"
        fields = json_object(line, where)
        return reader(fields, where if fields.get("id") is None else f"{where}, row {fields['id']}", files)

    rows = collect_rows(path, (partial(read, *numbered) for numbered in text_lines(path)), on_bad_row)
    found = Dataset.from_list(rows, features=FEATURES[configuration])
    return decode_frames_when_read(found) if configuration == "grpo" else found


def _take(fields: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    if not isinstance(fields.get(name), kind):
        expected = "list" if kind is list else "text"
        raise InputError(f"{where}: the field {name!r} is missing or no {expected}: write it")
    return fields[name]


def _images(fields: Mapping[str, Any], field: str, where: str, files: FileRoot) -> list[dict]:
    return files.images(_take(fields, field, list, where), field, where)


def _clip(frames: Sequence[dict]) -> dict:
    return {"frames": frames, "timestamps": default_timestamps(len(frames))}


def _dift_row(fields: Mapping[str, Any], where: str, files: FileRoot) -> dict:
    return {
        "id": str(fields.get("id", where)),
        "task": "",
        # The question already lists the options.
        "question": _take(fields, "text_input", str, where),
        "options": [],
        "answer": "",
        **_clip(_images(fields, "image_input", where, files)),
        "response": _take(fields, "text_output", str, where),
        "imagery": _images(fields, "image_output", where, files),
        VIDEO_COLUMN: None,
    }


def _grpo_row(fields: Mapping[str, Any], where: str, files: FileRoot) -> dict:
    frames, video = _frames_or_video(fields, where, files)
    options = _options(fields, where)
    answer = _take(fields, "Correct", str, where).strip().upper()
    if fault := answer_fault(answer, options):
        raise InputError(f"{where}: the field 'Correct' is {answer!r}: {fault}")
    return {
        "id": str(fields.get("id", where)),
        "task": str(fields.get("Type", "")),
        "question": _take(fields, "Question", str, where),
        "options": options,
        "answer": answer,
        **_clip(frames),
        VIDEO_COLUMN: video,
    }


def _options(fields: Mapping[str, Any], where: str) -> list[str]:
    """The texts of A, B and as many of the next letters as are given."""
    filled = [number for number, letter in enumerate(OPTION_LETTERS, start=1) if fields.get(letter) is not None]
    letters = OPTION_LETTERS[: max([MIN_OPTIONS, *filled])]
    if isinstance(fields.get("K"), str) and len(letters) == MAX_OPTIONS:
        raise InputError(f"{where}: there is an option K: give {MAX_OPTIONS} options at most")
    return [_take(fields, letter, str, where) for letter in letters]


def _frames_or_video(fields: Mapping[str, Any], where: str, files: FileRoot) -> tuple[list[dict], str | None]:
    if fields.get("frame_paths"):
        return _images(fields, "frame_paths", where, files), None
    if fields.get("video_path"):
        return [], files.file(_take(fields, "video_path", str, where), "video_path", where)
    raise InputError(f"{where}: neither 'frame_paths' nor 'video_path' is given: name one")

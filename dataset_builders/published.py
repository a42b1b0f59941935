"""The published JSONL files of 4DThinker, read as the rows that everything else here takes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, List, Value

from ..modeling.errors import InputError
from ..modeling.processing import FRAMES_PER_SECOND
from ..modeling.tokens import OPTION_LETTERS
from .video_rows import VIDEO_COLUMN, with_video_frames

_PROMPT = {
    "id": Value("string"),
    "task": Value("string"),
    "question": Value("string"),
    "options": List(Value("string")),
    "answer": Value("string"),
    "frames": List(Image(decode=False)),
    "timestamps": List(Value("float64")),
}
_FEATURES = {
    "dift": Features({**_PROMPT, "response": Value("string"), "imagery": List(Image(decode=False))}),
    "grpo": Features({**_PROMPT, VIDEO_COLUMN: Value("string")}),
}


def read_published(path: Path, configuration: str, root: Path | None = None) -> Dataset:
    """Read a published file.

    Args:
        path (`Path`): For `dift` a line holds `id, text_input, text_output, image_input[], image_output[]`, for `grpo`
            `Type, Question, A, B, C, D, Correct`, and `frame_paths[]` or `video_path`; the frames win over the video.
        configuration (`str`): `"dift"` or `"grpo"`.
        root (`Path`, *optional*): What relative file names start from; by default the file's folder.

    Returns:
        `datasets.Dataset`: Columns as of `load_dataset(..., configuration)`, without `source`, `facts` and the times
        of the imagery. The pictures are file names, which need not exist; a frame is taken for every second. Rows of
        `grpo` have a column `video` as well: the file whose frames are decoded when the row is read, see
        [`with_video_frames`], or nothing.

    Raises:
        InputError: If the file is missing, or a line is no JSON or lacks a field.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    folder = path.parent if root is None else root
    reader = {"dift": _dift_row, "grpo": _grpo_row}[configuration]
    rows = [reader(fields, where, folder) for fields, where in _lines(path)]
    if not rows:
        raise InputError(f"{path} has no rows")
    found = Dataset.from_list(rows, features=_FEATURES[configuration])
    return with_video_frames(found) if configuration == "grpo" else found


def _lines(path: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                fields = json.loads(line)
            except ValueError as error:
                raise InputError(f"{where}: this is no JSON ({error})") from error
            if not isinstance(fields, dict):
                raise InputError(f"{where}: this is no JSON object")
            yield fields, where


def _take(fields: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    if not isinstance(fields.get(name), kind):
        raise InputError(f"{where}: the field {name!r} is missing or no {'list' if kind is list else 'text'}")
    return fields[name]


def _pictures(names: list, folder: Path) -> list[dict]:
    return [{"bytes": None, "path": str(folder / str(name))} for name in names]


def _clip(frames: list, folder: Path) -> dict:
    return {
        "frames": _pictures(frames, folder),
        # Frames were extracted at one a second (4DThinker, preprocess); the files do not say when else.
        "timestamps": [number / FRAMES_PER_SECOND for number in range(len(frames))],
    }


def _dift_row(fields: Mapping[str, Any], where: str, folder: Path) -> dict:
    frames = _take(fields, "image_input", list, where)
    return {
        "id": str(fields.get("id", where)),
        "task": "",
        # The options stand in the question already.
        "question": _take(fields, "text_input", str, where),
        "options": [],
        "answer": "",
        **_clip(frames, folder),
        "response": _take(fields, "text_output", str, where),
        "imagery": _pictures(_take(fields, "image_output", list, where), folder),
    }


def _grpo_row(fields: Mapping[str, Any], where: str, folder: Path) -> dict:
    frames, video = _frames_or_video(fields, where)
    answer = _take(fields, "Correct", str, where).strip().upper()
    if answer not in OPTION_LETTERS or len(answer) != 1:
        raise InputError(f"{where}: the field 'Correct' is {answer!r}, not one of {', '.join(OPTION_LETTERS)}")
    return {
        "id": str(fields.get("id", where)),
        "task": str(fields.get("Type", "")),
        "question": _take(fields, "Question", str, where),
        "options": [_take(fields, letter, str, where) for letter in OPTION_LETTERS],
        "answer": answer,
        **_clip(frames, folder),
        VIDEO_COLUMN: str(folder / video) if video else None,
    }


def _frames_or_video(fields: Mapping[str, Any], where: str) -> tuple[list, str]:
    if fields.get("frame_paths"):
        return _take(fields, "frame_paths", list, where), ""
    if fields.get("video_path"):
        return [], _take(fields, "video_path", str, where)
    raise InputError(f"{where}: neither 'frame_paths' nor 'video_path' is given")

"""Shared by the readers of a user's files: columns, referenced files, and default timestamps."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from datasets import Features, Image, List, Value

from ...modeling.errors import InputError
from ...modeling.processing import FRAMES_PER_SECOND
from ..loading import VIDEO_COLUMN

logger = logging.getLogger(__name__)

_PROMPT = {
    "id": Value("string"),
    "task": Value("string"),
    "question": Value("string"),
    "options": List(Value("string")),
    "answer": Value("string"),
    "frames": List(Image(decode=False)),
    "timestamps": List(Value("float64")),
    VIDEO_COLUMN: Value("string"),
}
FEATURES: dict[str, Features] = {
    "dift": Features({**_PROMPT, "response": Value("string"), "imagery": List(Image(decode=False))}),
    "grpo": Features(_PROMPT),
}


class FileRoot:
    """The folder of the files that rows name.

    A row may come from anywhere, so it must not make us read what it was not given: neither an absolute name nor `..`
    nor a link leads out of the folder.

    Args:
        folder (`Path`): What relative names start from.
    """

    def __init__(self, folder: Path):
        self.folder, self._real = folder, os.path.realpath(folder)
        self._real_folder = cache(os.path.realpath)  # many files share theirs

    def file(self, name: Any, field: str, where: str) -> str:
        """The path of a file that a row names.

        Raises:
            InputError: If it is no file name, or leads out of the folder.
        """
        if not isinstance(name, str) or not name or "\0" in name:
            raise InputError(f"{where}: {field} has {name!r:.80}, no file name: write one")
        path = self.folder / name
        reason = "has `..` in it" if ".." in Path(name).parts else None if self._holds(path) else "lies outside"
        if reason:
            raise InputError(
                f"{where}: {field} names {name!r:.200}, which {reason}: only files in {self.folder} are read; name "
                "the folder that holds them all by --image-root, without links out of it"
            )
        return str(path)

    def image(self, image: Any, field: str, where: str) -> dict[str, Any]:
        """The `{"bytes", "path"}` record of an image that a row names, or holds as such a record or as bytes.

        Raises:
            InputError: As `file` does.
        """
        content = image.get("bytes") if isinstance(image, Mapping) else image
        if isinstance(content, bytes) and content:
            return {"bytes": content, "path": None}
        name = image.get("path") if isinstance(image, Mapping) else image
        return {"bytes": None, "path": self.file(name, field, where)}

    def images(self, images: Sequence[Any], field: str, where: str) -> list[dict[str, Any]]:
        """The records of several images; an error counts them from 1."""
        return [self.image(image, f"{field} {number}", where) for number, image in enumerate(images, start=1)]

    def _holds(self, path: Path) -> bool:
        real = os.path.realpath(path) if os.path.islink(path) else self._real_folder(path.parent)
        return real == self._real or real.startswith(os.path.join(self._real, ""))


def collect_rows(path: Path, reads: Iterable[Callable[[], dict[str, Any]]], on_bad_row: str) -> list[dict[str, Any]]:
    """The rows of a file; an invalid one stops the reading or, with `on_bad_row="skip"`, is left out with a warning.

    Args:
        path (`Path`): The file, for the message.
        reads (`Iterable[Callable]`): For each record a function that gives its row, or raises `InputError`.
        on_bad_row (`str`): `"stop"` or `"skip"`.

    Raises:
        InputError: For an invalid row, or if none is left.
    """
    rows = []
    for read in reads:
        try:
            rows.append(read())
        except InputError as error:
            if on_bad_row == "stop":
                raise InputError(f"{error} (--on-bad-row skip leaves it out)") from error
            logger.warning("left out: %s", error)
    if not rows:
        raise InputError(f"{path} has no rows")
    return rows


def default_timestamps(frames: int) -> list[float]:
    """Default timestamps of frames, in seconds: extracted at one a second (4DThinker, preprocess)."""
    return [number / FRAMES_PER_SECOND for number in range(frames)]

"""Read and write files of reasoning paths: one JSON object a line, with a row's `id` and its `paths`."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...modeling.errors import InputError
from ...modeling.text_files import json_object, text_lines
from ..common.differences import describe_differences

# MLLM-4D tags reasoning by another word.
_TAGS = {"<thinking>": "<think>", "</thinking>": "</think>"}


def read_paths(path: Path, ids: Collection[str]) -> dict[str, list[str]]:
    """The paths of each row that has some.

    Args:
        path (`Path`): A line holds `id` and `paths[]`, or `path` for a single one; lines of one row add up. MLLM-4D's
            `<thinking>` is read as `<think>`.
        ids (`Collection[str]`): The rows that there are.

    Raises:
        InputError: If the file is missing, not UTF-8 or has none, or a line is no such object or of no row.
    """
    found: dict[str, list[str]] = {}
    for number, line in text_lines(path):
        where = f"{path}, line {number}"
        fields = json_object(line, where)
        texts = [fields["path"]] if "path" in fields else fields.get("paths")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{where}: 'paths' is missing or no list of texts")
        identity = fields.get("id")
        if not isinstance(identity, str) or identity not in ids:
            raise InputError(f"{where}: the dataset has no row {identity!r}")
        found.setdefault(identity, []).extend(map(convert_tags, texts))
    if not found:
        raise InputError(f"{path} has no paths")
    return found


def convert_tags(text: str) -> str:
    """Convert a path to `<think>` tags, and strip white space around it."""
    for theirs, ours in _TAGS.items():
        text = text.replace(theirs, ours)
    return text.strip()


class SampledPaths:
    """A file that sampled paths are added to, from which an interrupted run resumes.

    Args:
        path (`Path`): The file, new or of the same run. A line that an interruption tore is removed.
        settings (`Mapping[str, Any]`): What paths are sampled with, kept in each line.

    Raises:
        InputError: If the file holds paths that were sampled otherwise.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]):
        self.path, self.settings = path, dict(settings)
        self.done: set[str] = set()
        if not path.exists():
            return
        try:
            *lines, torn = path.read_bytes().split(b"\n")
        except OSError as error:
            raise InputError(f"cannot read {path} ({error.strerror}): name another --output") from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            fields = json_object(line.decode("utf-8-sig", "replace"), f"{path}, line {number}")
            self._check_settings(fields)
            self.done.add(str(fields.get("id")))
        try:
            unended = json_object(torn.decode("utf-8-sig", "replace"), str(path))
        except InputError:  # half a line
            unended = None
        if unended is not None:  # a whole one, maybe of another's file without a last line end
            self._check_settings(unended)
        os.truncate(path, path.stat().st_size - len(torn))  # not before all lines are known to be ours

    def _check_settings(self, fields: Mapping[str, Any]) -> None:
        earlier = fields.get("sampled_with")
        if earlier != self.settings:
            difference = describe_differences(earlier if isinstance(earlier, Mapping) else {}, self.settings)
            raise InputError(
                f"{self.path} holds paths that were sampled otherwise ({difference}): set that back, score them as "
                "they are with --paths, or name another --output"
            )

    def add(self, ids: Sequence[str], paths: Sequence[Sequence[str]]) -> None:
        """Write the paths of some rows at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"id": identity, "paths": list(texts), "sampled_with": self.settings}, ensure_ascii=False)
            for identity, texts in zip(ids, paths, strict=True)
        ]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
        self.done.update(ids)

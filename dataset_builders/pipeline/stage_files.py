"""The results of stages on disk, one file a stage, each written whole together with its marker."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...modeling.atomic import atomic_path, remove_leftovers
from ...modeling.errors import InputError
from ..clip_error import ClipError
from .settings import STAGES, digest

FOLDER = ".stages"
_BUILD, _LOCK = "build.json", "lock"
_FIELDS = {"key", "digest", "attempts", "fault", "value"}


@dataclass(frozen=True)
class Fault:
    """Why a stage has no result for a clip, as `quarantine.jsonl` lists it."""

    stage: str
    code: str
    reason: str
    remedy: str

    @classmethod
    def of(cls, error: ClipError, stage: str) -> "Fault":
        """The fault that an error of a stage stands for."""
        return cls(stage, error.code, error.reason, error.remedy)


@dataclass(frozen=True)
class StageResult:
    """What a stage made of a clip.

    Attributes:
        key (`str`): Hash of what it was made from ([`settings.stage_key`]).
        value (`dict`, *optional*): JSON values; `None` where there is nothing but the fault.
        fault ([`Fault`], *optional*): What went wrong.
        attempts (`int`): How often the stage ran in vain, where running it again could help.
    """

    key: str
    value: dict | None
    fault: Fault | None = None
    attempts: int = 0

    @property
    def digest(self) -> str:
        """Hash of the content, by which later stages see whether it changed."""
        return digest([self.value, None if self.fault is None else asdict(self.fault)])


class StageFiles:
    """The folder `.stages` of an output folder.

    A video has its folder with `shots.json`, and in it a folder for each window with the files of the later stages. A
    file that is torn, or was changed by hand, is taken as absent.

    Args:
        output (`Path`): The folder that `--output` names.
    """

    def __init__(self, output: Path):
        self.folder = output / FOLDER

    @contextmanager
    def locked(self, source: str) -> Iterator[None]:
        """Hold the folder for one build from `source`.

        Raises:
            InputError: If another build is writing there, or the folder belongs to another source.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / _LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise InputError(
                f"another build is writing {self.folder.parent}: wait for its end or name another --output"
            ) from None
        try:
            self._claim(source)
            # Of a build that was killed: what it had written already is not written again, and so not tidied up.
            for folder, _, _ in os.walk(self.folder):
                remove_leftovers(folder)
            yield
        finally:
            lock.release()

    def _claim(self, source: str) -> None:
        path = self.folder / _BUILD
        owner = _read_json(path)
        if not isinstance(owner, dict) or "source" not in owner:
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps({"source": source}), encoding="utf-8")
        elif owner["source"] != source:
            raise InputError(
                f"{self.folder.parent} holds a build from {owner['source']}: name that --source or another --output"
            )

    def read(self, clip: str, stage: str) -> StageResult | None:
        """The stored result, or `None`."""
        stored = _read_json(self._path(clip, stage))
        if not isinstance(stored, dict) or not _FIELDS <= stored.keys():
            return None
        if digest([stored["value"], stored["fault"]]) != stored["digest"]:
            return None
        fault = None if stored["fault"] is None else Fault(**stored["fault"])
        return StageResult(stored["key"], stored["value"], fault, stored["attempts"])

    def load(self, clip: str, stage: str) -> dict:
        """The value of a result that is known to be there.

        Raises:
            InputError: If it has gone.
        """
        result = self.read(clip, stage)
        if result is None or result.value is None:
            raise InputError(f"{self._path(clip, stage)} was changed during the build: run the same command again")
        return result.value

    def write(self, clip: str, stage: str, result: StageResult) -> None:
        """Put a result in its place; a kill leaves the old file or the new one."""
        text = json.dumps(
            {
                "key": result.key,
                "digest": result.digest,
                "attempts": result.attempts,
                "fault": None if result.fault is None else asdict(result.fault),
                "value": result.value,
            }
        )
        with atomic_path(self._path(clip, stage)) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def remove_later(self, clip: str, stage: str, before: StageResult | None, after: StageResult) -> None:
        """Remove what later stages made of a clip, when a stage gives another result than before.

        Of a video only those windows go that are other ones now.
        """
        if stage != "shots":
            for later in STAGES[STAGES.index(stage) + 1 :]:
                self._path(clip, later).unlink(missing_ok=True)
            return
        old, new = ((result and result.value or {}).get("windows", []) for result in (before, after))
        for folder in (self.folder / clip).glob("[0-9]*"):
            number = int(folder.name) if folder.name.isdecimal() else len(new)
            if old[number : number + 1] != new[number : number + 1] or number >= len(new):
                shutil.rmtree(folder, ignore_errors=True)

    def _path(self, clip: str, stage: str) -> Path:
        return self.folder / clip / f"{stage}.json"


def is_build_folder(output: Path) -> bool:
    """Whether a folder holds a build from videos, finished or not."""
    return (output / FOLDER / _BUILD).is_file()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None

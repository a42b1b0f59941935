"""Load a published model or dataset in a process of its own, and compare it with the folder.

A reader has the card and no package of ours. So the code of a model's card runs as it stands, but for a limit on how
many tokens it writes, where `fourdthinker` cannot be imported; on the folder before it is sent, and on the commit
afterwards. Of a dataset the rows are counted and the first of each split compared, loaded plainly and streamed. A
loading that does not end is ended.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import get_token

from ...modeling.atomic import scratch_dir
from ...modeling.errors import InputError, to_one_line
from .folder import LocalFolder
from .hub_access import Repository
from .preparation import model_snippet

_SKIP = "skip this by --no-check"
_SECONDS = 1800  # for one process, and beyond them what a slow disk or connection takes:
_BYTES_A_SECOND = 2_000_000
_BEFORE = """\
import json
import sys


class WithoutOurPackage:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fourdthinker":
            raise ModuleNotFoundError(name, name=name)


sys.meta_path.insert(0, WithoutOurPackage())
from transformers import GenerationMixin

written, generate = [], GenerationMixin.generate


def generate_and_note(self, *args, **kwargs):
    if kwargs.get("max_new_tokens") is not None:
        kwargs["max_new_tokens"] = min(kwargs["max_new_tokens"], 64)
    output = generate(self, *args, **kwargs)
    written.append(getattr(output, "sequences", output).tolist())
    return output


GenerationMixin.generate = generate_and_note
"""
_AFTER = """
print()
print(json.dumps(written))
"""


def read_folder(folder: LocalFolder, kind: str, seconds: float | None = None) -> Any:
    """What the folder gives here, to compare with; `None` for a Space, which only runs on the Hub.

    Args:
        folder ([`LocalFolder`]): What is to be sent.
        kind (`str`): `"model"`, `"dataset"` or `"space"`.
        seconds (`float`, *optional*): How long it may take; by default half an hour, and more for large folders.

    Raises:
        InputError: If it does not load in that time.
    """
    try:
        return _read(folder, kind, str(folder.path.absolute()), None, None, seconds)
    except _LoadingError as error:
        raise InputError(f"nothing was sent, as {folder.path} does not load ({error}): mend it, or {_SKIP}") from error


def check_loads(
    repository: Repository, folder: LocalFolder, commit: str, expected: Any, seconds: float | None = None
) -> str:
    """Load a commit as a reader would; gives a line that says what was found equal.

    Args:
        repository ([`Repository`]): Where it is.
        folder ([`LocalFolder`]): What was sent.
        commit (`str`): The revision to load.
        expected: What [`read_folder`] gave.
        seconds (`float`, *optional*): As of [`read_folder`].

    Raises:
        InputError: If it does not load, or gives something else than the folder.
    """
    start = f"{repository.name} holds the folder as commit {commit[:7]}"
    try:
        found = _read(folder, repository.kind, repository.name, commit, repository, seconds)
    except _LoadingError as error:
        line = f"{start}, but it does not load from there ({error})"
        raise InputError(f"{line}: run the same command again, or {_SKIP}") from error
    if found != expected:
        raise InputError(f"{start}, but {_difference(repository.kind, expected, found)}: do not use it")
    if repository.kind == "model":
        count = sum(len(row) for output in found for row in output)
        return f"loaded back: the card's code gives the same {count} tokens from {commit[:7]} as from the folder"
    rows = sum(split["rows"] for splits in found.values() for split in splits.values())
    return f"loaded back: the same {rows} rows from {commit[:7]}, plain and streamed"


class _LoadingError(Exception):
    """Why something does not load, in one line."""


def _read(
    folder: LocalFolder,
    kind: str,
    place: str,
    revision: str | None,
    repository: Repository | None,
    seconds: float | None,
) -> Any:
    if kind == "space":
        return None
    limit = seconds if seconds is not None else _SECONDS + folder.size / _BYTES_A_SECOND
    with scratch_dir("fourdthinker-load") as scratch:
        if kind == "dataset":
            script = Path(__file__).with_name("read_rows.py")
            return _run([str(script), place, *([revision] if revision else [])], scratch, repository, limit)
        script = scratch / "snippet.py"
        script.write_text(_BEFORE + model_snippet(folder, place, revision) + _AFTER, encoding="utf-8")
        example = Path(__file__).parents[2] / "modeling/tiny/trained/example.mp4"
        shutil.copyfile(example, scratch / "clip.mp4")
        return _run([str(script)], scratch, repository, limit)


def _run(command: list[str], scratch: Path, repository: Repository | None, limit: float) -> Any:
    """Run a script; the last line that it prints, as JSON."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", *command],
            cwd=scratch,
            env=_environment(scratch, repository),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        raise _LoadingError(f"it was ended after {limit:.0f} seconds, --check-seconds gives it more") from None
    if done.returncode:
        if "No space left on device" in done.stderr:
            raise _LoadingError("the disk is full: make room")
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise _LoadingError(to_one_line(lines[-1].strip() if lines else f"exit code {done.returncode}")[:300])
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise _LoadingError("its code ends before the last line") from None
    if not found:
        raise _LoadingError("nothing comes of it: no answer, or no rows")
    return found


def _environment(scratch: Path, repository: Repository | None) -> Mapping[str, str]:
    """Caches of its own, so that what is loaded comes from where it was published."""
    values = {"HF_HUB_CACHE": "hub", "HF_MODULES_CACHE": "modules", "HF_DATASETS_CACHE": "datasets"}
    added = {name: str(scratch / folder) for name, folder in values.items()}
    if repository is None:
        return {**os.environ, **added}
    added |= {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
    added |= {"HF_ENDPOINT": str(repository.api.endpoint)}
    token = repository.api.token if isinstance(repository.api.token, str) else get_token()
    return {**os.environ, **added, **({"HF_TOKEN": token} if token else {})}


def _difference(kind: str, expected: Any, found: Any) -> str:
    if kind == "model":
        return "the card's code gives other tokens from there than from the folder"
    for config, splits in expected.items():
        for split, rows in splits.items():
            if found.get(config, {}).get(split) != rows:
                return f"split {split} of {config} is not the same there"
    return "it has other configurations than the folder"

"""Check an output folder before a command fills it."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..modeling.atomic import check_writable, remove_leftovers
from ..modeling.errors import InputError
from ..modeling.file_names import TRAINING_LOG


def new_folder(path: str) -> Path:
    """The folder that `--output` names, which must not exist yet or be empty; beside it, leftovers are removed.

    Raises:
        InputError: If there is something in its place, or nothing can be written there.
    """
    folder = Path(path)
    _remove_leftovers_beside(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already; name a new folder for --output or remove it")
    check_writable(folder)
    return folder


def check_model_folder(folder: Path, inputs: Iterable[str]) -> None:
    """Check that a trained model may be written to a folder; one that holds an earlier model will be replaced.

    Args:
        folder (`Path`): The folder that `--output` names.
        inputs (`Iterable[str]`): What the run reads: folders, files or Hub ids.

    Raises:
        InputError: If something other than a trained model is in its place, if the run reads it, or if nothing can be
            written there.
    """
    _remove_leftovers_beside(folder)
    check_writable(folder)
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / TRAINING_LOG).is_file()):
        raise InputError(
            f"{folder} exists already and holds no model of an earlier training (no {TRAINING_LOG}); name another "
            "folder for --output"
        )
    if any(os.path.exists(one) and os.path.samefile(one, folder) for one in inputs):
        raise InputError(f"--output {folder} would replace what the run reads; name another folder")


def _remove_leftovers_beside(folder: Path) -> None:
    with suppress(OSError):  # a parent that cannot be listed: the check of the place says so
        remove_leftovers(folder.parent)

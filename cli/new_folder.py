"""The check before a command fills a folder."""

from pathlib import Path

from ..modeling.atomic import remove_leftovers
from ..modeling.errors import InputError
from .input_checks import check_output


def new_folder(path: str) -> Path:
    """The folder that `--output` names, which must not exist yet or be empty; beside it, leftovers are removed.

    Raises:
        InputError: If there is something in its place, or it cannot be made.
    """
    folder = Path(path)
    remove_leftovers(folder.parent)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already; name a new folder for --output or remove it")
    check_output(folder)
    return folder

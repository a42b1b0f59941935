"""The benchmarks by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..modeling.errors import InputError
from . import fourd_world

if TYPE_CHECKING:
    from datasets import Dataset

READERS: dict[str, Callable[[], "Dataset"]] = {"fourd_world": fourd_world.held_out_rows}


def check_task(task: str) -> str:
    """The name of a benchmark, or an error that lists them."""
    if task not in READERS:
        raise InputError(f"unknown task {task!r}: choose from {', '.join(READERS)}")
    return task


def task_rows(task: str) -> "Dataset":
    """The rows of a benchmark.

    Args:
        task (`str`): Its name, such as `"fourd_world"`.

    Raises:
        InputError: If there is no benchmark of this name, or its data cannot be read.
    """
    return READERS[check_task(task)]()

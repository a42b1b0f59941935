"""The benchmarks by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..eval_tasks import fourd_world
from ..modeling.errors import InputError
from ..modeling.row_rules import name_row, row_fault

if TYPE_CHECKING:
    from datasets import Dataset

READERS: dict[str, Callable[[], "Dataset"]] = {"fourd_world": fourd_world.held_out_rows}


def check_task(task: str) -> str:
    """The name of a benchmark, or an error that lists them."""
    if task not in READERS:
        raise InputError(
            f"unknown task {task!r}: choose from {', '.join(READERS)}; `--dataset` takes a file of your own questions"
        )
    return task


def task_rows(task: str) -> "Dataset":
    """The rows of a benchmark.

    Args:
        task (`str`): Its name, such as `"fourd_world"`.

    Raises:
        InputError: If there is no benchmark of this name, or its data cannot be read.
    """
    return READERS[check_task(task)]()


def check_rows(rows: "Dataset") -> None:
    """Check the values of rows, not their images, before any of them is answered.

    Raises:
        InputError: At the first row that cannot be asked or scored; the line names it.
    """
    for row in rows:
        fault = row_fault(row, "eval", len(row["frames"] or ()))
        with name_row(row):
            if fault:
                raise InputError(fault)

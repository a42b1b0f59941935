"""The benchmarks by name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..modeling.errors import InputError
from ..modeling.row_rules import name_row, row_fault
from .benchmark import Benchmark
from .benchmarks import dsr_bench
from .data_folder import data_remedy, find_data
from .fourd_world import FOURD_WORLD
from .videos import has_video

if TYPE_CHECKING:
    from datasets import Dataset

# To add a benchmark: import its module above, list it here, and run `python -m fourdthinker.eval_tasks.lmms`.
BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        FOURD_WORLD,
        *dsr_bench.BENCHMARKS,
    )
}


def check_task(task: str) -> str:
    """The name of a benchmark, or an error that lists them."""
    find_benchmark(task)
    return task


def find_benchmark(name: str) -> Benchmark:
    """A benchmark by its name.

    Raises:
        InputError: If there is none; the line lists them.
    """
    if name not in BENCHMARKS:
        known = ", ".join(BENCHMARKS)
        raise InputError(f"unknown task {name!r}: choose from {known}; `--dataset` takes a file of your own questions")
    return BENCHMARKS[name]


def task_rows(task: str) -> "Dataset":
    """The rows of a benchmark by its name; see `benchmark_rows`."""
    return benchmark_rows(find_benchmark(task))


def benchmark_rows(benchmark: Benchmark) -> "Dataset":
    """Find, read and check the rows of a benchmark.

    Returns:
        `Dataset`: The columns that `Benchmark.read` describes.

    Raises:
        InputError: If its data cannot be found or read, none of its videos is there, or a row about a video cannot be
            asked or scored.
    """
    from datasets import Dataset

    folder = find_data(benchmark)
    rows = benchmark.read(folder)
    if not benchmark.has_videos:
        return rows
    benchmark.check_rows(rows)
    if not any(map(has_video, rows)):
        raise InputError(
            f"{folder} holds none of the videos of {benchmark.name}, such as {rows[0]['video']}; "
            f"{data_remedy(benchmark)}"
        )
    return Dataset.from_list([dict(row) for row in rows])


def check_rows(rows: Sequence) -> None:
    """Check the values of rows with frames, not their images, before any of them is answered.

    Raises:
        InputError: At the first row that cannot be asked or scored; the line names it.
    """
    for row in rows:
        fault = row_fault(row, "eval", len(row["frames"] or ()))
        with name_row(row):
            if fault:
                raise InputError(fault)

"""The benchmarks by name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..modeling.errors import InputError
from ..modeling.row_rules import name_row, row_fault
from .benchmark import Benchmark
from .benchmarks import dsi_bench, dsr_bench, dyn_bench, mllm4d_bench, sti_bench, vlm4d
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
        *dyn_bench.BENCHMARKS,
        *vlm4d.BENCHMARKS,
        *sti_bench.BENCHMARKS,
        *dsi_bench.BENCHMARKS,
        *mllm4d_bench.BENCHMARKS,
    )
}


# lmms-eval finds each benchmark under `fourd_NAME` too, since a task of its own with one of our names would win.
OURS = "fourd_"


def expand_tasks(names: str) -> list[str]:
    """The benchmarks that comma-separated names mean, each once: their own, `fourd_NAME`, or that of a group.

    Raises:
        InputError: If there is no name, or one means no benchmark; the line lists them.
    """
    chosen: dict[str, None] = {}
    for name in filter(None, map(str.strip, names.split(","))):
        chosen |= dict.fromkeys(_parts_of(name) or [find_benchmark(name).name])
    if not chosen:
        raise InputError(f"no task is named: choose from {list_tasks()}")
    return list(chosen)


def list_tasks() -> str:
    """The names of all benchmarks and groups, for help and errors."""
    groups = dict.fromkeys(benchmark.group for benchmark in BENCHMARKS.values() if benchmark.group)
    return f"{', '.join(BENCHMARKS)}; or all of a group: {', '.join(groups)}"


def _parts_of(group: str) -> list[str]:
    return [benchmark.name for benchmark in BENCHMARKS.values() if benchmark.group == group]


def find_benchmark(name: str) -> Benchmark:
    """A benchmark by its name, or by `fourd_NAME`.

    Raises:
        InputError: If there is none; the line lists them.
    """
    benchmark = BENCHMARKS.get(name) or BENCHMARKS.get(name.removeprefix(OURS))
    if benchmark is not None:
        return benchmark
    if parts := _parts_of(name):
        raise InputError(f"{name} is a group of tasks: name one of {', '.join(parts)}")
    raise InputError(
        f"unknown task {name!r}: choose from {list_tasks()}; `--dataset` takes a file of your own questions"
    )


def task_rows(task: str) -> "Dataset":
    """The rows of a benchmark by its name; see `benchmark_rows`."""
    return benchmark_rows(find_benchmark(task))


def benchmark_rows(benchmark: Benchmark, need_videos: bool = True) -> "Dataset":
    """Find, read and check the rows of a benchmark.

    Args:
        benchmark (`Benchmark`): The benchmark.
        need_videos (`bool`, *optional*, defaults to `True`): Whether its videos are going to be shown.

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
    if need_videos and not any(map(has_video, rows)):
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

"""The names under which lmms-eval finds our benchmarks, and the task files that carry them.

A task of lmms-eval's own with one of our names would silently win, so each is there as `fourd_NAME` too.
"""

from collections.abc import Iterator
from pathlib import Path

from ..benchmark import Benchmark
from ..tasks import BENCHMARKS, OURS, find_benchmark

_FRAMES = "_frames"
_MACRO = "macro_accuracy"
_CLASS = "!function fourdthinker.eval_tasks.lmms.task.BenchmarkTask"


def read_task_name(name: str) -> tuple[Benchmark, bool]:
    """The benchmark that a task name means, and whether its videos go out as frames."""
    return find_benchmark(name.removesuffix(_FRAMES)), name.endswith(_FRAMES)


def write_task_files(folder: Path) -> None:
    """Write the task files of all benchmarks."""
    for name, text in task_files().items():
        path = folder / name
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def task_files() -> dict[str, str]:
    """Path below the folder of tasks and content of each task file."""
    files = {}
    for benchmark in BENCHMARKS.values():
        for name in _names(benchmark):
            files[f"{name}.yaml"] = f"task: {name}\nclass: {_CLASS}\noutput_type: generate_until\n"
    for group in dict.fromkeys(b.group for b in BENCHMARKS.values() if b.group):
        members = [benchmark for benchmark in BENCHMARKS.values() if benchmark.group == group]
        for prefix in ("", OURS):
            for suffix in ("", _FRAMES):
                name = f"{prefix}{group}{suffix}"
                files[f"{name}.yaml"] = _group_file(name, [f"{prefix}{b.name}{suffix}" for b in members])
    return files


def _names(benchmark: Benchmark) -> Iterator[str]:
    for prefix in ("",) if benchmark.name.startswith(OURS) else ("", OURS):
        yield f"{prefix}{benchmark.name}"
        if benchmark.has_videos:
            yield f"{prefix}{benchmark.name}{_FRAMES}"


def _group_file(name: str, members: list[str]) -> str:
    # Of the members' accuracies over types the plain mean, of everything else the mean over questions.
    metrics = "".join(
        f"  - metric: {metric}\n    aggregation: mean\n    weight_by_size: {str(metric != _MACRO).lower()}\n"
        for metric in ("accuracy", _MACRO, "strict_accuracy", "unparsed", "missing", "unreadable")
    )
    tasks = "".join(f"  - {member}\n" for member in members)
    return f"group: {name}\ntask:\n{tasks}aggregate_metric_list:\n{metrics}metadata:\n  version: 1\n"

"""`fourd_world`: camera-motion and object-motion questions on held-out clips of the rendered world."""

from collections import defaultdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from ..modeling.errors import InputError
from .benchmark import Benchmark

if TYPE_CHECKING:
    from datasets import Dataset

TASKS = ("camera_motion", "object_motion")
DATA_VARIABLE = "FOURD_WORLD_DATA"
# Raise it when the rendered world or its questions change: scores of two versions cannot be compared.
VERSION = 2
SOURCE = f"fourd_world-{VERSION}"
QUESTIONS_PER_TASK = 400
# The builder keeps the clips of its splits apart, whatever the seed.
SEED = 0
_COLUMNS = ("id", "source", "task", "question", "options", "answer", "frames", "timestamps")


def read_rows(folder: Path, split: str = "test") -> "Dataset":
    """Read the questions of a folder written by `FourDCoT`, camera and object questions in turn.

    So any first part holds both.

    Returns:
        `Dataset`: Columns `id`, `source`, `task`, `question`, `options`, `answer`, `frames` (encoded; `row_clip` of
        `modeling.processing` decodes them), `timestamps` (seconds) and `facts`.

    Raises:
        InputError: If the folder does not hold such rows.
    """
    from datasets import Image, List
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    from ..modeling.dataset_files import load_split

    try:
        rows = load_split(folder, "grpo", split)
    except (ValueError, OSError, DatasetGenerationError, DatasetNotFoundError) as error:
        raise InputError(f"{folder}: no rows of a configuration 'grpo' with a split {split!r} ({error})") from error
    missing = [column for column in _COLUMNS if column not in rows.column_names]
    if missing:
        raise InputError(f"{folder}: the rows lack the columns {', '.join(missing)}")
    if other := sorted(set(rows["source"]) - {SOURCE, None}):
        raise InputError(
            f"{folder}: rows of {', '.join(map(str, other))}, not of {SOURCE}; scores on two worlds cannot be "
            "compared: build the folder again"
        )
    return rows.cast_column("frames", List(Image(decode=False))).select(_interleave_tasks(folder, rows["task"]))


def _interleave_tasks(folder: Path, tasks) -> list[int]:
    by_task = defaultdict(list)
    for index, task in enumerate(tasks):
        by_task[task].append(index)
    # A null task raises nothing here: the validation of the rows names it.
    if unknown := sorted(set(by_task) - {*TASKS, None}):
        raise InputError(f"{folder}: unknown tasks {', '.join(unknown)}; this benchmark has {' and '.join(TASKS)}")
    turns = zip_longest(*(by_task[task] for task in TASKS))
    return [index for turn in turns for index in turn if index is not None] + by_task[None]


def _render(folder: Path) -> None:
    # The one import of the builders in this package: the benchmark is rendered, not downloaded.
    from ..dataset_builders.fourd_cot import build_world

    build_world(folder, clips={"test": QUESTIONS_PER_TASK}, seed=SEED)


FOURD_WORLD = Benchmark(
    name="fourd_world",
    read=read_rows,
    types=TASKS,
    variable=DATA_VARIABLE,
    cache_name=f"fourdthinker/fourd_world-{VERSION}",
    contents="Parquet rows, or unset it",
    make=_render,
    rule="answer_block",
    has_videos=False,
    version=VERSION,
)

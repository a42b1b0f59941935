"""What `build-data --questions` names, and the files that it writes of one family."""

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ..dataset_builders.pipeline.settings import QUESTION_FAMILIES
from ..modeling.errors import InputError

if TYPE_CHECKING:
    from ..dataset_builders.fourd_cot import Written

MOTION, MLLM4D, FUTURE = "motion", "mllm4d", "future"
PLACES = "places"  # of the rendered world alone
SPACE = ("mllm4d", "dsr")  # families that take depth


def read_families(text: str) -> tuple[str, ...]:
    """What `--questions` names, in the order of `QUESTION_FAMILIES`; nothing for `places`.

    Raises:
        InputError: If one of them is unknown, or there is none.
    """
    if text == PLACES:
        return ()
    named = {part.strip() for part in text.split(",")}
    if MOTION in named:
        named = named - {MOTION} | {"camera", "object"}
    if unknown := sorted(named - set(QUESTION_FAMILIES)):
        if PLACES in unknown:
            raise InputError(f"--questions {PLACES} stands alone: leave the others out")
        known = ", ".join(QUESTION_FAMILIES)
        raise InputError(f"--questions {unknown[0]!r}: it takes {known} or {MOTION}, of the rendered world {PLACES}")
    return tuple(family for family in QUESTION_FAMILIES if family in named)


def write_dsr_split(output: Path, written: "Written") -> Path | None:
    """Write the questions of DSR-Bench's kinds, of the split `test` where there is one, as its own files.

    Args:
        output (`Path`): A dataset folder.
        written ([`Written`]): What is in it.

    Returns:
        `Path`: What `DSR_BENCH_ROOT` names; `None`, with nothing written, if there is no such question.
    """
    from ..dataset_builders.parquet_rows import stream_parquet
    from ..dataset_builders.questions.dsr import KINDS
    from ..dataset_builders.sources.dsr_files import write_dsr_files
    from ..modeling.atomic import atomic_dir

    splits = written.files.get("dift", {})
    paths = [output / path for path in splits.get("test") or splits.get("train") or ()]
    rows = (row for row in stream_parquet(paths) if row["task"] in KINDS)
    first = next(rows, None)
    if first is None:
        return None
    with atomic_dir(output / "dsr") as folder:
        write_dsr_files(folder, chain([first], rows))
    return output / "dsr"

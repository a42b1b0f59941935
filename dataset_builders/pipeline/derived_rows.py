"""Configurations that are made of the rows of another one, with a change or without."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ..fourd_cot import Rows, Written, write_dataset
from ..parquet_rows import stream_parquet
from ..questions.mllm4d_reasoning import answer_alone

MOTION, MLLM4D = "dift", "mllm4d_cold_start"  # the configurations that are made first
# What else is made of the rows of a configuration, and how a row changes for it.
_DERIVED: dict[str, dict[str, Callable[[dict], dict]]] = {
    MOTION: {"grpo": dict},
    MLLM4D: {"mllm4d_sft": answer_alone, "mllm4d_grpo": dict},
}
CONFIGURATIONS = tuple(name for first, others in _DERIVED.items() for name in (first, *others))


def write_configurations(rows: Mapping[str, Mapping[str, Rows]], folder: Path) -> Written:
    """Write rows, and the configurations that follow from them.

    Args:
        rows (`Mapping[str, Mapping[str, Iterable[Mapping]]]`): For `MOTION` and `MLLM4D`, for each split, its rows.
            What has none is left out.
        folder (`Path`): An existing folder.
    """
    written = Written({}, {}, {})
    for name, splits in rows.items():
        if not splits:
            continue
        first = write_dataset({name: splits}, folder)
        others = write_dataset(
            {other: _derive(folder, first.files[name], change) for other, change in _DERIVED[name].items()}, folder
        )
        for part in (first, others):
            written = Written(*(known | new for known, new in zip(written, part, strict=True)))
    return written


def _derive(
    folder: Path, files: Mapping[str, Sequence[str]], change: Callable[[dict], dict]
) -> dict[str, Iterator[dict]]:
    # Making the rows again would take hours; their images stay as they are encoded.
    return {split: map(change, stream_parquet([folder / path for path in paths])) for split, paths in files.items()}

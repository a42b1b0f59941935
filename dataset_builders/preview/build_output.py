"""What a build has written, read for looking at it."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...modeling.errors import InputError
from ..clip_record import ClipRecord
from ..pipeline.record_json import clip_folder, read_record, window_from_json, window_name
from ..pipeline.settings import WINDOW_STAGES
from ..pipeline.stage_files import StageFiles

CONFIGURATIONS = ("dift", "mllm4d_cold_start")  # those with reasoning, of the two kinds of dataset folder
GATES = "gates.json"
# Where `check-data` puts its report into a card.
_CARD_GATES = re.compile(r"<!-- gates -->.*?```text\n(.*?)```.*?<!-- end of gates -->", re.DOTALL)
_COUNTED = ("task", "options", "answer")


@dataclass
class RowCounts:
    """What the rows of a dataset are about.

    Attributes:
        splits (`Counter`): Rows by split.
        tasks (`Counter`): Rows by task.
        labels (`dict[str, Counter]`): For each task, rows by the text of the right option.
    """

    splits: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)


def dataset_files(output: Path) -> list[Path]:
    """The Parquet files of the first of `CONFIGURATIONS` that a dataset folder has.

    Raises:
        InputError: If it has none.
    """
    if not (files := _find_files(output)):
        raise InputError(f"{output} has no rows in {' or '.join(CONFIGURATIONS)}: build some first")
    return files


def has_rows(output: Path) -> bool:
    """Whether a dataset folder has rows to show."""
    return bool(_find_files(output))


def _find_files(output: Path) -> list[Path]:
    found = (sorted((output / name).glob("*.parquet")) for name in CONFIGURATIONS)
    return next(filter(None, found), [])


def count_rows(files: Sequence[Path]) -> RowCounts:
    """Count the rows of Parquet files, without reading their pictures."""
    from pyarrow import parquet

    counts = RowCounts()
    for path in files:
        rows = parquet.read_table(path, columns=list(_COUNTED)).to_pylist()
        counts.splits[_split(path)] += len(rows)
        for row in rows:
            counts.tasks[row["task"]] += 1
            counts.labels.setdefault(row["task"], Counter())[right_option(row)] += 1
    return counts


def read_sample(files: Sequence[Path], count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows drawn at random, in their order, with a column `split`; only their part of the files is read."""
    from pyarrow import parquet

    opened = [parquet.ParquetFile(path) for path in files]
    total = sum(file.metadata.num_rows for file in opened)
    wanted = set(np.random.default_rng(seed).permutation(total)[:count].tolist())
    first = 0
    for path, file in zip(files, opened, strict=True):
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            inside = sorted(number - first for number in wanted if first <= number < first + size)
            if inside:
                for row in file.read_row_group(group).take(inside).to_pylist():
                    yield {**row, "split": _split(path)}
            first += size


def right_option(row: dict[str, Any]) -> str:
    """The text of a row's right option."""
    place = ord(row["answer"]) - ord("A") if len(row["answer"]) == 1 else -1
    return row["options"][place] if 0 <= place < len(row["options"]) else row["answer"]


def clip_of_row(identity: str) -> str:
    """The clip of a row of a build from videos."""
    return identity.rsplit("-", 2)[0]


def iter_clips(output: Path) -> Iterator[tuple[str, str, int]]:
    """Each clip of a build from videos: its name, its video's name and its number in it, in order."""
    files = StageFiles(output)
    for path in sorted(files.folder.glob("*/shots.json")):
        shots = files.read(path.parent.name, "shots")
        for number in range(len((shots and shots.value or {}).get("windows", ()))):
            yield window_name(path.parent.name, number), path.parent.name, number


def load_clip(output: Path, clip: str) -> ClipRecord | None:
    """The record of one clip, `None` where a build has none of that name."""
    files = StageFiles(output)
    video, _, number = clip.rpartition("-")
    shots = files.read(video, "shots") if video and number.isdecimal() else None
    windows = (shots and shots.value or {}).get("windows", ())
    if shots is None or shots.value is None or not int(number or 0) < len(windows):
        return None
    folder = clip_folder(video, int(number))
    found = {stage: files.read(folder, stage) for stage in WINDOW_STAGES}
    stages = {stage: result for stage, result in found.items() if result is not None}
    window = window_from_json(windows[int(number)])
    return read_record(clip, shots.value, window, stages)


def count_pose_kinds(output: Path) -> Counter[str]:
    """Clips of a build from videos by the kind of their poses; `none` where there are none."""
    files = StageFiles(output)
    kinds: Counter[str] = Counter()
    for _, video, number in iter_clips(output):
        poses = files.read(clip_folder(video, number), "poses")
        camera = (poses and poses.value or {}).get("camera")
        kinds[camera["kind"] if camera else "none"] += 1
    return kinds


def read_gates(output: Path) -> list[dict[str, Any]]:
    """The table of gates, if the build has one: an entry a gate."""
    try:
        stored = json.loads((output / GATES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if isinstance(stored, dict):
        stored = stored.get("gates", [])
    return [gate for gate in stored if isinstance(gate, dict)] if isinstance(stored, list) else []


def read_gates_of_card(output: Path) -> str:
    """The table of gates as text, if the dataset's card has one."""
    try:
        card = (output / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    section = _CARD_GATES.search(card)
    return section[1].strip() if section else ""


def read_quarantine(path: Path) -> list[dict[str, Any]]:
    """The clips that a build left out, one entry each."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [json.loads(line) for line in lines if line]


def _split(path: Path) -> str:
    return path.name.partition("-")[0]

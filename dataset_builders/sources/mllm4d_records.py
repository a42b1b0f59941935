"""Write MLLM-4D's questions as records of its own training files, with their clips as videos."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...modeling.tokens import format_options
from ..world.clip_file import write_clip


def write_records(folder: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write `records.jsonl` and `videos/`, which the benchmark `mllm4d_bench` reads.

    Args:
        folder (`Path`): Where to write; it is made.
        rows (`Iterable[Mapping]`): Rows of `mllm4d_rows`, whose ids begin with the name of the clip.

    Returns:
        `int`: How many records were written. One has `messages`, `videos` and `solution` as MLLM-4D's, and `id` and
        `type`.
    """
    (folder / "videos").mkdir(parents=True)
    lines = [json.dumps(_record(row, _write_video(folder, row)), ensure_ascii=False) + "\n" for row in rows]
    (folder / "records.jsonl").write_text("".join(lines), encoding="utf-8")
    return len(lines)


def _write_video(folder: Path, row: Mapping[str, Any]) -> str:
    """Write the clip of a row, once for all questions about it, and give its path below the folder."""
    clip, _, _ = row["id"].rsplit("-", 2)
    video = f"videos/{clip}.mp4"
    if not (folder / video).exists():
        first, second = row["timestamps"][:2]
        write_clip(folder / video, np.stack([np.asarray(frame) for frame in row["frames"]]), 1 / (second - first))
    return video


def _record(row: Mapping[str, Any], video: str) -> dict[str, Any]:
    said = f"<video>\n{row['question']}\n{format_options(row['options'])}"
    centers = {"camera_center": row["camera_centers"], "object_center": row["object_centers"]}
    return {
        "id": row["id"],
        "type": row["task"],
        "messages": [{"role": "user", "content": said}],
        "videos": [video],
        "solution": [{"answer": row["answer"], **centers}],
    }

"""STI-Bench (arXiv 2503.23765): measures, motion and positions in videos of rooms, tables and streets."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...modeling.row_rules import name_row
from ..benchmark import Benchmark, FramePolicy
from .published import (
    answer_letter,
    as_text,
    find_file,
    list_options,
    option_texts,
    pick,
    read_table,
    type_name,
    video_file,
)

TYPES = (
    "dimensional_measurement",
    "spatial_relation",
    "3d_video_grounding",
    "displacement_path_length",
    "speed_acceleration",
    "ego_centric_orientation",
    "trajectory_description",
    "pose_estimation",
)
SCENES = ("indoor", "desktop", "outdoor")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the rows.

    The question says its time range and the whole video is shown, so rows have no `start` and `end`.

    Args:
        folder (`Path`): Holds `qa.parquet` (or the same table as JSON, JSONL, CSV or TSV) and the folder `video`.

    Returns:
        `list[dict]`: Rows with `id`, `task`, `question`, `options` (five), `answer`, `video` and `scene`.

    Raises:
        InputError: If the table is missing, or a row is not of the published shape; the line names the row.
    """
    table = find_file(folder, [f"qa.{suffix}" for suffix in ("parquet", "json", "jsonl", "csv", "tsv")])
    uses: Counter[str] = Counter()
    rows = []
    for published in read_table(table):
        video = as_text(pick(published, "Video", "video", "file"))
        name = f"{video}#{as_text(pick(published, 'ID', 'id'))}"
        uses[name] += 1
        # The number counts within a video; should one come twice, both rows count.
        row = {"id": name if uses[name] == 1 else f"{name}#{uses[name]}"}
        with name_row(row):
            options = option_texts(pick(published, "Candidates", "candidates", "options"))
            rows.append(
                {
                    **row,
                    "task": type_name(as_text(pick(published, "Task", "task", "task_type"))),
                    "question": _time_range(published) + as_text(pick(published, "Question", "question")),
                    "options": options,
                    "answer": answer_letter(pick(published, "Answer", "answer"), options),
                    "video": video_file(folder, video, ("video", "videos", "")),
                    "scene": _scene(published, video),
                }
            )
    return rows


def prompt(question: str, options: Sequence[str]) -> str:
    """The official wording for open models."""
    return f"{question}\n{list_options('({}) {}', options)}\nPlease output only the option letter!"


def _time_range(published: Mapping[str, Any]) -> str:
    # As the table has them: the official script writes 2.0 for a float and 2 for a whole number.
    start, end = (pick(published, f"time_{end}", end, default=None) for end in ("start", "end"))
    return "" if start is None or end is None else f"From {start} s to {end} s. "


def _scene(published: Mapping[str, Any], video: str) -> str:
    """Where the video was taken, by the table or, as officially, by the name of the file."""
    named = as_text(pick(published, "scene", "Scene", default="")).casefold()
    if named in SCENES:
        return named
    stem = Path(video).name.partition(".")[0]
    if "camera" in video:
        return "outdoor"
    if stem.startswith("scene"):
        return "indoor"
    return "desktop" if stem.isdigit() and len(stem) == 6 else "unknown"


BENCHMARKS = (
    Benchmark(
        name="sti_bench",
        read=read_rows,
        types=TYPES,
        variable="STI_BENCH_ROOT",
        dataset="MINT-SJTU/STI-Bench",
        cache_name="sti_bench",
        contents="qa.parquet and video/<Video>",
        prompt=prompt,
        frames=FramePolicy(max_frames=30, max_pixels=360 * 420),
        rule="sti_bench",
    ),
)

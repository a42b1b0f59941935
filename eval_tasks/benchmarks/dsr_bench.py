"""DSR-Bench (arXiv 2512.20557): directions, distances, speeds and orientations that change, in videos of the wild.

The authors publish the questions alone; the videos, `<videoID>.mp4`, are the Koala-36M clips that the user brings.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...modeling.prompts import question_text
from ...modeling.row_rules import name_row
from ...modeling.tokens import format_options
from ..benchmark import Benchmark, FramePolicy
from .published import answer_letter, find_file, option_texts, pick, read_table, video_file

TYPES = tuple(
    "abs_dis abs_dir abs_ori abs_spd abs_spd_comp abs_dir_pred rel_dis rel_dir rel_ori rel_spd rel_spd_comp "
    "rel_dir_pred non_temp".split()
)
PREDICTIONS = ("abs_dir_pred", "rel_dir_pred")
_HIDDEN_SECONDS = 1.0
_INSTRUCTION = (
    "\nThese are the frames of a video. Select the best answer to the following multiple-choice question based on the "
    "video. Respond with only the letter (A, B, C, or D) of the correct option.\n"
)


def read_dsr_bench(folder: Path) -> list[dict[str, Any]]:
    """Read `benchmark.parquet`, or EASI's `DSRBench.tsv`, in its order; videos may be missing.

    Raises:
        InputError: If there is no such file, or a row lacks what a question needs; the line names the row.
    """
    table = read_table(find_file(folder, ("benchmark.parquet", "DSRBench.tsv")))
    return [_row(folder, number, published) for number, published in enumerate(table)]


def read_without_last_second(folder: Path) -> list[dict[str, Any]]:
    """The rows of `read_dsr_bench`; questions of the prediction types do not show the last second of their video."""
    hidden = dict.fromkeys(PREDICTIONS, _HIDDEN_SECONDS)
    return [{**row, "hidden_tail": hidden.get(row["task"], 0.0)} for row in read_dsr_bench(folder)]


def _row(folder: Path, number: int, published: dict) -> dict[str, Any]:
    row: dict[str, Any] = {"id": f"dsr_bench-{number}"}
    with name_row(row):
        video = str(pick(published, "videoID", "video_id", "video"))
        options = option_texts(pick(published, "options", "candidates"))
        return {
            **row,
            "task": pick(published, "type", "task_type", "task"),
            "question": pick(published, "question"),
            "options": options,
            "answer": answer_letter(pick(published, "answer"), options),
            "video": video_file(folder, video, ("videos", "", "raw_data/dsr-bench")),
            "video_id": video,
        }


def official_prompt(question: str, options: Sequence[str]) -> str:
    """The official wording, Video-MME's: the letter alone is asked for."""
    return f"{_INSTRUCTION}Question: {question}\n{format_options(options)}\nAnswer: "


_OFFICIAL = Benchmark(
    name="dsr_bench",
    read=read_dsr_bench,
    types=TYPES,
    variable="DSR_BENCH_ROOT",
    dataset="TencentARC/DSR_Suite-Data",
    cache_name="dsr_bench",
    downloads=("benchmark.parquet",),
    contents="benchmark.parquet and videos/<videoID>.mp4",
    prompt=official_prompt,
    frames=FramePolicy(max_frames=32, max_pixels=768 * 28 * 28),
    rule="dsr_bench",
)
BENCHMARKS = (
    _OFFICIAL,
    replace(_OFFICIAL, name="dsr_bench_1fps", frames=FramePolicy(fps=1.0, max_pixels=768 * 28 * 28)),
    replace(
        _OFFICIAL,
        name="dsr_bench_cot",
        prompt=question_text,
        frames=FramePolicy(fps=1.0, max_frames=50, max_pixels=256 * 28 * 28),
        max_new_tokens=2048,
        rule="dsr_bench_cot",
        version=2,
    ),
    replace(_OFFICIAL, name="dsr_bench_last_second_hidden", read=read_without_last_second),
)

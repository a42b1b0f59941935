"""`fourdthinker eval --check-overlap`: does a training set hold rows of the benchmark?"""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..modeling.errors import InputError
from .input_checks import check_dataset
from .training_run import load_rows

if TYPE_CHECKING:
    from datasets import Dataset

    from ..eval_tasks.benchmark import Benchmark
    from ..modeling.clip import Clip


def add_overlap_arguments(parser: argparse.ArgumentParser) -> None:
    """`--check-overlap` and `--drop-overlap`."""
    parser.add_argument(
        "--check-overlap",
        metavar="DATA",
        help="training rows (a file or a folder, as for `dift` and `grpo`): name the questions whose video or "
        "wording is among them, copies that were re-encoded, resized, cropped by up to 10 %% or mirrored included",
    )
    parser.add_argument("--drop-overlap", action="store_true", help="score the other questions only")


def check_overlap_arguments(args: argparse.Namespace) -> None:
    """Check the two arguments before anything is loaded."""
    if args.drop_overlap and not args.check_overlap:
        raise InputError("--drop-overlap needs --check-overlap DATA: name the training rows")
    if args.check_overlap:
        check_dataset(args.check_overlap, "dift", "train")


def find_rows_overlap(
    rows: "Dataset", task: str, benchmark: "Benchmark | None", args: argparse.Namespace
) -> tuple[list[int], dict[str, Any]]:
    """Compare rows with those of `--check-overlap`, and print which are in both.

    Returns:
        `tuple[list[int], dict]`: The places of the rows to score; and for the report `data`, `overlapping` (entries of
        [`~eval_tasks.overlap.Overlap`]) and `dropped` (how many rows).
    """
    from dataclasses import asdict

    from ..eval_tasks.overlap import clean_rows, find_overlap, format_overlap
    from ..eval_tasks.video_overlap import SAMPLING
    from ..eval_tasks.videos import has_video, read_row_clip
    from ..modeling.processing import row_clip

    def read_clip(row: Mapping[str, Any]) -> "Clip | None":
        try:
            if benchmark is not None and benchmark.has_videos:
                # The whole video, whatever part of it the benchmark shows.
                whole = {**row, "hidden_tail": None, "start": None, "end": None}
                return read_row_clip(whole, SAMPLING) if has_video(row) else None
            return row_clip(row) if row["frames"] else None
        except InputError:  # an unreadable video is counted when its question is asked
            return None

    def read_training_clip(row: Mapping[str, Any]) -> "Clip | None":
        return row_clip(row) if row["frames"] else None

    overlaps = find_overlap(rows, _training_rows(args.check_overlap), read_clip, read_training_clip)
    print(format_overlap(overlaps, len(rows), task, args.check_overlap), end="\n\n")
    kept = clean_rows(rows, overlaps) if args.drop_overlap else list(range(len(rows)))
    entries = [asdict(overlap) for overlap in overlaps]
    return kept, {"data": args.check_overlap, "overlapping": entries, "dropped": len(rows) - len(kept)}


def _training_rows(data: str) -> "Dataset":
    """Rows of either stage: those of 4DRL need no response."""
    try:
        return load_rows(data, "dift", "train")
    except InputError:
        return load_rows(data, "grpo", "train")

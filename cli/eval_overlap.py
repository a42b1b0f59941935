"""`fourdthinker eval --check-overlap`: does a training set hold rows of the benchmark?"""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..modeling.errors import InputError
from .input_checks import check_dataset
from .training_run import load_rows

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL import Image

    from ..eval_tasks.benchmark import Benchmark


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


def report_overlap(
    rows: "Dataset", task: str, benchmark: "Benchmark | None", args: argparse.Namespace
) -> tuple["Dataset", dict[str, Any] | None]:
    """Compare rows with those of `--check-overlap`, and print which are in both.

    Returns:
        `tuple[Dataset, dict | None]`: The rows to score; and for the report `data`, `overlapping` (entries of
        [`~eval_tasks.overlap.Overlap`]) and `dropped` (how many rows), or nothing where it was not asked for.
    """
    if not args.check_overlap:
        return rows, None
    from dataclasses import asdict

    from ..eval_tasks.benchmark import FramePolicy
    from ..eval_tasks.overlap import clean_rows, find_overlap, format_overlap
    from ..eval_tasks.videos import has_video, read_row_clip
    from ..modeling.processing import FRAMES_PER_SECOND, MAX_FRAMES, row_clip

    sampling = FramePolicy(fps=FRAMES_PER_SECOND, max_frames=MAX_FRAMES)

    def row_frames(row: Mapping[str, Any]) -> "list[Image.Image] | None":
        try:
            if benchmark is not None and benchmark.has_videos:
                # Sampled as training rows are, whatever the benchmark shows: of a copy these are the same frames.
                whole = {**row, "hidden_tail": None}
                return read_row_clip(whole, sampling).frames if has_video(row) else None
            return row_clip(row).frames if row["frames"] else None
        except InputError:  # an unreadable video is counted when its question is asked
            return None

    def training_frames(row: Mapping[str, Any]) -> "list[Image.Image] | None":
        return row_clip(row).frames if row["frames"] else None

    training_rows = _training_rows(args.check_overlap)
    overlaps = find_overlap(rows, training_rows, row_frames, training_frames)
    print(format_overlap(overlaps, len(rows), task, args.check_overlap), end="\n\n")
    kept = rows.select(clean_rows(rows, overlaps)) if args.drop_overlap else rows
    entries = [asdict(overlap) for overlap in overlaps]
    return kept, {"data": args.check_overlap, "overlapping": entries, "dropped": len(rows) - len(kept)}


def _training_rows(data: str) -> "Dataset":
    """Rows of either stage: those of 4DRL need no response."""
    try:
        return load_rows(data, "dift", "train")
    except InputError:
        return load_rows(data, "grpo", "train")

"""`fourdthinker build-data`: build rows of 4D reasoning from a folder of videos or from the rendered world."""

import argparse
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ..modeling.errors import InputError
from .input_checks import check_seed
from .new_folder import new_folder

if TYPE_CHECKING:
    from ..dataset_builders.fourd_cot import Written

SUMMARY = "turn videos or the rendered world into 4D chain-of-thought rows"
WORLD = "world"
WORLD_QUESTIONS = 100
_A_DAY = 86400  # seconds
# What a folder of either kind of question holds.
CONFIGURATIONS = {"motion": ("dift", "grpo"), "mllm4d": ("mllm4d_sft", "mllm4d_cold_start", "mllm4d_grpo")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--source",
        required=True,
        metavar="FOLDER|world",
        help="folder of video files, or `world` for rendered scenes (write ./world for a folder of that name)",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write, new or empty")
    parser.add_argument("--frames", type=int, default=8, help="frames in a row, of videos (default: 8)")
    parser.add_argument(
        "--clips",
        type=int,
        help="videos: stop after this many clips with rows (default: all); world: training questions of each task"
        f" (default: {WORLD_QUESTIONS})",
    )
    parser.add_argument(
        "--held-out", type=int, help="world: test questions of each task (default: a quarter of the training ones)"
    )
    parser.add_argument(
        "--questions",
        choices=("motion", "mllm4d"),
        default="motion",
        help="world: which way camera and objects move, with imagery (default), or MLLM-4D's seven kinds, which say "
        "where they are, for its three stages",
    )
    parser.add_argument(
        "--answer",
        choices=("letter", "text"),
        default="letter",
        help="world: end responses with `B. Pan Right` or with `Pan Right` (default: letter)",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of wording, options and scenes (default: 0)")
    parser.add_argument("--workers", type=int, default=1, help="processes or threads to use (default: 1)")
    parser.add_argument(
        "--pose-seconds",
        type=float,
        default=300.0,
        help="videos: longest time for the camera poses of one clip, which is skipped after it (default: 300)",
    )


def run(args: argparse.Namespace) -> None:
    """Write a folder that `load_dataset` reads, and print what is in it and what was left out."""
    output = new_folder(args.output)
    for name in ("clips", "held_out", "workers"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    if not 0 < args.pose_seconds <= _A_DAY:  # what waits for the solver takes no larger numbers
        raise InputError(f"--pose-seconds must be positive and at most a day ({_A_DAY}), got {args.pose_seconds:g}")
    if args.held_out and args.source != WORLD:
        raise InputError("--held-out goes with --source world: rows of videos are all for training")
    if args.answer != "letter" and args.source != WORLD:
        raise InputError("--answer goes with --source world: rows of videos answer with the letter and its text")
    if args.questions != "motion" and args.source != WORLD:
        raise InputError("--questions goes with --source world: of videos no object's place is known")
    check_seed(args.seed)  # COLMAP takes 32 bits
    if args.source != WORLD and not Path(args.source).exists():
        raise InputError(f"{args.source} does not exist; name a folder of video files")
    skipped: list[tuple[Path, str]] = []
    if args.source == WORLD:
        written = _build_world(args, output)
    else:
        written, skipped = _build_videos(args, output)
    for config, splits in written.counts.items():
        for split, rows in splits.items():
            print(f"{config}, {split}: {rows} rows")
    if args.source != WORLD:
        print(f"{len(skipped)} videos skipped")
    for path, reason in skipped:
        print(f"  {path.name}: {reason}")
    print(f"written to {output}")


def _build_world(args: argparse.Namespace, output: Path) -> "Written":
    from ..dataset_builders.fourd_cot import build_world
    from ..modeling.atomic import atomic_dir

    questions = args.clips or WORLD_QUESTIONS
    with atomic_dir(output) as folder:
        sizes = {"train": questions, "test": args.held_out or max(1, questions // 4)}
        card = partial(write_card, "the rendered world", "apache-2.0")
        names = CONFIGURATIONS[args.questions]
        return build_world(folder, sizes, args.seed, args.workers, args.answer, card, names)


def _build_videos(args: argparse.Namespace, output: Path) -> tuple["Written", list[tuple[Path, str]]]:
    from ..dataset_builders.fourd_cot import Written, write_dataset
    from ..dataset_builders.sources.raw_video import log_skip, video_rows
    from ..modeling.atomic import atomic_dir

    skipped: list[tuple[Path, str]] = []

    def on_skip(path: Path, reason: str) -> None:
        log_skip(path, reason)
        skipped.append((path, reason))

    source = Path(args.source)
    rows = video_rows(source, args.frames, args.clips, args.seed, args.workers, on_skip, args.pose_seconds)
    first = next(rows, None)
    if first is None:
        reasons = "; ".join(f"{path.name}: {reason}" for path, reason in skipped)
        raise InputError(f"no video in {source} gives a row ({reasons})")
    with atomic_dir(output) as folder:
        dift = write_dataset({"dift": {"train": chain([first], rows)}}, folder)
        grpo = write_dataset({"grpo": {"train": _stored_rows(folder / "dift")}}, folder)
        written = Written(dift.files | grpo.files, dift.counts | grpo.counts)
        # The videos' own terms hold for their frames.
        (folder / "README.md").write_text(write_card(source.name or "videos", None, written), encoding="utf-8")
    return written, skipped


def _stored_rows(folder: Path) -> Iterator[dict]:
    """Rows just written, one at a time, their images still encoded: posing every clip again would take hours."""
    from datasets import Image, List, load_dataset

    stored = load_dataset("parquet", data_files=str(folder / "*.parquet"), split="train", streaming=True)
    for column in ("frames", "imagery", "imagery_masks"):
        stored = stored.cast_column(column, List(Image(decode=False)))
    yield from stored


def write_card(source: str, license: str | None, written: "Written") -> str:
    """The text of a dataset's card."""
    from ..hub_cards import dataset_card

    return str(dataset_card(written.files, written.counts, license=license, sources=[source]))

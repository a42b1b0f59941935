"""`fourdthinker eval --masks`: score masks that any model has written to a folder."""

import argparse
import json
from pathlib import Path

from ..modeling.atomic import atomic_path, check_writable


def add_masks_argument(group: argparse._MutuallyExclusiveGroup) -> None:
    """The option, beside those that name a model."""
    group.add_argument(
        "--masks",
        metavar="DIR",
        help="in place of a model: masks it has written, to be scored against Dyn-Bench's, as "
        "<category>/<dataset>/<scene>/frame_<0000>_obj<N>.png with the category camera, inter or scene",
    )


def score_masks(args: argparse.Namespace) -> None:
    """Print the scores of a folder of masks, and write them to `--output`."""
    from ..eval_tasks.masks.dyn_bench import format_mask_scores, score_mask_folder

    if args.output:
        check_writable(args.output)
    scores = score_mask_folder(Path(args.masks))
    print(format_mask_scores(scores, title=f"dyn_bench, masks of {args.masks}"))
    if args.output:
        content = {"masks": args.masks, "tasks": {"dyn_bench_masks": scores}}
        with atomic_path(args.output) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

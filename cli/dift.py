"""`fourdthinker dift`: train with dynamic-imagery fine-tuning."""

import argparse

from .training_run import add_run_arguments, describe_progress, run_training

SUMMARY = "Train with DIFT: supervised fine-tuning in which the model learns to imagine."
PARSES_CONFIG = True  # the file also fills `DIFTConfig`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_run_arguments(parser)
    parser.add_argument(
        "--drop-imagery",
        action="store_true",
        help="train on the same responses without their imagery: the text-only control that every claim needs",
    )
    parser.add_argument(
        "--precompute-targets",
        action="store_true",
        help="run the imagery through the frozen vision tower once, before the first step, and keep its targets",
    )


def run(args: argparse.Namespace) -> None:
    """Train a model on the `dift` rows of a dataset and save it with its processor and training log."""
    args.set += [f"{name}=true" for name in ("drop_imagery", "precompute_targets") if getattr(args, name)]
    run_training(args, "dift", _classes)


def progress(args: argparse.Namespace) -> str | None:
    """What an interrupted run goes on from."""
    return describe_progress(args)


def _classes() -> tuple[type, type]:
    from ..trainers import DIFTConfig, DIFTTrainer

    return DIFTConfig, DIFTTrainer

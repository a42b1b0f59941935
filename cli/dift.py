"""`fourdthinker dift`: train with dynamic-imagery fine-tuning."""

import argparse

from .training_run import add_run_arguments, describe_progress, run_training

PARSES_CONFIG = True  # the file also fills `DIFTConfig`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_run_arguments(parser, "dift")


def run(args: argparse.Namespace) -> None:
    """Train a model on the `dift` rows of a dataset and save it with its processor and training log."""
    run_training(args, "dift", _classes)


def progress(args: argparse.Namespace) -> str | None:
    """Describe what an interrupted run resumes from."""
    return describe_progress(args)


def _classes() -> tuple[type, type]:
    from ..trainers import DIFTConfig, DIFTTrainer

    return DIFTConfig, DIFTTrainer

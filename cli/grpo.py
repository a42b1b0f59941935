"""`fourdthinker grpo`: train with 4DRL."""

import argparse

from .training_run import add_run_arguments, describe_progress, run_training

PARSES_CONFIG = True  # the file also fills `LatentGRPOConfig`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_run_arguments(parser, "grpo")


def run(args: argparse.Namespace) -> None:
    """Train a model on the `grpo` rows of a dataset and save it with its processor and training log."""
    run_training(args, "grpo", _classes)


def progress(args: argparse.Namespace) -> str | None:
    """Describe what an interrupted run resumes from."""
    return describe_progress(args)


def _classes() -> tuple[type, type]:
    from ..trainers import LatentGRPOConfig, LatentGRPOTrainer

    return LatentGRPOConfig, LatentGRPOTrainer

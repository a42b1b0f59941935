"""`fourdthinker tasks-dir`: print where the lmms-eval task files are."""

import argparse

from ..eval_tasks.lmms import TASKS_DIR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(args: argparse.Namespace) -> None:
    """Print the folder."""
    print(TASKS_DIR)

"""`fourdthinker recipes-dir`: print where the packaged recipes are."""

import argparse

from .packaged_recipes import RECIPES_DIR

SUMMARY = "print the folder of the packaged recipes, e.g. for `accelerate launch --config_file`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(args: argparse.Namespace) -> None:
    """Print the folder."""
    print(RECIPES_DIR)

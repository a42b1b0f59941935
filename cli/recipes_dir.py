"""`fourdthinker recipes-dir`: print where the packaged recipes are."""

import argparse

from .packaged_recipes import RECIPES_DIR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(args: argparse.Namespace) -> None:
    """Print the folder."""
    print(RECIPES_DIR)

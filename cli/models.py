"""The model that a command opens: its revision, and lines about where on the Hub it is from."""

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--model`, which must be given, and `--revision`.

    Args:
        parser (`argparse.ArgumentParser`): The command's parser.
    """
    help_text = "folder of a saved model, or its name on the Hub"
    parser.add_argument("--model", required=True, metavar="MODEL", help=help_text)
    add_revision_argument(parser)


def add_revision_argument(parser: argparse.ArgumentParser, option: str = "--model") -> None:
    """Add `--revision`.

    Args:
        parser (`argparse.ArgumentParser`): The command's parser.
        option (`str`, *optional*, defaults to `"--model"`): The option that names the model.
    """
    parser.add_argument(
        "--revision",
        metavar="REVISION",
        help=f"branch, tag or commit of a {option} on the Hub (default: the newest); the commit is printed",
    )


def open_model(name: str, device: str, revision: str | None = None, **settings: Any):
    """Open a saved model by our own classes, and print the commit of what is read from the Hub.

    Args:
        name (`str`): A folder, or a name on the Hub.
        device (`str`): Where the model goes.
        revision (`str`, *optional*): As `load_model` takes it.
        settings: Further arguments of `load_model`.

    Returns:
        `tuple`: The model, on its device, and its processor.

    Raises:
        InputError: As `load_model` does.
    """
    from ..modeling import load_model

    model, processor = load_model(name, report=print_note, revision=revision, **settings)
    return model.to(device), processor


def print_note(line: str) -> None:
    """Print a line for the user to stderr; of several processes only the first does."""
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr)


def describe_origin(model: "PreTrainedModel") -> dict[str, str]:
    """What the settings of a report say of the model's origin: its commit, where it is from the Hub."""
    from ..modeling.model_files import model_commit

    commit = model_commit(model)
    return {"commit": commit} if commit else {}

"""What a built data set says of how it was built: the command that does it again, and the card made of all that."""

import argparse
from collections.abc import Callable
from pathlib import Path

# Where rows go and how they are computed: the rows do not depend on it.
_IRRELEVANT = {
    "output",
    "workers",
    "time_limit",
    "stage",
    "engine",
    "address",
    "preview",
    "allow_failed_gates",
    "writer_url",
    "writer_concurrency",
    "writer_timeout",
    "writer_price",
    "config",
}
_PLACES = {"source", "names", "objects_model", "depth"}  # a path keeps its last name


def describe_command(
    name: str, args: argparse.Namespace, add_arguments: Callable[[argparse.ArgumentParser], None]
) -> list[str]:
    """The words of the command that builds the same rows, without paths of this machine.

    Args:
        name (`str`): Of the command.
        args (`argparse.Namespace`): Its arguments.
        add_arguments (`Callable`): Adds the command's options to a parser.
    """
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    words = ["fourdthinker", name]
    for action in parser._actions:
        value = getattr(args, action.dest, None)
        if action.dest in _IRRELEVANT or value is None or (value == action.default and not action.required):
            continue
        option = max(action.option_strings, key=len) if action.dest != "license" else "--license"
        if isinstance(value, bool):
            words += [option] if value else []
            continue
        words += [option, _shorten(str(value)) if action.dest in _PLACES else str(value)]
    return [*words, "--output", "data"]


def _shorten(place: str) -> str:
    """The name of a file or folder of this machine; all else, such as a Hub id or `world`, as it is."""
    if place == "world" or not Path(place).exists():
        return place
    name = Path(place).resolve().name
    return f"./{name}" if name == "world" else name


def finish_card(
    folder: Path,
    args: argparse.Namespace,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    source: str,
    description: str | None = None,
) -> None:
    """Record how a data set was built, and write its card again with what is in its files.

    Args:
        folder (`Path`): The data set, with the card that names its files.
        args, add_arguments: As of [`describe_command`].
        source (`str`): What the rows were made from.
        description (`str`, *optional*): A paragraph for the card.
    """
    from huggingface_hub import DatasetCard

    from ..hub_cards import write_dataset_card
    from ..hub_cards.build_record import record_build

    licences = DatasetCard.load(folder / "README.md").data.license or []
    named = [licences] if isinstance(licences, str) else list(licences)
    command = describe_command("build-data", args, add_arguments)
    record_build(folder, command, args.seed, {source: named}, description)
    write_dataset_card(folder)

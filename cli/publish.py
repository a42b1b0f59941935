"""`fourdthinker publish`: put a model, a dataset or a Space on the Hub."""

import argparse
import os
import re
import sys

from ..modeling.errors import InputError

_LONGEST = 10_000_000  # seconds
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("kind", metavar="KIND", choices=("model", "dataset", "space"), help="model, dataset or space")
    parser.add_argument("folder", metavar="DIR", help="the folder to publish; with --model, of a Space, to write too")
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="the repository; a new one is private")
    parser.add_argument("--public", action="store_true", help="create a public repository, if it is new")
    parser.add_argument("--tag", metavar="NAME", help="name the revision, e.g. v1; the card's code then loads it")
    parser.add_argument("--dry-run", action="store_true", help="check and show everything, and send nothing")
    parser.add_argument(
        "--no-check", action="store_true", help="do not load what was published in a process of its own"
    )
    parser.add_argument(
        "--check-seconds",
        type=float,
        metavar="N",
        help="how long each of the two loadings may take (default: 1800, and one more for every 2 MB)",
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="let a finding pass, by the name that it begins with; noted in the commit (may be repeated)",
    )
    parser.add_argument("--max-size", default="100G", metavar="SIZE", help="most bytes to publish (default: 100G)")
    parser.add_argument("--model", metavar="ORG/NAME", help="of a space: the published model that its page shows")
    parser.add_argument("--revision", metavar="TAG", help="of a space: the tag or commit of that model")


def run(args: argparse.Namespace) -> None:
    """Publish a folder, and print what was done."""
    if args.kind != "space" and (args.model or args.revision):
        raise InputError("--model and --revision go with `publish space` only")
    if args.check_seconds is not None and not 0 < args.check_seconds <= _LONGEST:
        raise InputError(f"--check-seconds must be above 0 and at most {_LONGEST}, got {args.check_seconds}")
    if sys.stderr.isatty():
        # huggingface_hub shows how many bytes were sent; it reads this when it is imported.
        os.environ.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)
    from ..hub_cards import publish_dataset, publish_model, publish_space

    options = {
        "public": args.public,
        "tag": args.tag,
        "allow": args.allow,
        "max_size": read_size(args.max_size),
        "dry_run": args.dry_run,
        "check": not args.no_check,
        "check_seconds": args.check_seconds,
        "report": _print,
    }
    if args.kind == "space":
        publish_space(args.folder, args.repo, args.model, args.revision, **options)
    else:
        {"model": publish_model, "dataset": publish_dataset}[args.kind](args.folder, args.repo, **options)


def progress(args: argparse.Namespace) -> str:
    """Describe what an interrupted publication goes on from."""
    return f"{args.repo} is as it was or as it should be, and files that were sent whole are not sent again"


def read_size(text: str) -> int:
    """A number of bytes, such as `100G` or `5000`.

    Raises:
        InputError: If it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise InputError(f"--max-size {text}: give a number of bytes, such as 500M or 100G")
    try:
        return int(float(match[1]) * _UNITS[match[2].upper()])
    except OverflowError as error:
        raise InputError(f"--max-size {text:.20}... is too large: give a number of bytes, such as 100G") from error


def _print(line: str) -> None:
    print(line, flush=True)

"""`fourdthinker check-data`: test a dataset folder for give-aways, balance and what its splits share."""

import argparse
import importlib.util
import sys
from pathlib import Path

from ..modeling.errors import InputError

FAILED_GATES = 3  # exit code: the rows are there, but a gate failed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("folder", metavar="DIR", help="dataset folder that `build-data` or `best-of-n` has written")
    add_gate_arguments(parser)


def add_gate_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every command that runs the gates."""
    parser.add_argument(
        "--allow-failed-gates",
        action="store_true",
        help=f"end with code 0, not {FAILED_GATES}, if a gate fails; the card says so all the same",
    )


def run(args: argparse.Namespace) -> int:
    """Print the table of gates and write it into the folder's card."""
    check_gate_packages()
    folder = Path(args.folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: name one that `fourdthinker build-data` has written")
    return run_gates(folder, args.allow_failed_gates)


def check_gate_packages() -> None:
    """Check that what the gates need is installed, before any work.

    Raises:
        ModuleNotFoundError: If it is not.
    """
    for module in ("imagehash", "scipy", "sklearn"):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(f"no module named {module!r}", name=module)


def run_gates(folder: Path, allow_failures: bool) -> int:
    """Test a dataset folder, print the table and write it into the card.

    Args:
        folder (`Path`): The dataset.
        allow_failures (`bool`): Whether a failed gate counts as success.

    Returns:
        `int`: The command's exit code.
    """
    from ..dataset_builders.gates.check import check_dataset
    from ..dataset_builders.gates.report import write_section

    report = check_dataset(folder)
    print(report)
    try:
        write_section(folder, report)
    except InputError as error:  # of a folder that may only be read the table is all there is
        print(f"fourdthinker: the card was not changed: {error}", file=sys.stderr)
    return FAILED_GATES if report.failed and not allow_failures else 0

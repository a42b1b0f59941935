"""Arguments of `build-data` about where its workers run."""

import argparse

from ..modeling.errors import InputError

LOCAL, RAY = "local", "ray"


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--engine",
        choices=(LOCAL, RAY),
        default=LOCAL,
        help="videos: where workers run: processes of this machine (default), or actors of a Ray cluster, whose rows "
        "are the same, byte for byte",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="with --engine ray: the cluster's head, or `auto` for the one that this machine belongs to (default: "
        "RAY_ADDRESS, or a cluster of this machine alone)",
    )


def check_engine(args: argparse.Namespace) -> None:
    """Find options that do not go together.

    Raises:
        InputError: Naming the option.
    """
    if args.address is not None and args.engine != RAY:
        raise InputError("--address goes with --engine ray")

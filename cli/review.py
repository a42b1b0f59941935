"""`fourdthinker review`: judge the rows and overlays of a build on a page, by keyboard."""

import argparse
import getpass
import os
import signal
from pathlib import Path

from ..modeling.atomic import check_writable
from ..modeling.errors import InputError

_PORT = 7860
_MAX_NAME = 60  # letters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("output", metavar="OUT", help="folder that `build-data` has written from videos")
    parser.add_argument("--reviewer", metavar="NAME", help="who judges (default: the user of this machine)")
    parser.add_argument(
        "--port", type=int, default=_PORT, help=f"port of the page on this machine; 0: any (default: {_PORT})"
    )


def run(args: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C; verdicts are kept in OUT/review.jsonl and honoured by the next build."""
    if not 0 <= args.port <= 65535:
        raise InputError(f"--port must be between 0 and 65535, got {args.port}")
    # Before gradio is imported, which reads them: no statistics.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    import gradio  # noqa: F401 - before the build is read, not after

    from ..dataset_builders.review.items import open_build
    from ..dataset_builders.review.page import HOST, ReviewPage, listen, serve
    from ..dataset_builders.review.session import ReviewSession
    from ..dataset_builders.review.verdicts import REVIEW

    output = Path(args.output)
    session = ReviewSession(open_build(output), _reviewer(args.reviewer))
    check_writable(output / REVIEW)
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with listen(args.port) as listening:
            address = f"http://{HOST}:{listening.getsockname()[1]}/"
            # In one piece with its line end: a signal may come between two.
            print(f"{session.progress().describe()}\nopen {address}\nCtrl-C ends the page\n", end="", flush=True)
            serve(ReviewPage(session), listening)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, previous)
    print(f"ended: {session.progress().describe()}; verdicts are in {output / REVIEW}")


def _reviewer(name: str | None) -> str:
    if name is None:
        try:
            name = getpass.getuser()
        except (OSError, KeyError):  # a container without a user's name
            name = "reviewer"
    name = " ".join(name.split())
    if not 0 < len(name) <= _MAX_NAME:
        raise InputError(f"--reviewer takes a name of at most {_MAX_NAME} letters")
    return name

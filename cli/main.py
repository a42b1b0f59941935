"""The `fourdthinker` command: find a command, parse its arguments, run it, and report bad input in one line."""

import argparse
import difflib
import importlib
import itertools
import os
import re
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import requires, version
from shutil import get_terminal_size
from textwrap import fill
from types import ModuleType
from typing import NamedTuple, NoReturn

from ..modeling.errors import InputError, to_one_line
from .config_file import apply_config_file
from .terminal import quiet_libraries
from .user_errors import describe_user_error


class Command(NamedTuple):
    """Module and summary of a command, kept here so that listing the commands imports none of them."""

    module: str
    summary: str


COMMANDS = {
    "init": Command("init", "make a model: one of the tiny ones that ship with the package, or a checkpoint of yours"),
    "ask": Command("ask", "ask a model one question about a video"),
    "build-data": Command("build_data", "turn videos or the rendered world into 4D chain-of-thought rows"),
    "view": Command("view", "look at a clip of a build in rerun's viewer"),
    "review": Command("review", "judge the rows and overlays of a build on a page, by keyboard"),
    "check-data": Command("check_data", "test rows for give-aways, balance and what splits share"),
    "dift": Command("dift", "train with dynamic-imagery fine-tuning, the supervised stage"),
    "grpo": Command("grpo", "train with 4DRL, the reinforcement stage on TRL's GRPO"),
    "best-of-n": Command("best_of_n", "sample reasoning paths, score them by the ST-reward, keep the best as rows"),
    "eval": Command("eval", "score a model on a benchmark, or on questions of your own"),
    "score": Command("score", "score answers that were made elsewhere, by the readers of the benchmarks"),
    "diagnose": Command("diagnose", "find out whether a model's answers depend on its latents"),
    "publish": Command("publish", "put a model, a dataset or a Space on the Hub, in one commit that is checked"),
    "serve": Command("serve", "answer requests over HTTP: an OpenAI-compatible endpoint, many requests a batch"),
    "demo": Command("demo", "run data, training and evaluation once on the rendered world and print the table"),
    "env": Command("env", "print versions and devices for a bug report"),
    "tasks-dir": Command("tasks_dir", "print the folder of lmms-eval tasks, for --include_path"),
    "recipes-dir": Command("recipes_dir", "print the folder of the packaged recipes, e.g. for `accelerate launch`"),
}

# Which extra of `setup.cfg` lists a package that a plain install does not have.
EXTRAS = {
    **dict.fromkeys(("cv2", "imagehash", "pycocotools", "pycolmap", "scenedetect", "scipy", "sklearn"), "data"),
    **dict.fromkeys(("openai", "pydantic"), "data"),
    "lmms_eval": "eval",
    "pybullet": "world",
    "ray": "ray",
    **dict.fromkeys(("fastapi", "gradio", "uvicorn"), "serve"),
    "rerun": "view",
}

# What `argparse` takes for an option: neither a negative number nor words with spaces.
_OPTION = re.compile(r"--?[^\W\d][^\s=]*(=.*)?", re.DOTALL)


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors take one line: what is wrong, and where the help is."""

    def error(self, message: str) -> NoReturn:
        """Print `message` in one line and exit with code 2."""
        self.exit(2, f"{self.prog}: error: {to_one_line(message)} (see `{self.prog} --help`)\n")

    def parse_args(self, args=None, namespace=None):
        """Parse as `argparse` does, but name an unknown option, and the closest known one, before anything else.

        A misspelled required option is both unknown and missing, of which `argparse` reports the second.
        """
        args = list(sys.argv[1:] if args is None else args)
        if option := self._find_unknown_option(args):
            close = difflib.get_close_matches(option, self._option_string_actions, n=1)
            self.error(f"unrecognized argument {option}" + (f": did you mean {close[0]}?" if close else ""))
        return super().parse_args(args, namespace)

    def _find_unknown_option(self, args: Sequence[str]) -> str | None:
        known = self._option_string_actions
        if not {"-h", "--help", "--help-all"}.isdisjoint(args):
            return None
        options = itertools.takewhile(lambda item: item != "--", args)
        names = (item.partition("=")[0] for item in options if item not in known and _OPTION.fullmatch(item))
        return next((name for name in names if name not in known), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv (`Sequence[str]`, *optional*): Arguments after the program's name; those of the process by default.

    Returns:
        `int`: 0 if the command did its work, 2 after bad input or what else a user can cause, 3 if rows fail a gate,
        130 after Ctrl-C. Other exceptions propagate: they are defects, and their traceback is wanted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv and argv[0] in COMMANDS:
            return _run(argv[0], argv[1:])
        parser = overview_parser()
        parser.parse_args(argv)
        parser.error("no command given")
    except InputError as error:
        print(f"fourdthinker: error: {to_one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        line = describe_user_error(error)
        if line is None:
            raise
        print(f"fourdthinker: error: {to_one_line(line)}", file=sys.stderr)
        return 2


def _run(name: str, argv: list[str]) -> int:
    kept = None
    try:
        module = importlib.import_module(f"..{COMMANDS[name].module}", __name__)
        args = parse_command(name, module, argv)
        try:
            with quiet_libraries(args.verbose):
                return module.run(args) or 0
        except KeyboardInterrupt:
            kept = vars(module)["progress"](args) if "progress" in vars(module) else None
            raise
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS:
            raise
        raise InputError(f"{missing} is not installed: {install_hint(EXTRAS[missing])}") from error
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
            # A terminal has written `^C` in this line.
            start = "\n" if sys.stderr.isatty() else ""
            print(f"{start}fourdthinker: interrupted; {format_resume_hint(kept, [name, *argv])}", file=sys.stderr)
        raise


def install_hint(extra: str) -> str:
    """The `pip install` command for the packages of an extra.

    Args:
        extra (`str`): One of the extras of `setup.cfg`.
    """
    marked = re.compile(rf"(.+?) *; *extra *== *['\"]{extra}['\"]")
    packages = [match[1] for match in map(marked.fullmatch, requires("fourdthinker") or ()) if match]
    return shlex.join(["pip", "install", *packages])


def format_resume_hint(kept: str | None, argv: Sequence[str]) -> str:
    """Describe how to resume after an interruption.

    Args:
        kept (`str`, *optional*): What the command resumes from; by default it starts again.
        argv (`Sequence[str]`): The command's name and arguments.
    """
    state, again = (kept, "go on") if kept else ("nothing was kept", "start again")
    if "RANK" in os.environ:
        return f"{state}. To {again}, launch the same command again"
    as_module = os.path.basename(sys.argv[0]) == "__main__.py"
    program = ["python", "-m", "fourdthinker.cli"] if as_module else ["fourdthinker"]
    return to_one_line(f"{state}. To {again}: {shlex.join([*program, *argv])}")


def parse_command(name: str, module: ModuleType, argv: Sequence[str]) -> argparse.Namespace:
    """Read the arguments of one command, from the command line and from the file named by `--config`.

    Args:
        name (`str`): Name of the command.
        module (`ModuleType`): Its module, with `add_arguments`. One that sets `PARSES_CONFIG = True`
            adds `--config` itself, e.g. because its file fills a trainer's dataclass.
        argv (`Sequence[str]`): Arguments after the command's name.
    """
    parser = OneLineParser(prog=f"fourdthinker {name}", description=COMMANDS[name].summary, allow_abbrev=False)
    module.add_arguments(parser)
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="show warnings of the libraries, and their progress bars for loading and saving",
    )
    if not vars(module).get("PARSES_CONFIG", False):
        parser.add_argument(
            "--config", metavar="FILE.yaml", help="YAML file of these arguments; the command line wins over it"
        )
        apply_config_file(parser, argv)
    return parser.parse_args(argv)


def overview_parser() -> argparse.ArgumentParser:
    """The parser that answers when no command is named: `--help`, `--version`, or the list of commands as an error."""
    names = max(map(len, COMMANDS))
    columns = get_terminal_size().columns - 2  # as argparse wraps
    listing = "\n".join(
        fill(
            command.summary,
            max(columns, names + 24),
            initial_indent=f"  {name:<{names}}  ",
            subsequent_indent=" " * (names + 4),
        )
        for name, command in COMMANDS.items()
    )
    parser = OneLineParser(
        prog="fourdthinker",
        usage="fourdthinker [--help] [--version] COMMAND ...",
        description="Train, ask and score vision-language models that think with 4D latent imagery.",
        epilog=f"commands:\n{listing}\n\nfourdthinker COMMAND --help lists a command's arguments.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('fourdthinker')}")
    parser.add_argument("command", metavar="COMMAND", nargs="?", choices=list(COMMANDS), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())

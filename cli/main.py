"""The `fourdthinker` command: find the one asked for, read its arguments, run it, and end bad input in one line."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from types import ModuleType
from typing import NamedTuple, NoReturn

from ..modeling.errors import InputError
from .config_file import apply_config_file


class Command(NamedTuple):
    """Where a command lives and what it does, kept here so that listing the commands imports none of them."""

    module: str
    summary: str


COMMANDS = {
    "init": Command("init", "make a model: one of the tiny ones that ship with the package, or a checkpoint of yours"),
    "ask": Command("ask", "ask a model one question about a video"),
    "build-data": Command("build_data", "turn videos or the rendered world into 4D chain-of-thought rows"),
    "dift": Command("dift", "train with dynamic-imagery fine-tuning, the supervised stage"),
    "grpo": Command("grpo", "train with 4DRL, the reinforcement stage on TRL's GRPO"),
    "best-of-n": Command("best_of_n", "sample reasoning paths, score them by the ST-reward, keep the best as rows"),
    "eval": Command("eval", "score a model on a benchmark"),
    "demo": Command("demo", "do it all once on the rendered world and print the table"),
    "tasks-dir": Command("tasks_dir", "print the folder of lmms-eval tasks, for --include_path"),
    "recipes-dir": Command("recipes_dir", "print the folder of the packaged recipes, e.g. for `accelerate launch`"),
}

# Which extra brings a module that a plain install does not have.
EXTRAS = {"lmms_eval": "eval", "pybullet": "world", "pycolmap": "data", "sam3": "sam3", "gradio": "serve"}


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors take one line: what is wrong, and where the help is."""

    def error(self, message: str) -> NoReturn:
        """Print `message` in one line and exit with code 2."""
        self.exit(2, f"{self.prog}: error: {_one_line(message)} (see `{self.prog} --help`)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv (`Sequence[str]`, *optional*): Arguments after the program's name; those of the process by default.

    Returns:
        `int`: 0 if the command did its work, 2 after bad input, 130 after Ctrl-C. Other exceptions propagate: they are
        defects, and their traceback is wanted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv and argv[0] in COMMANDS:
            return _run(argv[0], argv[1:])
        parser = overview_parser()
        parser.parse_args(argv)
        parser.error("no command given")
    except InputError as error:
        print(f"fourdthinker: error: {_one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(name: str, argv: list[str]) -> int:
    module = importlib.import_module(f"..{COMMANDS[name].module}", __name__)
    args = parse_command(name, module, argv)
    try:
        module.run(args)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS:
            raise
        extra = EXTRAS[missing]
        raise InputError(f'{missing} is not installed: run pip install "fourdthinker[{extra}]"') from error
    return 0


def parse_command(name: str, module: ModuleType, argv: Sequence[str]) -> argparse.Namespace:
    """Read the arguments of one command, from the command line and from the file named by `--config`.

    Args:
        name (`str`): Name of the command.
        module (`ModuleType`): Its module, with `SUMMARY` and `add_arguments`. One that sets `PARSES_CONFIG = True`
            adds `--config` itself, e.g. because its file fills a trainer's dataclass.
        argv (`Sequence[str]`): Arguments after the command's name.
    """
    parser = OneLineParser(prog=f"fourdthinker {name}", description=module.SUMMARY, allow_abbrev=False)
    module.add_arguments(parser)
    if not vars(module).get("PARSES_CONFIG", False):
        parser.add_argument(
            "--config", metavar="FILE.yaml", help="YAML file of these arguments; the command line wins over it"
        )
        apply_config_file(parser, argv)
    return parser.parse_args(argv)


def overview_parser() -> argparse.ArgumentParser:
    """The parser that answers when no command is named: `--help`, `--version`, or the list of commands as an error."""
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = OneLineParser(
        prog="fourdthinker",
        usage="fourdthinker [--help] [--version] COMMAND ...",
        description="Train, ask and score vision-language models that think with 4D latent imagery.",
        epilog=f"commands:\n{listing}\n\nfourdthinker COMMAND --help tells each command's arguments.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('fourdthinker')}")
    parser.add_argument("command", metavar="COMMAND", nargs="?", choices=list(COMMANDS), help=argparse.SUPPRESS)
    return parser


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


if __name__ == "__main__":
    sys.exit(main())

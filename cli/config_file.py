"""`--config FILE.yaml`: fill a command's arguments from a YAML file."""

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..modeling.errors import InputError
from ..modeling.text_files import read_text
from .yaml_values import parse_document, to_bool, to_text


def apply_config_file(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Make the values of the file named by `--config` in `argv` the parser's defaults.

    So a flag on the command line wins over the file, and a required argument may stand in either.

    Args:
        parser (`argparse.ArgumentParser`): The command's parser, complete.
        argv (`Sequence[str]`): The command's arguments.

    Raises:
        InputError: If the file is missing, is no YAML mapping, or holds an unknown key or a value of the wrong kind.
    """
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument("--config")
    try:
        path = finder.parse_known_args(list(argv))[0].config
    except argparse.ArgumentError:  # `--config` without a value: the command's own parser says so
        return
    if path is None:
        return
    actions = {action.dest: action for action in parser._actions if action.dest not in ("help", "config")}
    for key, value in read_config_file(path).items():
        dest = str(key).replace("-", "_")
        if dest not in actions:
            raise InputError(f"{path}: unknown key {key!r}{_suggestion(dest, actions)}")
        if value is None:  # `key:` with nothing after it leaves the default
            continue
        action = actions[dest]
        converted = _value(parser, action, value, f"{path}: {key}")
        groups = [group for group in parser._mutually_exclusive_groups if action in group._group_actions]
        if any(_is_named(rival, argv) for group in groups for rival in group._group_actions):
            continue  # the command line chose between the alternatives
        action.default, action.required = converted, False
        for group in groups:
            group.required = False


def read_config_file(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping, or raise `InputError` with one line that names the file and the place.

    Values are those of `parse_document`: what a word such as `no` means is left to the argument that takes it.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give --config a YAML file") from error
    try:
        content = parse_document(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        place = f" at line {mark.line + 1}" if mark else ""
        raise InputError(f"{path} is not valid YAML{place}; write one `argument: value` a line") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no arguments; write one `argument: value` a line")
    return content


def _is_named(action: argparse.Action, argv: Sequence[str]) -> bool:
    return any(item.partition("=")[0] in action.option_strings for item in argv)


def _value(parser: argparse.ArgumentParser, action: argparse.Action, value: Any, where: str) -> Any:
    if action.nargs == 0:  # a switch
        switched = to_bool(value)
        if switched is None:
            raise InputError(f"{where} must be true or false, not {value!r}")
        return switched
    if action.nargs in ("*", "+") or isinstance(action.nargs, int):
        items = value if isinstance(value, list) else [value]
        if (action.nargs == "+" and not items) or (isinstance(action.nargs, int) and len(items) != action.nargs):
            raise InputError(f"{where} must be a list of {'some' if action.nargs == '+' else action.nargs} values")
        return [_scalar(parser, action, item, where) for item in items]
    return _scalar(parser, action, value, where)


def _scalar(parser: argparse.ArgumentParser, action: argparse.Action, value: Any, where: str) -> Any:
    if isinstance(value, (dict, list)):
        raise InputError(f"{where} must be one value, not {value!r}; put text in quotes")
    try:
        # The very conversion that argparse does on the command line, so both ways accept the same texts.
        converted = parser._get_value(action, to_text(value))
        parser._check_value(action, converted)
    except argparse.ArgumentError as error:
        raise InputError(f"{where}: {error.message}") from error
    return converted


def _suggestion(key: str, known: dict[str, argparse.Action]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(sorted(known)) or 'none'}"

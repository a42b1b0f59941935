"""Command-line options for every field of a trainer's dataclass: `--learning_rate 1e-5`, as in TRL's own commands."""

import argparse
import copy
from collections.abc import Sequence
from typing import Any

import yaml

from ..modeling.errors import InputError
from .setting_fields import UNKNOWN, SettingField, read_fields, read_groups
from .yaml_values import parse_value, to_text

# Options of the commands themselves, which no field of the same meaning doubles.
_OWN_OPTIONS = ("output_dir", "model_name_or_path")
_LIBRARIES = {
    "trl": "fields of TRL's configuration",
    "transformers": "fields of transformers' TrainingArguments",
}
_MODEL_CLASSES = ("ModelSettings", "ModelConfig")
_METAVARS = {"int": "N", "float": "X", "text": "TEXT", "mapping": "JSON"}


def add_setting_arguments(parser: argparse.ArgumentParser, stage: str) -> None:
    """Add `--set`, an option for each field of a stage, and `--help-all`.

    Given values are collected in `settings`, a dictionary; a later one wins. `--help` shows our own fields under the
    headings of the configuration's docstring, `--help-all` those of TRL and transformers as well.

    Args:
        parser (`argparse.ArgumentParser`): The command's parser, with all other options.
        stage (`str`): `"dift"` or `"grpo"`.
    """
    parser.formatter_class = _OneSpelling
    parser.usage = (
        "%(prog)s [-h] [--config FILE.yaml] [--recipe NAME] [--model M]\n"
        "       [--dataset D] [--output O] [--FIELD VALUE ...]"
    )
    parser.set_defaults(settings={})
    parser.add_argument(
        "--set",
        action=_StoreAssignment,
        default=argparse.SUPPRESS,
        metavar="FIELD=VALUE",
        help="the same as --FIELD VALUE, e.g. --set learning_rate=1e-5; may be repeated",
    )
    parser.add_argument("--help-all", action=_HelpAll, help="also list the fields of TRL and transformers, and exit")
    taken = parser._option_string_actions
    fields = {name: field for name, field in read_fields(stage).items() if f"--{name}" not in taken}
    headings = read_groups(stage).items()
    groups = {heading: [fields[name] for name in names if name in fields] for heading, names in headings}
    shown = {field.name for members in groups.values() for field in members}
    for heading, members in groups.items():
        _add_group(parser, heading[:1].lower() + heading[1:], members, is_shown=True)
    others = [field for field in fields.values() if field.name not in shown and field.name not in _OWN_OPTIONS]
    model = [field for field in others if field.owner in _MODEL_CLASSES]
    _add_group(parser, "fields of the model, adapters and quantization", model, is_shown=False)
    for package, heading in _LIBRARIES.items():
        members = [field for field in others if field not in model and field.package in (package, "fourdthinker")]
        _add_group(parser, heading, members, is_shown=False)
        others = [field for field in others if field not in members]
    # No field, but looked for here: `check_settings` says where it is chosen, as for a recipe.
    parser.add_argument(
        *_option_names("latent_size"),
        action=_StoreSetting,
        dest="latent_size",
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )


def _add_group(parser: argparse.ArgumentParser, heading: str, fields: Sequence[SettingField], is_shown: bool) -> None:
    group = parser.add_argument_group(heading)
    for field in fields:
        action = group.add_argument(*_option_names(field.name), **_describe(field))
        hidden = [action]
        if field.kinds == ("bool",) and field.default is True:  # as `HfArgumentParser` has them
            hidden.append(group.add_argument(*_option_names(f"no_{field.name}"), action=_StoreFalse, dest=field.name))
        for option in hidden:
            option.full_help = option.help  # type: ignore[attr-defined]
            if not is_shown or option is not action:
                option.help = argparse.SUPPRESS


def _option_names(name: str) -> list[str]:
    return list(dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")))


def _describe(field: SettingField) -> dict[str, Any]:
    """Arguments of `add_argument`. Values stay text here: `resolve_settings` converts them, as it does a recipe's."""
    described: dict[str, Any] = {"action": _StoreSetting, "dest": field.name, "default": argparse.SUPPRESS}
    text = field.help.replace("%%", "%").replace("%", "%%")
    if field.default not in (UNKNOWN, None, ""):
        text = f"{text.rstrip('.')} (default: {to_text(field.default)})".replace("%%)", ")")
    described["help"] = text
    if "list" in field.kinds:
        return {**described, "nargs": "+", "metavar": "TEXT" if "text" in field.kinds else "VALUE"}
    if "bool" in field.kinds and "text" not in field.kinds:
        return {**described, "nargs": "?", "const": "true", "metavar": "true|false"}
    metavar = "|".join(field.choices) if 0 < len(field.choices) <= 4 else _METAVARS[field.kinds[0]]
    return {**described, "metavar": metavar}


class _StoreSetting(argparse.Action):
    """Keep a field's value in `settings`, read as `--set` reads it."""

    def __call__(self, parser, namespace, values, option_string=None):
        if isinstance(values, list):
            several = len(values) > 1 or self.metavar == "VALUE"
            values = values if several and not values[0].startswith("[") else values[0]
        store_setting(namespace, self.dest, values, f"{option_string} {values}")


class _StoreFalse(argparse.Action):
    """`--no_FIELD`."""

    def __init__(self, option_strings, dest, **kwargs):
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=f"set {dest} to false")

    def __call__(self, parser, namespace, values, option_string=None):
        store_setting(namespace, self.dest, "false", str(option_string))


class _StoreAssignment(argparse.Action):
    """`--set FIELD=VALUE`."""

    def __call__(self, parser, namespace, values, option_string=None):
        field, equals, value = values.partition("=")
        if not equals:
            raise InputError(f"--set {values}: write it as FIELD=VALUE")
        store_setting(namespace, field, value, f"--set {values}")


class _OneSpelling(argparse.HelpFormatter):
    """Shows `--learning_rate` and not `--learning-rate` beside it."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        shown = copy.copy(action)
        spellings = {option.replace("_", "-"): option for option in reversed(action.option_strings)}
        shown.option_strings = list(reversed(spellings.values()))
        return super()._format_action_invocation(shown)


class _HelpAll(argparse.Action):
    """Print the help with every field, and exit."""

    def __init__(self, option_strings, dest, **kwargs):
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=kwargs.get("help"))

    def __call__(self, parser, namespace, values, option_string=None):
        for action in parser._actions:
            action.help = getattr(action, "full_help", action.help)
        parser.print_help()
        parser.exit()


def store_setting(namespace: argparse.Namespace, name: str, value: str | list[str], typed: str) -> None:
    """Put one value into `settings`.

    Args:
        namespace (`argparse.Namespace`): What is parsed so far.
        name (`str`): The field.
        value (`str` or `list[str]`): As it was typed.
        typed (`str`): How an error names it.
    """
    try:
        parsed = [parse_value(item) for item in value] if isinstance(value, list) else parse_value(value)
    except yaml.YAMLError as error:
        raise InputError(f"{typed}: the value is neither a word nor a list or mapping in YAML") from error
    # A copy: the parser's default is shared by all that it parses.
    namespace.settings = {**namespace.settings, name: parsed}

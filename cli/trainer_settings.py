"""The fields of a trainer's dataclasses from what a recipe and `--set` say."""

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, get_args, get_type_hints

from ..modeling.errors import InputError
from .yaml_values import to_bool, to_text


def resolve_settings(classes: Sequence[type], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Convert settings to what their fields take, and give all others their defaults.

    A word such as `no` stays a word where a field takes words and is a bool where it takes one. `None` is `None`
    where a field takes it; elsewhere the default stays.

    Args:
        classes (`Sequence[type]`): Dataclasses, a trainer's configuration first.
        settings (`Mapping[str, Any]`): Values as `parse_document` gives them.

    Returns:
        `dict[str, Any]`: A value for each field, before `__post_init__` sees it.

    Raises:
        InputError: For a field that none of the classes has, or a value that it does not take.
    """
    from transformers import HfArgumentParser

    class OneLineParser(HfArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise InputError(message)

    fields = [field for one in classes for field in dataclasses.fields(one)]
    known = {field.name for field in fields if field.init} - {"output_dir"}
    kinds = {name: kind for one in classes for name, kind in get_type_hints(one).items()}
    arguments: list[str] = []
    for name, value in settings.items():
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it is no field of {classes[0].__name__}"
            raise InputError(f"unknown setting {name!r}: {hint}")
        arguments += _as_arguments(name, value, kinds[name])
    values = vars(OneLineParser(list(classes)).parse_args(arguments))
    nones = {name: None for name, value in settings.items() if value is None and type(None) in get_args(kinds[name])}
    return values | nones


def _as_arguments(name: str, value: Any, kind: Any) -> list[str]:
    # As text, so that a file's `1e-5` (a string to YAML) and the command line's go through one conversion.
    if value is None:
        return []
    if isinstance(value, list):
        return [f"--{name}", *map(to_text, value)]
    if isinstance(value, dict):
        return [f"--{name}={json.dumps(value)}"]
    if (kind is bool or bool in get_args(kind)) and str not in get_args(kind) and to_bool(value) is not None:
        value = to_bool(value)
    return [f"--{name}={to_text(value)}"]

"""The fields of a trainer's dataclasses from what a recipe and `--set` say."""

import dataclasses
import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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


@contextmanager
def naming_missing_packages() -> Iterator[None]:
    """A setting whose package is not installed, such as a tracker's or a kernel's, ends in one line."""
    try:
        yield
    except (ImportError, RuntimeError) as error:
        if "installed" not in str(error) and not isinstance(error, ImportError):
            raise
        raise InputError(f"a setting needs what is not installed: {error}") from error


def check_settings(config: Any, model_settings: Any) -> None:
    """Check values that the trainer's classes take and that end a run in a traceback.

    Args:
        config (`transformers.TrainingArguments`): The trainer's configuration.
        model_settings ([`ModelSettings`]): What concerns the model.

    Raises:
        InputError: For the first value that cannot be used.
    """
    from transformers.integrations import get_reporting_integration_callbacks

    if not 0 <= config.learning_rate < math.inf:
        raise InputError(f"learning_rate is {config.learning_rate}: give a number of 0 or more")
    for name in ("seed", "data_seed"):
        value = getattr(config, name)
        if value is not None and not 0 <= value < 2**32:
            raise InputError(f"{name} is {value}: give one between 0 and {2**32 - 1}")
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}: give 1 or more")
    if model_settings.use_peft and model_settings.lora_r < 1:
        raise InputError(f"lora_r is {model_settings.lora_r}: give 1 or more")
    try:
        get_reporting_integration_callbacks(config.report_to)
    except ValueError as error:
        raise InputError(f"report_to: {error}") from error


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

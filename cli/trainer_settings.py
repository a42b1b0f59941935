"""Validate settings of a recipe and `--set`, and build a trainer's dataclasses from them."""

import dataclasses
import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from ..modeling.errors import InputError
from ..modeling.registration import defer_registration
from .setting_fields import CLASSES, UNKNOWN, SettingField, read_fields
from .yaml_values import to_bool, to_text

# Fields whose mapping may stand in a JSON file.
JSON_FILES = ("deepspeed", "fsdp_config", "accelerator_config")
# Fields that belong to a trainer used from Python, with what a command offers instead.
_WITHOUT_EFFECT = {
    "resume_from_checkpoint": "the same command resumes an interrupted run by itself; leave it out",
    "push_to_hub": "leave it out, and upload the output folder by `fourdthinker publish model` after training",
}
# What `HfArgumentParser` takes for a bool beside YAML's words.
_TRUE_WORDS, _FALSE_WORDS = ("y", "t", "1"), ("n", "f", "0")


def check_settings(stage: str, settings: Mapping[str, Any]) -> None:
    """Check names and single values of settings without importing the dataclasses, which takes seconds.

    Args:
        stage (`str`): `"dift"` or `"grpo"`.
        settings (`Mapping[str, Any]`): Values as `parse_document` gives them.

    Raises:
        InputError: For a field that the stage does not have, or a value that its field does not take.
    """
    fields = read_fields(stage)
    for name, value in settings.items() if fields else ():
        if name not in fields or name == "output_dir":
            raise _unknown_setting(name, fields.keys() - {"output_dir"}, CLASSES[stage][0])
        if fault := find_value_fault(fields[name], value):
            raise InputError(f"{name}: {fault}")
        if name in _WITHOUT_EFFECT and value is not None and to_bool(value) is not False:
            raise InputError(f"{name} has no effect here: {_WITHOUT_EFFECT[name]}")
    if fields:
        values = {name: None if field.default is UNKNOWN else field.default for name, field in fields.items()}
        values |= {name: _convert(fields[name], value) for name, value in settings.items() if value is not None}
        with defer_registration():
            _check_together(stage, SimpleNamespace(**values))


def _check_together(stage: str, settings: SimpleNamespace) -> None:
    from ..trainers.common.setting_rules import (
        check_adapter_rules,
        check_best_model_rules,
        check_common_rules,
        check_precision_rules,
    )

    for check in (check_common_rules, check_adapter_rules, check_precision_rules, check_best_model_rules):
        check(settings)
    if stage == "dift":
        from ..trainers.dift.setting_rules import check_dift_rules, check_mask_rules

        for check in (check_dift_rules, check_mask_rules):
            check(settings)
    else:
        from ..trainers.grpo.setting_rules import (
            check_group_rules,
            check_grpo_rules,
            check_reward_rules,
            check_sampling_rules,
        )

        for check in (check_grpo_rules, check_sampling_rules, check_group_rules, check_reward_rules):
            check(settings)


def _convert(field: SettingField, value: Any) -> Any:
    """A checked value as its field takes it, where that is a number, a bool or a word."""
    if "bool" in field.kinds and "text" not in field.kinds:
        switched = to_bool(value)
        return to_text(value).lower() in _TRUE_WORDS if switched is None else switched
    if field.kinds in (("int",), ("float",)):
        return {"int": int, "float": float}[field.kinds[0]](to_text(value))
    # YAML reads some words, such as `no`, as a bool.
    return to_text(value) if "bool" not in field.kinds and isinstance(value, bool) else value


def find_value_fault(field: SettingField, value: Any) -> str | None:
    """Find what is wrong with a value of a field; `None` if nothing can be found without the dataclass."""
    if value is None:
        return None
    if isinstance(value, list):
        if "list" not in field.kinds:
            return f"takes one value, not the list {value!r}"
        return next(filter(None, (_scalar_fault((field.items,), item) for item in value)), None)
    if isinstance(value, dict):
        return None if "mapping" in field.kinds else f"takes one value, not {value!r}"
    if field.choices and to_text(value) not in field.choices:
        return f"invalid choice: {to_text(value)!r} (choose from {', '.join(field.choices)})"
    return _scalar_fault(_scalar_kinds(field), value)


def _scalar_kinds(field: SettingField) -> tuple[str, ...]:
    """What a value that is no list may be. A mapping is typed as text where the class reads JSON itself."""
    if field.kinds == ("list",):
        return (field.items,)
    return ("mapping",) if "mapping" in field.kinds and field.name not in JSON_FILES else field.kinds


def _scalar_fault(kinds: Sequence[str], value: Any) -> str | None:
    text = to_text(value)
    if "mapping" in kinds and (text.startswith("{") or "text" not in kinds):
        try:
            return None if isinstance(json.loads(text), dict) else f"{text!r} is no mapping"
        except ValueError:
            return f"{text!r} is no mapping: write it as JSON"
    if "text" in kinds or any(_is_of_kind(kind, text) for kind in kinds):
        return None
    return f"invalid {kinds[0]} value: {text!r}"


def _is_of_kind(kind: str, text: str) -> bool:
    if kind == "bool":
        return to_bool(text) is not None or text.lower() in (*_TRUE_WORDS, *_FALSE_WORDS)
    try:
        return {"int": int, "float": float}[kind](text) is not None
    except (KeyError, ValueError):
        return False


def _unknown_setting(name: str, known: Collection[str], owner: str) -> InputError:
    own, other = sorted(CLASSES, key=lambda stage: owner not in CLASSES[stage])
    if name in read_fields(other).keys() - read_fields(own).keys():
        return InputError(f"unknown setting {name!r}: it belongs to `fourdthinker {other}`")
    if name == "latent_size":
        return InputError(f"unknown setting {name!r}: choose it for the model, by `fourdthinker init --latent-size`")
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it is no field of {owner}"
    return InputError(f"unknown setting {name!r}: {hint}")


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
    as_they_are: dict[str, Any] = {}  # what the parser has no way to write
    for name, value in settings.items():
        if name not in known:
            raise _unknown_setting(name, known, classes[0].__name__)
        members = get_args(kinds[name])
        is_list_of_texts = isinstance(value, list) and any(get_origin(member) is list for member in members)
        if (is_list_of_texts and str in members) or (value is None and type(None) in members):
            as_they_are[name] = value
        else:
            arguments += _as_arguments(name, value, kinds[name])
    return vars(OneLineParser(list(classes)).parse_args(arguments)) | as_they_are


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

"""Describe how two sets of settings differ."""

from collections.abc import Mapping
from typing import Any


def describe_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Name each field that differs, with its old and its new value; empty if none does.

    Args:
        before (`Mapping[str, Any]`): What something was made with.
        after (`Mapping[str, Any]`): What is asked for now.

    Example:
        >>> describe_differences({"seed": 0, "n": 3}, {"seed": 1, "n": 3})
        'seed was 0 and is now 1'
    """
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    return ", ".join(f"{name} was {_value(before.get(name))} and is now {_value(after.get(name))}" for name in names)


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)

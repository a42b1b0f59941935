"""YAML whose values mean what their field takes: `no` is a word for one field and false for another.

PyYAML reads YAML 1.1, in which `no` and `off` are false, `1e-5` is text, `012` is ten and `12:30` is 750. So plain
values are read as numbers only where writing the number gives the same text, as `true`, `false` or nothing; any
other stays the text as it was typed, and the field converts it. Inside a mapping that is itself a value there is no
field to ask, and YAML's own reading holds.
"""

import re
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader` that knows floats without a point, as YAML 1.2 does."""


_Loader.add_implicit_resolver(f"{_TAG}float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789"))


def parse_document(text: str) -> Any:
    """The content of a YAML file; of a mapping the keys are text, and values may be text that a field must convert.

    Raises:
        yaml.YAMLError: If it is no YAML, or holds more than plain data.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if isinstance(node, yaml.MappingNode):
            loader.flatten_mapping(node)
            for pair in node.value:
                for part in pair:
                    _keep_text(part)
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def parse_value(text: str) -> Any:
    """One value as it is typed on a command line: a list, a mapping or quoted text is read as YAML, else it is text.

    Raises:
        yaml.YAMLError: If what looks like a list, a mapping or quoted text is none.
    """
    if text[:1] in ("[", "{", '"', "'"):
        return parse_document(f"value: {text}")["value"]
    loader = _Loader("")
    try:
        node = yaml.ScalarNode(loader.resolve(yaml.ScalarNode, text, (True, False)), text)
        _keep_text(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def to_bool(value: Any) -> bool | None:
    """`True` and `False`, or one of YAML's words for them, as a bool; `None` for anything else."""
    return value if isinstance(value, bool) else _BOOLS.get(str(value).lower())


def to_text(value: Any) -> str:
    """A scalar as it is written in YAML."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _keep_text(node: yaml.Node) -> None:
    """Make a scalar, or the scalars of a list, text unless its value gives the same text again."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _keep_text(item)
    elif isinstance(node, yaml.ScalarNode) and node.tag.startswith(_TAG) and not _is_same_when_written(node):
        node.tag = f"{_TAG}str"


def _is_same_when_written(node: yaml.ScalarNode) -> bool:
    text, kind = node.value, node.tag.removeprefix(_TAG)
    if kind == "bool":
        return text in ("true", "false")
    if kind == "int":
        return re.fullmatch(r"0|-?[1-9][0-9]*", text) is not None
    if kind == "float":
        # With a point and an exponent, or as `.inf`, it is a number to everybody.
        return text.lower().endswith(("inf", "nan")) or "." in text and "e" in text.lower() or _is_shortest(text)
    return kind not in ("timestamp", "value", "merge")


def _is_shortest(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]+\.[0-9]+", text) is not None and repr(float(text)) == text

"""Fields of the training commands' dataclasses, read from their source text, so that no library is imported.

The dataclasses stay the only place that defines a field: what is read here is the text of the installed versions.
What cannot be read this way, e.g. a default that is computed, is left to the dataclass itself.
"""

import ast
import functools
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]
_OWN_SOURCES = {
    "dift": (
        "trainers/dift/dift_config.py",
        "trainers/common/model_settings.py",
        "modeling/configuration_latent.py",
        "modeling/row_rules.py",
    ),
    "grpo": (
        "trainers/grpo/grpo_config.py",
        "trainers/common/model_settings.py",
        "trainers/rewards/spatiotemporal.py",
        "modeling/row_rules.py",
    ),
}
_LIBRARY_SOURCES = (
    ("trl", ("trainer/sft_config.py", "trainer/grpo_config.py", "trainer/base_config.py", "trainer/model_config.py")),
    ("transformers", ("training_args.py", "trainer_utils.py", "debug_utils.py")),
)
CLASSES = {"dift": ("DIFTConfig", "ModelSettings"), "grpo": ("LatentGRPOConfig", "ModelSettings")}
UNKNOWN = object()  # a default that only the dataclass can compute


@dataclass(frozen=True)
class SettingField:
    """One field of a training command.

    Attributes:
        name (`str`): Its name.
        kinds (`tuple[str, ...]`): What it takes: `"bool"`, `"int"`, `"float"`, `"text"`, `"list"` or `"mapping"`.
        items (`str`): What a list holds, one of the first four.
        choices (`tuple[str, ...]`): The only values, as text; empty if there are others, or if they are computed.
        default: The default, or `UNKNOWN`.
        help (`str`): One or two sentences.
        owner (`str`): The class that defines it last, e.g. `"DIFTConfig"`.
        package (`str`): Of that class: `"fourdthinker"`, `"trl"` or `"transformers"`.
    """

    name: str
    kinds: tuple[str, ...]
    items: str
    choices: tuple[str, ...]
    default: Any
    help: str
    owner: str
    package: str


@functools.cache
def read_fields(stage: str) -> dict[str, SettingField]:
    """Fields of a stage's trainer and model settings by name; empty if the installed libraries keep them elsewhere.

    Args:
        stage (`str`): `"dift"` or `"grpo"`.
    """
    sources = _Sources(stage)
    fields: dict[str, SettingField] = {}
    for name in CLASSES[stage]:
        if not sources.add_fields(name, fields):
            return {}
    return fields


@functools.cache
def read_groups(stage: str) -> dict[str, list[str]]:
    """Our own fields by the headings of the configuration's docstring, e.g. `"Parameters that control cost"`."""
    config = _Sources(stage).classes[CLASSES[stage][0]][0]
    groups: dict[str, list[str]] = {}
    heading = ""
    for line in (ast.get_docstring(config) or "").splitlines():
        name, bracket, _ = line.strip().partition(" (`")
        if line.startswith("> "):
            heading = line[2:].strip()
        elif bracket and line.startswith("    ") and not line.startswith("     "):
            groups.setdefault(heading, []).append(name)
    return groups


class _Sources:
    """The classes and constants of the files in which a stage's fields are defined."""

    def __init__(self, stage: str):
        self.classes: dict[str, tuple[ast.ClassDef, str]] = {}  # with the package
        self._constants: dict[str, Any] = {}
        for package, path in _paths(stage):
            module = ast.parse(path.read_text(encoding="utf-8"))
            for node in module.body:
                if isinstance(node, ast.ClassDef):
                    self.classes.setdefault(node.name, (node, package))
                elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    self._constants.setdefault(node.targets[0].id, _literal(node.value))

    def add_fields(self, name: str, fields: dict[str, SettingField]) -> bool:
        """Add the fields of a class and of its bases, and return whether all of them were found."""
        if name not in self.classes:
            return False
        node, package = self.classes[name]
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        if not all(self.add_fields(base, fields) for base in reversed(bases)):
            return False
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                field = self._field(item, name, package)
                if field is not None:
                    fields[field.name] = field
        return True

    def _field(self, item: ast.AnnAssign, owner: str, package: str) -> SettingField | None:
        assert isinstance(item.target, ast.Name)
        members = [member for member in _union(item.annotation) if member != "None"]
        if members and members[0].startswith("ClassVar"):
            return None
        keywords: dict[str, ast.expr] = {}
        default = _literal(item.value) if item.value is not None else UNKNOWN
        if isinstance(item.value, ast.Call):
            keywords = {keyword.arg: keyword.value for keyword in item.value.keywords if keyword.arg}
            if _literal(keywords.get("init")) is False:
                return None
            default = _literal(keywords.get("default"))
        choices, text = self._metadata(keywords.get("metadata"))
        enumeration = next((values for member in members if (values := self._enumeration(member))), ())
        lists = [member for member in members if member.startswith("list[")]
        return SettingField(
            name=item.target.id,
            kinds=tuple(dict.fromkeys("text" if self._enumeration(member) else _kind(member) for member in members)),
            items=_kind(lists[0][len("list[") : -1]) if lists else "text",
            choices=choices or enumeration,
            default=default,
            help=text,
            owner=owner,
            package=package,
        )

    def _metadata(self, node: ast.expr | None) -> tuple[tuple[str, ...], str]:
        """Choices and help of `field(metadata={...})`."""
        if not isinstance(node, ast.Dict):
            return (), ""
        entries = {_literal(key): value for key, value in zip(node.keys, node.values, strict=True)}
        choices, text = entries.get("choices"), _literal(entries.get("help"))
        if isinstance(choices, ast.Call) and choices.args:  # `list(CHOICES)`
            choices = choices.args[0]
        values: Any = self._constants.get(choices.id) if isinstance(choices, ast.Name) else _literal(choices)
        known = tuple(map(str, values)) if isinstance(values, (list, tuple)) else ()
        return known, text if isinstance(text, str) else ""

    def _enumeration(self, name: str) -> tuple[str, ...]:
        """The values of an enumeration of words; empty for any other class."""
        node, _ = self.classes.get(name, (None, ""))
        if node is None or not any("Enum" in ast.unparse(base) for base in node.bases):
            return ()
        values = [_literal(item.value) for item in node.body if isinstance(item, ast.Assign)]
        return tuple(value for value in values if isinstance(value, str))


def _paths(stage: str) -> Iterator[tuple[str, Path]]:
    yield from (("fourdthinker", _PACKAGE / name) for name in _OWN_SOURCES[stage])
    for package, names in _LIBRARY_SOURCES:
        found = importlib.util.find_spec(package)  # of a package this finds its folder, and imports nothing
        for folder in (found and found.submodule_search_locations) or ():
            yield from ((package, Path(folder, name)) for name in names if Path(folder, name).is_file())


def _union(node: ast.expr) -> list[str]:
    """The members of an annotation, each as text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _union(ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.BinOp):
        return [*_union(node.left), *_union(node.right)]
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("Optional", "Union"):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [member for part in parts for member in _union(part)]
    return [ast.unparse(node)]


def _kind(member: str) -> str:
    if member in ("bool", "int", "float"):
        return member
    base = member.partition("[")[0].lower()
    return {"list": "list", "dict": "mapping"}.get(base, "text")


def _literal(node: ast.expr | None) -> Any:
    if node is None:
        return UNKNOWN
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN

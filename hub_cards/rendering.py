"""Render card templates, and escape text from data so that it stays in its place."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..modeling.pages import load_text_template
from .settings import without_paths

_TEMPLATES = Path(__file__).parent / "templates"
# A number as it stands in a table, perhaps with a unit and an interval; a dash where there is none.
_NUMBER = re.compile(r"–|[-+]?\d[\d,]*(?:\.\d+)?(?: %)?(?: \(.*\))?")
# A Hub id: an owner and a name. A local path can look the same, so callers ask the file system too.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def render(template: str, **values: Any) -> str:
    """Fill one of the templates. Every value that it names is required; `None` leaves a part out.

    Args:
        template (`str`): File name in `hub_cards/templates`.
        values: What the template names.
    """
    # Markdown, not HTML: `inline` and `fence` guard what comes from data.
    filters: dict[str, Callable[..., str]] = {
        one.__name__: one for one in (inline, fence, literal, percent, table, hub_link)
    }
    return load_text_template(_TEMPLATES, template, filters).render(**values)


def inline(text: object) -> str:
    """Text for one line of Markdown: no line breaks, no HTML, no table borders, no links or code that it did not have.

    Args:
        text: Anything; its `str` is taken.
    """
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*\[\]|~])", r"\\\1", line)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", line)  # inside a word an underscore is plain text


def fence(text: str, language: str = "") -> str:
    """A fenced block that its own content cannot close.

    Args:
        text (`str`): The content.
        language (`str`, *optional*): Name after the opening ticks.
    """
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and numbers to the right.

    Args:
        lines (`Sequence[Sequence[str]]`): The heading first. Cells are escaped, but those that are `Markup`.
    """
    heading, *rows = ([cell if isinstance(cell, Markup) else inline(cell) for cell in line] for line in lines)
    numeric = [rows and all(_NUMBER.fullmatch(row[place]) for row in rows) for place in range(len(heading))]
    rule = ["---:" if place and numeric[place] else "---" for place in range(len(heading))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, rule, *rows))


class Markup(str):
    """Markdown that has been made safe already."""


def hub_link(name: str, kind: str = "") -> str:
    """A name that links to its repository on the Hub where it can only be one; else the name alone.

    Args:
        name (`str`): A Hub id, the name of a folder, or words.
        kind (`str`, *optional*): Before the id in an address: `"datasets/"` or nothing.
    """
    return Markup(f"[{inline(name)}](https://huggingface.co/{kind}{name})" if is_hub_id(name) else inline(name))


def literal(text: str) -> str:
    """Text as a Python literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def percent(share: float) -> str:
    """`0.914` as `91.4 %`."""
    return f"{100 * share:.1f} %"


def one_line(text: str) -> str:
    """Text for a value in the YAML header: line breaks and control characters become spaces.

    Quoting is the YAML writer's work; this keeps a value from ever standing on a line of its own.
    """
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def is_hub_id(name: str) -> bool:
    """Whether a name can only mean a repository on the Hub, not a folder here."""
    return bool(HUB_ID.fullmatch(name)) and not Path(name).exists()


def short_name(name: str) -> str:
    """A Hub id as it is; of a path the last name, which says nothing of this machine."""
    return name if is_hub_id(name) else Path(name).name or name


def recipe_text(recipe: Mapping | str | Path | None) -> str | None:
    """The settings of a run as YAML, without the paths that it read and wrote.

    Args:
        recipe (`Mapping` or path, *optional*): The settings, or a YAML file that holds them.
    """
    if recipe is None:
        return None
    if not isinstance(recipe, Mapping):
        recipe = yaml.safe_load(Path(recipe).read_text(encoding="utf-8")) or {}
    settings = without_paths(recipe)
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if settings else None

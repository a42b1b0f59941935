"""Render card templates, and escape text from data so that it stays in its place."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

_TEMPLATES = Path(__file__).parent / "templates"
# A Hub id: an owner and a name. A local path can look the same, so callers ask the file system too.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def render(template: str, **values: Any) -> str:
    """Fill one of the templates. Every value that it names is required; `None` leaves a part out.

    Args:
        template (`str`): File name in `hub_cards/templates`.
        values: What the template names.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML: `inline` and `fence` guard what comes from data
    )
    environment.filters.update(inline=inline, fence=fence, literal=literal, percent=percent)
    return environment.get_template(template).render(**values)


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
    return bool(_HUB_ID.fullmatch(name)) and not Path(name).exists()


def recipe_text(recipe: Mapping | str | Path | None) -> str | None:
    """A recipe as YAML: the text of a file, or a mapping written out.

    Args:
        recipe (`Mapping` or path, *optional*): The arguments of a run, or the file that held them.
    """
    if recipe is None:
        return None
    if isinstance(recipe, Mapping):
        return yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
    return Path(recipe).read_text(encoding="utf-8")

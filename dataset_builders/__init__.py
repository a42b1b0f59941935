"""Build 4D chain-of-thought rows from videos or the rendered world. Names are imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fourd_cot import FourDCoT
    from .sources.own_rows import read_row_file
    from .world import World

_MODULES = {"FourDCoT": ".fourd_cot", "World": ".world", "read_row_file": ".sources.own_rows"}

__all__ = ["FourDCoT", "World", "read_row_file"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

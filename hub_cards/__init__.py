"""Cards for models and datasets on the Hub, rendered from facts rather than typed."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dataset_card import dataset_card
    from .model_card import model_card

__all__ = ["dataset_card", "model_card"]

_MODULES = {"dataset_card": ".dataset_card", "model_card": ".model_card"}


def __getattr__(name: str) -> Any:
    # Late, so that the package can be imported without jinja and huggingface_hub doing the same.
    if name in _MODULES:
        value = getattr(import_module(_MODULES[name], __name__), name)
        # Importing the sub-module of the same name has put the module here; the function is what is meant.
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

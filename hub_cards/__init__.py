"""Cards for models and datasets on the Hub, rendered from facts rather than typed, and publishing them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dataset_cards import dataset_card, write_dataset_card
    from .model_cards import model_card, write_model_card
    from .publishing.publish import publish_dataset, publish_model, publish_space

__all__ = [
    "dataset_card",
    "model_card",
    "publish_dataset",
    "publish_model",
    "publish_space",
    "write_dataset_card",
    "write_model_card",
]

_MODULES = {
    **dict.fromkeys(("dataset_card", "write_dataset_card"), ".dataset_cards"),
    **dict.fromkeys(("model_card", "write_model_card"), ".model_cards"),
    **dict.fromkeys(("publish_dataset", "publish_model", "publish_space"), ".publishing.publish"),
}


def __getattr__(name: str) -> Any:
    # Late, so that the package can be imported without jinja and huggingface_hub doing the same.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

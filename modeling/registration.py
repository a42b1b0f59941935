"""Register our models with transformers' Auto classes, which imports torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

_FAMILIES = ("modeling_fourdthinker", "modeling_fourdthinker_qwen3_vl")
_deferrals = 0


def register_models() -> None:
    """Register every family, so that stock Auto classes open its folders with our code."""
    for family in _FAMILIES:
        import_module(f".{family}", __package__)  # which registers itself


def register_models_on_import() -> None:
    """[`register_models`] for a package that is being imported, unless within [`defer_registration`]."""
    if not _deferrals:
        register_models()


@contextmanager
def defer_registration() -> Iterator[None]:
    """Within it, importing `fourdthinker.trainers` does not import torch; its trainers register on first use."""
    global _deferrals
    _deferrals += 1
    try:
        yield
    finally:
        _deferrals -= 1

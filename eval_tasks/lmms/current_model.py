"""The model that this process evaluates, for the settings that lmms-eval writes about tasks.

lmms-eval makes the model first and then lets each task describe itself, but shows neither to the other.
"""

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import FourDThinker

_made: "weakref.ref[FourDThinker] | None" = None


def note_model(model: "FourDThinker") -> None:
    """Remember a model of ours for as long as it is used."""
    global _made
    _made = weakref.ref(model)


def current_model() -> "FourDThinker | None":
    """The model of ours that was made last, if it is still there."""
    return _made() if _made else None

"""Training: DIFT, 4DRL and the rewards. Importing registers our models with transformers' Auto classes.

The names themselves load on first use.
"""

import importlib
from typing import Any

from ..modeling.registration import register_models, register_models_on_import

_MODULES = {
    "DIFTCollator": ".dift.dift_collator",
    "DIFTConfig": ".dift.dift_config",
    "DIFTTrainer": ".dift.dift_trainer",
    "LatentGRPOConfig": ".grpo.grpo_config",
    "LatentGRPOTrainer": ".grpo.grpo_trainer",
    "dift_loss": "..modeling.latent_loss",
}

__all__ = sorted(_MODULES)


register_models_on_import()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    register_models()
    value = getattr(importlib.import_module(_MODULES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})

"""Training: DIFT, 4DRL and the rewards. Importing registers our models with transformers' Auto classes.

The names themselves load on first use.
"""

import importlib
import sys
from typing import Any

_MODULES = {
    "DIFTCollator": ".dift.dift_collator",
    "DIFTConfig": ".dift.dift_config",
    "DIFTTrainer": ".dift.dift_trainer",
    "LatentGRPOConfig": ".grpo.grpo_config",
    "LatentGRPOTrainer": ".grpo.grpo_trainer",
    "dift_loss": "..modeling.latent_loss",
}

__all__ = sorted(_MODULES)


def _register_models() -> None:
    for family in ("modeling_fourdthinker", "modeling_fourdthinker_qwen3_vl"):
        importlib.import_module(f"..modeling.{family}", __name__)  # which registers itself


# Commands check settings before torch is imported; they register the models when they come to a trainer.
if "fourdthinker.cli.main" not in sys.modules:
    _register_models()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _register_models()
    value = getattr(importlib.import_module(_MODULES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})

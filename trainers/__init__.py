"""Training: DIFT, 4DRL and the rewards. Importing registers our models with transformers' Auto classes.

The names themselves load on first use.
"""

import importlib
from typing import Any

from ..modeling import modeling_fourdthinker, modeling_fourdthinker_qwen3_vl  # noqa: F401 -- they register themselves

_HOMES = {
    "DIFTCollator": ".dift.dift_collator",
    "DIFTConfig": ".dift.dift_config",
    "DIFTTrainer": ".dift.dift_trainer",
    "LatentGRPOConfig": ".grpo.grpo_config",
    "LatentGRPOTrainer": ".grpo.grpo_trainer",
    "dift_loss": "..modeling.latent_loss",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

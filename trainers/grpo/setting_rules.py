"""Check settings of TRL's GRPO that latents do not support, without importing torch."""

from typing import Any

from ...modeling.errors import InputError


def check_grpo_rules(settings: Any) -> None:
    """Check settings of 4DRL together.

    Args:
        settings: An object with the fields of [`LatentGRPOConfig`] as attributes, such as one of its instances.

    Raises:
        InputError: If rollouts were to leave the model's own `generate`.
    """
    if settings.use_vllm or settings.use_transformers_continuous_batching:
        raise InputError(
            "latents need the model's own generate, which feeds hidden states back: set use_vllm and "
            "use_transformers_continuous_batching to false"
        )

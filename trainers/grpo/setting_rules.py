"""Settings of TRL's GRPO that latents cannot follow, told without torch, so that a command finds them at once."""

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

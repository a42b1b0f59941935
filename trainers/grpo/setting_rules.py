"""Check settings of TRL's GRPO that it or latents do not support, without importing torch."""

from typing import Any

from ...modeling.errors import InputError

# Values that TRL looks at only after a rollout.
_CHOICES = {
    "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "scale_rewards": ("group", "batch", "none", True, False),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "importance_sampling_level": ("token", "sequence"),
}


def check_grpo_rules(settings: Any) -> None:
    """Check settings of 4DRL together.

    Args:
        settings: An object with the fields of [`LatentGRPOConfig`] as attributes, such as one of its instances.

    Raises:
        InputError: For a value that TRL does not know, or if rollouts were to leave the model's own `generate`.
    """
    for name, choices in _CHOICES.items():
        if getattr(settings, name) not in choices:
            known = ", ".join(choice for choice in choices if isinstance(choice, str))
            raise InputError(f"{name} is {getattr(settings, name)!r}: choose one of {known}")
    if settings.use_vllm or settings.use_transformers_continuous_batching:
        raise InputError(
            "latents need the model's own generate, which feeds hidden states back: set use_vllm and "
            "use_transformers_continuous_batching to false"
        )

"""Activation checkpointing under the two names that transformers gives it.

transformers 5.24 calls `activation_checkpointing` what was `gradient_checkpointing`, and warns about the old name, for
which TRL has a default. Our configurations have the new name with every version.
"""

from typing import Any

_NAMES = (
    ("activation_checkpointing", "gradient_checkpointing"),
    ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"),
)


def settle_activation_checkpointing(config: Any, default: bool) -> None:
    """Give both names of a configuration one value, before `__post_init__` of transformers reads either.

    Args:
        config ([`DIFTConfig`] or [`LatentGRPOConfig`]): Changed in place. Where both names are set, the new one wins.
        default (`bool`): What holds where neither is set.
    """
    for new, old in _NAMES:
        value = getattr(config, old) if getattr(config, new) is None else getattr(config, new)
        setattr(config, new, value)
        setattr(config, old, value)
    if config.activation_checkpointing is None:
        config.activation_checkpointing = config.gradient_checkpointing = default

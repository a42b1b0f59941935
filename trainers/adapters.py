"""Adapters (PEFT) for models with latents."""

from dataclasses import replace

from peft import LoraConfig, PeftConfig
from transformers import PreTrainedConfig

_TOWER = r"(^|.*\.)visual\..*"


def fitted_adapter(adapter: PeftConfig | None, config: PreTrainedConfig, new_tokens: bool = True) -> PeftConfig | None:
    """An adapter as a model with latents needs it, where it leaves things open.

    One of LoRA then reaches all linear layers of the language model and spares the vision tower, whose features are
    targets.

    Args:
        adapter (`peft.PeftConfig`, *optional*): What it says itself stays; one of another kind stays as it is.
        config: The model's configuration.
        new_tokens (`bool`, *optional*, defaults to `True`):
            Train the embeddings of the three latent tokens as well, which no backbone knows.
    """
    if not isinstance(adapter, LoraConfig):
        return adapter
    missing = {}
    if adapter.target_modules is None and adapter.target_parameters is None:
        missing["target_modules"] = "all-linear"
    if adapter.exclude_modules is None:
        missing["exclude_modules"] = _TOWER
    if new_tokens and adapter.modules_to_save is None and adapter.trainable_token_indices is None:
        tokens = [config.latent_start_token_id, config.latent_token_id, config.latent_end_token_id]
        missing["trainable_token_indices"] = sorted(tokens)
    return replace(adapter, **missing)

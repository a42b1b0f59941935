"""Adapters (PEFT) for models with latents."""

from dataclasses import replace

from peft import LoraConfig, PeftConfig
from peft.utils import TrainableTokensWrapper
from transformers import PreTrainedConfig, PreTrainedModel

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
        tokens = sorted([config.latent_start_token_id, config.latent_token_id, config.latent_end_token_id])
        # A head of its own starts them at the mean of all tokens, whose score is never the largest.
        tied = config.tie_word_embeddings
        missing["trainable_token_indices"] = tokens if tied else {"embed_tokens": tokens, "lm_head": tokens}
    return replace(adapter, **missing)


def why_tokens_stay(model: PreTrainedModel, sharded: bool) -> str | None:
    """Why scoring by TRL's fused head would not see the rows of single tokens that an adapter trains; or nothing.

    Args:
        model: The model without an adapter.
        sharded (`bool`): Whether its weights are spread over processes, see [`weights_are_sharded`].
    """
    if getattr(model.get_output_embeddings(), "bias", None) is not None:
        return "the head has a bias, which PEFT would leave out"
    if sharded:
        return "weights are sharded (FSDP or ZeRO-3), and PEFT puts trained rows into whole tables alone"
    return None


def head_without_bias(model: PreTrainedModel) -> None:
    """Let a head whose rows of some tokens are trained say that it has no bias.

    TRL's fused head reads `weight` and `bias`. PEFT's wrapper of such a head answers the first, with the trained rows
    in it or, switched off, without; of the second it knows nothing, and reading it is an error.
    """
    head = model.get_output_embeddings()
    if isinstance(head, TrainableTokensWrapper) and head.original_module.bias is None:
        head.register_parameter("bias", None)

"""Merge PEFT adapters into their model exactly; reject adapters for which that is not possible."""

import os
import warnings
from dataclasses import fields
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from .errors import InputError

if TYPE_CHECKING:
    from peft import PeftConfig

# Settings that may differ from PEFT's defaults, for each accepted method. All others either change the base model,
# so that the adapter alone does not restore what was trained, or cannot be merged.
_GENERAL = {
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "revision",
    "target_modules",
    "task_type",
}
_LORA = {
    "alpha_pattern",
    "ensure_weight_tying",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "r",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_dora",
    "use_rslora",
}
_ACCEPTED = {
    "LORA": _GENERAL | _LORA,
    "IA3": _GENERAL | {"feedforward_modules", "init_ia3_weights"},
    "TRAINABLE_TOKENS": _GENERAL | {"init_weights", "token_indices"},
}
_VALUES = {
    # The others subtract the adapter's start from the base weights.
    "init_lora_weights": (True, False, "gaussian", "orthogonal"),
    "task_type": (None, "CAUSAL_LM"),
}


def check_adapter(adapter: "PeftConfig") -> None:
    """Reject adapters whose merged model would not be the trained one.

    Args:
        adapter (`peft.PeftConfig`): LoRA (also rsLoRA and DoRA), IA3 or trainable tokens are accepted.

    Raises:
        InputError: For another method, or an option of these that cannot be merged exactly.
    """
    method = getattr(adapter.peft_type, "value", adapter.peft_type)
    accepted = _ACCEPTED.get(method)
    if accepted is None:
        raise InputError(f"adapters of type {method} are not supported: use LoRA, rsLoRA, DoRA or IA3")
    defaults = type(adapter)()
    for name in (field.name for field in fields(adapter)):
        value = getattr(adapter, name)
        if name in _VALUES and value not in _VALUES[name]:
            allowed = ", ".join(map(repr, _VALUES[name]))
            raise InputError(f"the adapter's {name} {value!r} is not supported: use one of {allowed}")
        if name not in accepted and value != getattr(defaults, name):
            raise InputError(f"the adapter's {name} {value!r} is not supported: leave it at its default")


def merge_adapter(model: PreTrainedModel, path: str | os.PathLike, **hub) -> PreTrainedModel:
    """Merge the adapter in a folder or on the Hub into its model.

    Where the adapter changes one of two tied tables (input embeddings and head) and not the other in the same way, the
    tables are untied, in the configuration too.

    Args:
        model: The model that the adapter was trained on.
        path (`str` or `os.PathLike`): The adapter.
        hub: Arguments of `from_pretrained` that say which files are meant.

    Raises:
        InputError: If the adapter cannot be merged exactly, see [`check_adapter`].
    """
    from peft import PeftConfig, PeftModel  # only here: nothing else in this folder needs PEFT

    check_adapter(PeftConfig.from_pretrained(str(path), **hub))
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head.weight is embedding.weight
    with warnings.catch_warnings():
        # PEFT's advice for tied tables, which are handled here.
        warnings.filterwarnings("ignore", message=r".*(tie_word_embeddings|ensure_weight_tying|no longer tied)")
        adapted = PeftModel.from_pretrained(model, str(path), **hub)
        changed = model.get_input_embeddings() is not embedding or model.get_output_embeddings() is not head
        untied = tied and changed and not _follows_embedding(model.get_output_embeddings())
        if untied:
            head.weight = nn.Parameter(head.weight.detach().clone())
        merged = adapted.merge_and_unload()
    if tied:
        embedding, head = merged.get_input_embeddings(), merged.get_output_embeddings()
        tied = not untied or torch.equal(head.weight, embedding.weight)
        if tied:
            head.weight = embedding.weight
        set_tied(merged.config, tied)
    return merged


def set_tied(config: PreTrainedConfig, tied: bool) -> None:
    """Set whether input embeddings and head are tied, in each part of a configuration that has the field."""
    for part in (config, config.get_text_config()):
        if hasattr(part, "tie_word_embeddings"):
            part.tie_word_embeddings = tied


def _follows_embedding(head: nn.Module) -> bool:
    """Whether PEFT trains the same rows of a tied head as of the embedding, as it does for single tokens."""
    return getattr(getattr(head, "token_adapter", head), "tied_adapter", None) is not None

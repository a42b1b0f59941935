"""Model settings of a recipe, beside the fields of its trainer."""

from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from trl import ModelConfig, get_quantization_config

from ...modeling.errors import InputError
from .setting_rules import check_adapter_rules


@dataclass
class ModelSettings(ModelConfig):
    """TRL's [`~trl.ModelConfig`]: `dtype`, `attn_implementation`, `use_peft`, `lora_r`, `load_in_4bit` and so on.

    The dtype stays `"float32"` by default: small steps vanish in half-precision weights, and `bf16: true` computes in
    half precision all the same.
    """

    def __post_init__(self):
        super().__post_init__()
        check_adapter_rules(self)
        attention, known = self.attn_implementation, ("eager", *ALL_ATTENTION_FUNCTIONS.valid_keys())
        # A name with a slash is a kernel on the Hub.
        if attention is not None and attention not in known and "/" not in attention:
            raise InputError(f"attn_implementation is {attention!r}: choose one of {', '.join(known)}")

    def load_arguments(self) -> dict[str, Any]:
        """Arguments of `load_model`."""
        arguments: dict[str, Any] = {"dtype": self.dtype if self.dtype == "auto" else getattr(torch, self.dtype)}
        if self.model_name_or_path is not None:
            raise InputError(f"model_name_or_path is {self.model_name_or_path}: name the model with `model`")
        if self.model_revision != "main":
            arguments["revision"] = self.model_revision
        if self.attn_implementation is not None:
            arguments["attn_implementation"] = self.attn_implementation
        quantization = get_quantization_config(self)
        if quantization is not None:
            # The tower's features are the targets, and the head is spared by default only where nothing is named.
            quantization.llm_int8_skip_modules = ["visual", "lm_head"]
            arguments["quantization_config"] = quantization
            if torch.cuda.is_available():  # quantized weights cannot be moved to a device later
                arguments["device_map"] = {"": PartialState().local_process_index}
        return arguments

"""Unwrap a model from what a trainer has wrapped it in."""

from accelerate import Accelerator
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel


def unwrap_model(accelerator: Accelerator, model: nn.Module) -> PreTrainedModel:
    """The model inside the wrappers of `accelerate` and PEFT; an adapter's layers stay in it."""
    inner = accelerator.unwrap_model(model)
    return inner.get_base_model() if isinstance(inner, PeftModel) else inner

"""Where weights are: on which device, and sharded, so that all processes must run the same modules equally often."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from accelerate.utils import parse_flag_from_env
from torch import nn
from torch.distributed.fsdp import register_fsdp_forward_method
from transformers import TrainingArguments


def weights_are_sharded(args: TrainingArguments) -> bool:
    """Whether each process will hold a part of every weight: under FSDP, or DeepSpeed's ZeRO-3."""
    if args.fsdp or parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return True
    return args.deepspeed_plugin is not None and args.deepspeed_plugin.zero_stage == 3


def gather_weights(module: nn.Module) -> AbstractContextManager:
    """Every process has all of a module's weights for a while; ZeRO-3 shards them as it reads a model."""
    weights = list(module.parameters())
    if not any(hasattr(weight, "ds_id") for weight in weights):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(weights)


@contextmanager
def place_on(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Have a module on a device for a while, before a trainer places the whole model."""
    home = next(module.parameters()).device
    module.to(device)
    try:
        yield
    finally:
        module.to(home)


def gather_for_features(model: nn.Module) -> None:
    """Under FSDP, `get_video_features` puts the weights together that it needs, as calling the model itself does.

    Args:
        model: The outermost module that FSDP has sharded, an adapter's included, or a model that is not sharded.
    """
    if "get_video_features" not in vars(model):
        register_fsdp_forward_method(model, "get_video_features")  # nothing elsewhere

"""A separate learning rate for the vision tower."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from ...modeling.errors import InputError

_REMEDY = "leave vision_learning_rate unset"


def set_vision_learning_rate(optimizer: Optimizer, tower: nn.Module, learning_rate: float) -> None:
    """Give the parameters of the vision tower that train, its merger's included, a separate learning rate.

    Their groups come last, so that the rate that trainers log stays that of the language model. Schedules scale both.

    Args:
        optimizer (`Optimizer`): One that has made no step and has no schedule yet.
        tower (`nn.Module`): The vision tower, with or without adapters in it.
        learning_rate (`float`): The peak learning rate of its parameters.

    Raises:
        InputError: If the optimizer does not hold all of these parameters, as with parameters that FSDP has joined.
    """
    members = {id(parameter) for parameter in tower.parameters() if parameter.requires_grad}
    before, inside = [], []
    for group in optimizer.param_groups:
        chosen = [parameter for parameter in group["params"] if id(parameter) in members]
        others = [parameter for parameter in group["params"] if id(parameter) not in members]
        before += [{**group, "params": others}] if others else []
        inside += [{**group, "params": chosen, "lr": learning_rate}] if chosen else []
    if not members or sum(len(group["params"]) for group in inside) < len(members):
        raise InputError(
            f"vision_learning_rate: {type(optimizer).__name__} does not hold the parameters of the vision tower one "
            f"by one: with FSDP set fsdp_use_orig_params, else choose another optim or {_REMEDY}"
        )
    optimizer.param_groups[:] = before + inside


def check_own_optimizer(made_elsewhere: bool, deepspeed_config: Mapping[str, Any] | None) -> None:
    """See that the trainer makes its optimizer, since `vision_learning_rate` is set as it does.

    Args:
        made_elsewhere (`bool`): Whether an optimizer was handed to the trainer.
        deepspeed_config (`Mapping`, *optional*): What DeepSpeed is configured with, if it is used.

    Raises:
        InputError: If someone else makes it.
    """
    if made_elsewhere:
        raise InputError(
            f"vision_learning_rate does not reach an optimizer that is handed to the trainer: {_REMEDY} and give the "
            "optimizer two parameter groups"
        )
    if deepspeed_config is not None and "optimizer" in deepspeed_config:
        raise InputError(
            "vision_learning_rate does not reach the optimizer that the DeepSpeed configuration names: remove "
            f"`optimizer` there, or {_REMEDY}"
        )

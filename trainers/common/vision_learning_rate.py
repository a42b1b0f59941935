"""A separate learning rate for the vision tower."""

from torch import nn
from torch.optim import Optimizer

from ...modeling.errors import InputError


def set_vision_learning_rate(optimizer: Optimizer, tower: nn.Module, learning_rate: float) -> None:
    """Give the parameters of the vision tower, its merger included, a learning rate of their own.

    Its groups come last, so that the rate that trainers log stays that of the language model. Schedules scale both.

    Args:
        optimizer (`Optimizer`): One that has made no step and has no schedule yet.
        tower (`nn.Module`): The vision tower, with or without adapters in it.
        learning_rate (`float`): The peak learning rate of its parameters.

    Raises:
        InputError: If the optimizer trains no parameter of the tower, or keeps parameters in a form of its own.
    """
    members = {id(parameter) for parameter in tower.parameters()}
    before, inside = [], []
    for group in optimizer.param_groups:
        chosen = [parameter for parameter in group["params"] if id(parameter) in members]
        others = [parameter for parameter in group["params"] if id(parameter) not in members]
        before += [{**group, "params": others}] if others else []
        inside += [{**group, "params": chosen, "lr": learning_rate}] if chosen else []
    if not inside:
        raise InputError(
            f"vision_learning_rate: {type(optimizer).__name__} has no parameters of the vision tower: set another "
            "optim, or leave vision_learning_rate unset"
        )
    optimizer.param_groups[:] = before + inside

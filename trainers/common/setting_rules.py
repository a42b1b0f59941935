"""Check values that both stages' configurations accept and that end a run in a traceback, without importing torch."""

import math
from typing import Any

from ...modeling.errors import InputError

# Smallest value by field; fields that are unset are left to the libraries.
_LEAST = {
    "learning_rate": 0,
    "weight_decay": 0,
    "adam_epsilon": 0,
    "max_grad_norm": 0,
    "warmup_steps": 0,
    "dataloader_num_workers": 0,
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
}


def check_common_rules(settings: Any) -> None:
    """Check fields of transformers' `TrainingArguments`.

    Args:
        settings: An object with these fields as attributes, such as a trainer's configuration.

    Raises:
        InputError: For the first value that cannot be used.
    """
    for name, least in _LEAST.items():
        value = getattr(settings, name)
        if value is not None and not least <= value < math.inf:
            raise InputError(f"{name} is {value}: give {'a number of ' if least == 0 else ''}{least} or more")
    if settings.max_steps <= 0 and not 0 < settings.num_train_epochs < math.inf:
        raise InputError(f"num_train_epochs is {settings.num_train_epochs}: give a positive number, or set max_steps")
    for name in ("save", "logging"):
        steps = getattr(settings, f"{name}_steps")
        if getattr(settings, f"{name}_strategy") == "steps" and not 0 < steps < math.inf:
            raise InputError(f"{name}_steps is {steps}: give a positive number, or set {name}_strategy to no")
    for name in ("adam_beta1", "adam_beta2"):
        value = getattr(settings, name)
        if value is not None and not 0 <= value < 1:
            raise InputError(f"{name} is {value}: give a number of 0 or more and below 1")
    for name in ("seed", "data_seed"):
        value = getattr(settings, name)
        if value is not None and not 0 <= value < 2**32:
            raise InputError(f"{name} is {value}: give one between 0 and {2**32 - 1}")


def check_adapter_rules(settings: Any) -> None:
    """Check the fields of [`ModelSettings`] that describe an adapter.

    Args:
        settings: An object with these fields as attributes.

    Raises:
        InputError: If an adapter is asked for that PEFT cannot make.
    """
    if not settings.use_peft:
        return
    if settings.lora_r < 1:
        raise InputError(f"lora_r is {settings.lora_r}: give 1 or more")
    if not 0 <= settings.lora_dropout < 1:
        raise InputError(f"lora_dropout is {settings.lora_dropout}: give a share of 0 or more and below 1")

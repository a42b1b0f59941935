"""Check values that both stages' configurations accept and that end a run in a traceback, without importing torch."""

import math
from typing import Any

from ...modeling.errors import InputError

# Smallest value by field; fields that are unset are left to the libraries.
_LEAST = {
    "learning_rate": 0,
    "vision_learning_rate": 0,
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
    """Check fields of transformers' `TrainingArguments`, and of what both stages have beside them.

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
    if settings.vision_learning_rate is not None and settings.freeze_vision:
        raise InputError(
            "vision_learning_rate is for a vision tower that trains: set freeze_vision to false, or leave it unset"
        )
    if settings.vision_learning_rate is not None and "lomo" in (settings.optim or ""):
        raise InputError("optim lomo has one learning rate: choose another, or leave vision_learning_rate unset")
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


def check_precision_rules(settings: Any) -> None:
    """See that training, and evaluation, has one half precision at most.

    Args:
        settings: An object with the fields of transformers' `TrainingArguments` as attributes.

    Raises:
        InputError: If two are asked for.
    """
    for first, second in (("bf16", "fp16"), ("bf16_full_eval", "fp16_full_eval")):
        if getattr(settings, first) and getattr(settings, second):
            raise InputError(f"{first} and {second} are both true: set one of them")


def check_best_model_rules(settings: Any) -> None:
    """See that every checkpoint has an evaluation by which `load_best_model_at_end` can choose.

    Args:
        settings: An object with the fields of transformers' `TrainingArguments` as attributes, strategies as text.

    Raises:
        InputError: If checkpoints are saved at other steps than evaluations are made.
    """
    evaluate, save = settings.eval_strategy, settings.save_strategy
    if not settings.load_best_model_at_end or save == "best" or None in (evaluate, save):
        return
    if evaluate != save:
        raise InputError(
            f"load_best_model_at_end needs eval_strategy and save_strategy to be the same, which are {evaluate} and "
            f"{save}: set both to steps or epoch"
        )
    every, saved = settings.eval_steps or settings.logging_steps, settings.save_steps
    if evaluate != "steps" or not every or not saved:
        return
    # Below 1 they are shares of the run, which no number of steps can be compared with.
    if (every < 1) != (saved < 1) or round(saved * 10**6) % round(every * 10**6):
        raise InputError(
            f"load_best_model_at_end needs an evaluation at every checkpoint: save_steps is {saved:g}, which is no "
            f"multiple of {every:g}, the steps between evaluations"
        )

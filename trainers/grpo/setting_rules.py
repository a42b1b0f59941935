"""Check settings of TRL's GRPO that it or latents do not support, without importing torch."""

import math
import os
import sys
from typing import Any

from ...modeling.errors import InputError
from ..rewards.registry import PUBLISHED_REWARDS, check_rewards

# Values that TRL looks at only after a rollout.
_CHOICES = {
    "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "scale_rewards": ("group", "batch", "none", True, False),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "importance_sampling_level": ("token", "sequence"),
}
# Where launchers say how many processes there are, in accelerate's order.
_WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def check_grpo_rules(settings: Any) -> None:
    """Check settings of 4DRL together.

    Args:
        settings: An object with the fields of [`LatentGRPOConfig`] as attributes, such as one of its instances.

    Raises:
        InputError: For a value that TRL does not know, or if rollouts were to leave the model's own `generate`,
            or have no latents for a gradient through them.
    """
    for name, choices in _CHOICES.items():
        if getattr(settings, name) not in choices:
            known = ", ".join(choice for choice in choices if isinstance(choice, str))
            raise InputError(f"{name} is {getattr(settings, name)!r}: choose one of {known}")
    if settings.use_vllm or settings.use_transformers_continuous_batching:
        raise InputError(
            "latents need the model's own generate, which feeds hidden states back: set use_vllm and "
            "use_transformers_continuous_batching to false"
        )
    if settings.latent_gradient and not settings.latents:
        raise InputError("latent_gradient goes through latents, and latents false leaves none: set one of them")


def check_sampling_rules(settings: Any) -> None:
    """Check what completions are sampled with.

    Args:
        settings: An object with the fields of [`LatentGRPOConfig`] as attributes, such as one of its instances.

    Raises:
        InputError: For the first value that cannot be used.
    """
    for name in ("num_iterations", "max_completion_length"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}: give 1 or more")
    if not 0 < settings.temperature < math.inf:
        raise InputError(f"temperature is {settings.temperature}: give a positive number")
    if not 0 < settings.top_p <= 1:
        raise InputError(f"top_p is {settings.top_p}: give a share above 0 and up to 1")
    if settings.num_generations is not None and settings.num_generations < 2:
        raise InputError(
            f"num_generations is {settings.num_generations}: give 2 or more, since the completions of a prompt are "
            "compared with each other"
        )


def check_group_rules(settings: Any) -> None:
    """See that a rollout, and a batch of evaluation, holds whole groups of completions, as TRL's GRPO needs.

    Processes are those of `torch.distributed` once it has begun, before that those that a launcher has started.

    Args:
        settings: The settings as they were given: an object with the fields of [`LatentGRPOConfig`] as attributes.

    Raises:
        InputError: If a group would be cut.
    """
    processes = _count_processes()
    batch = settings.per_device_train_batch_size * processes
    rollout = settings.generation_batch_size
    if rollout is not None and settings.steps_per_generation is not None:
        raise InputError("generation_batch_size and steps_per_generation say the same: give one of them")
    if rollout is None:
        rollout = batch * (settings.steps_per_generation or settings.gradient_accumulation_steps)
    elif rollout % batch:
        raise InputError(
            f"generation_batch_size is {rollout}, no multiple of {batch}, which is per_device_train_batch_size times "
            f"{processes} processes: set a multiple"
        )
    if rollout % settings.num_generations:
        raise InputError(
            f"num_generations is {settings.num_generations}, which does not divide the {rollout} completions of a "
            "rollout (per_device_train_batch_size times processes and steps): change one of them"
        )
    if settings.eval_strategy in (None, "no"):
        return
    group, evaluated = settings.num_generations_eval or settings.num_generations, settings.per_device_eval_batch_size
    if evaluated * processes % group:
        raise InputError(
            f"per_device_eval_batch_size is {evaluated}, which with {processes} processes holds no whole groups of "
            f"{group} completions: make it a multiple, or set num_generations_eval"
        )


def _count_processes() -> int:
    distributed = sys.modules.get("torch.distributed")  # not imported for this: it takes seconds
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    sizes = (os.environ.get(name, "") for name in _WORLD_SIZES)
    return next((int(size) for size in sizes if size.isdecimal() and int(size)), 1)


def check_reward_rules(settings: Any) -> None:
    """See that the rewards of a command are there and have a weight each; by default they are the published ones.

    Args:
        settings: An object with `reward_funcs` and `reward_weights`, each a list, one value, or nothing.

    Raises:
        InputError: As [`check_rewards`] does.
    """
    names, weights = settings.reward_funcs or list(PUBLISHED_REWARDS), settings.reward_weights
    one_name, one_weight = not isinstance(names, list), weights is not None and not isinstance(weights, list)
    check_rewards([names] if one_name else names, [weights] if one_weight else weights)

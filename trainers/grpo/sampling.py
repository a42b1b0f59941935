"""The sampling distribution of rollouts: the run's settings only, not the checkpoint's generation config."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel
from trl import GRPOConfig, GRPOTrainer
from trl.models import unwrap_model_for_generation

from ...modeling.errors import InputError
from ...modeling.generation_settings import without_checkpoint_generation_config
from ..common.unwrapping import unwrap_model

# Fields that tell ids, formats and caches, and leave the distribution as it is.
_HOUSEKEEPING = {
    "bos_token_id",
    "cache_implementation",
    "disable_compile",
    "eos_token_id",
    "output_logits",
    "pad_token_id",
    "return_dict_in_generate",
    "suppress_tokens",
    "transformers_version",
}


def sampling_config(trl_config: GenerationConfig, model: PreTrainedModel, latents: bool = True) -> GenerationConfig:
    """What TRL made of the settings, with the visual placeholders banned: a sampled one would ask for pixels.

    Args:
        trl_config (`GenerationConfig`): What it made.
        model: The policy.
        latents (`bool`, *optional*, defaults to `True`): `False` bans the token that opens a latent block as well.
    """
    sampling = deepcopy(trl_config)
    banned = {model.config.image_token_id, model.config.video_token_id}
    if not latents:
        banned.add(model.config.latent_start_token_id)
    sampling.suppress_tokens = sorted(banned | set(sampling.suppress_tokens or ()))
    sampling.return_dict_in_generate = True
    return sampling


def check_sampling(model: PreTrainedModel, sampling: GenerationConfig, args: GRPOConfig) -> dict[str, Any]:
    """Check that `generate` would sample with what the settings say.

    Args:
        model: The policy.
        sampling (`GenerationConfig`): What rollouts hand to `generate`.
        args ([`LatentGRPOConfig`]): The settings.

    Returns:
        `dict[str, Any]`: The fields that decide which tokens come, with their values.

    Raises:
        InputError: If one is not what the settings say. A completion is scored at `temperature` by the policy's own
            distribution, so whatever else shapes it has to be asked for.
    """
    effective = model._prepare_generation_config(sampling)[0].to_dict()
    with without_checkpoint_generation_config(model):
        untouched = model._prepare_generation_config(GenerationConfig())[0].to_dict()
    settings = {
        "do_sample": True,
        "temperature": args.temperature,
        "top_p": args.top_p,
        "top_k": args.top_k,
        "min_p": args.min_p,
        "repetition_penalty": args.repetition_penalty,
        "max_new_tokens": args.max_completion_length,
    }
    expected = {**untouched, **(args.generation_kwargs or {}), **settings}
    for name, value in effective.items():
        if name not in _HOUSEKEEPING and value != expected.get(name):
            raise InputError(
                f"rollouts would sample with {name} {value!r}, while the settings say {expected.get(name)!r}: "
                "completions would be scored by another distribution than the one they came from"
            )
    shaping = {name for name, value in effective.items() if value != untouched.get(name)} - _HOUSEKEEPING
    return {name: effective[name] for name in [*settings, *sorted(shaping - settings.keys())]}


def configure_sampling(trainer: GRPOTrainer, policy: PreTrainedModel) -> GenerationConfig:
    """The generation config of rollouts, checked, and printed on the main process.

    Args:
        trainer (`GRPOTrainer`): With TRL's own generation config.
        policy: Its model inside all wrappers.

    Raises:
        InputError: See [`check_sampling`]; or if no blocks may be opened by a model whose answers see latents alone.
    """
    if policy.config.answer_sees == "latents" and not trainer.args.latents:
        raise InputError("the model's answers see latents alone, and latents false leaves none: set latents to true")
    sampling = sampling_config(trainer.generation_config, policy, trainer.args.latents)
    with without_checkpoint_generation_config(policy):  # as in a rollout
        effective = check_sampling(policy, sampling, trainer.args)
    if trainer.is_world_process_zero():
        print("rollouts sample with", *(f"{name}={value}" for name, value in effective.items()), file=sys.stderr)
    return sampling


@contextmanager
def prepare_policy(trainer: GRPOTrainer) -> Iterator[PreTrainedModel]:
    """The policy ready for `generate`, with nothing of its checkpoint's generation config in effect."""
    with (
        unwrap_model_for_generation(
            trainer.model_wrapped,
            trainer.accelerator,
            gather_deepspeed3_params=trainer.args.ds3_gather_for_generation,
            gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs,
        ) as model,
        torch.no_grad(),
        # `accelerate` puts only the outermost model's `forward` under autocast, and an adapter's `generate`, a
        # prefill and the tower's features go around that one.
        trainer.accelerator.autocast(),
        without_checkpoint_generation_config(unwrap_model(trainer.accelerator, trainer.model)),
    ):
        yield model

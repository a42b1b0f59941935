"""What rollouts sample from: the distribution of the settings, and nothing that a checkpoint brings along."""

from copy import deepcopy
from typing import Any

from transformers import GenerationConfig, PreTrainedModel
from trl import GRPOConfig

from ...modeling.errors import InputError
from ...modeling.generation_settings import without_checkpoint_generation_config

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
    """What `generate` would sample with now, which must be what the settings say.

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
    asked = {
        "do_sample": True,
        "temperature": args.temperature,
        "top_p": args.top_p,
        "top_k": args.top_k,
        "min_p": args.min_p,
        "repetition_penalty": args.repetition_penalty,
        "max_new_tokens": args.max_completion_length,
    }
    wanted = {**untouched, **(args.generation_kwargs or {}), **asked}
    for name, value in effective.items():
        if name not in _HOUSEKEEPING and value != wanted.get(name):
            raise InputError(
                f"rollouts would sample with {name} {value!r}, while the settings say {wanted.get(name)!r}: "
                "completions would be scored by another distribution than the one they came from"
            )
    shaping = {name for name, value in effective.items() if value != untouched.get(name)} - _HOUSEKEEPING
    return {name: effective[name] for name in [*asked, *sorted(shaping - asked.keys())]}

"""Checks for sharded weights: all processes must run the same modules, equally often."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

from accelerate.utils import parse_flag_from_env
from datasets import Dataset
from torch import nn
from torch.distributed.fsdp import register_fsdp_forward_method
from transformers import TrainingArguments

from ...modeling.errors import InputError
from ...modeling.tokens import IMAGERY_MARK
from ..dift.dift_config import DIFTConfig


def weights_are_sharded(args: TrainingArguments) -> bool:
    """Whether each process will hold a part of every weight: under FSDP, or DeepSpeed's ZeRO-3."""
    if args.fsdp or parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return True
    return args.deepspeed_plugin is not None and args.deepspeed_plugin.zero_stage == 3


def check_sharding(args: DIFTConfig, datasets: Iterable[Dataset]) -> None:
    """Refuse what would leave processes with a part of the weights each waiting for one another, without a word.

    A module's weights are put together by all processes at once. So none may run one that the others do not: the
    vision tower for imagery, another pass for a latent, another step of an answer.

    Args:
        args ([`DIFTConfig`]): Settings of a run whose weights are sharded.
        datasets (`Iterable[datasets.Dataset]`): Rows of `dift`, to train on and held out.

    Raises:
        InputError: If settings or rows let processes go different ways.
    """
    sharded = "weights are sharded (FSDP or ZeRO-3), and"
    self_fed = args.self_feeding != "none" and not args.drop_imagery
    if self_fed and args.self_feeding == "sequential":
        raise InputError(f"{sharded} sequential self-feeding takes as many passes as a row has latents: use parallel")
    if self_fed and args.teacher_forcing:
        raise InputError(f"{sharded} teacher_forcing spares some batches their passes: set it to 0")
    if args.eval_strategy != "no" and args.eval_generations:
        raise InputError(f"{sharded} answers have different lengths: set eval_generations to 0")
    if (args.precompute_targets or args.precompute_videos) and parse_flag_from_env("FSDP_CPU_RAM_EFFICIENT_LOADING"):
        raise InputError(
            f"{sharded} only one process has read those of the tower, which all need to precompute: set "
            "fsdp_cpu_ram_efficient_loading to false"
        )
    if args.drop_imagery or (args.precompute_targets and not self_fed):
        return
    without = sum(IMAGERY_MARK not in response for rows in datasets for response in rows["response"])
    if without:
        remedy = "leave them out" if self_fed else "set precompute_targets, or leave them out"
        raise InputError(f"{sharded} {without} rows without imagery would take fewer passes than others: {remedy}")


def gather_weights(module: nn.Module) -> AbstractContextManager:
    """Every process has all of a module's weights for a while; ZeRO-3 shards them as it reads a model."""
    weights = list(module.parameters())
    if not any(hasattr(weight, "ds_id") for weight in weights):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(weights)


def gather_for_features(model: nn.Module) -> None:
    """Under FSDP, `get_video_features` puts the weights together that it needs, as calling the model itself does.

    Args:
        model: The outermost module that FSDP has sharded, an adapter's included, or a model that is not sharded.
    """
    if "get_video_features" not in vars(model):
        register_fsdp_forward_method(model, "get_video_features")  # nothing elsewhere

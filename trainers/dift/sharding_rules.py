"""Settings of DIFT that would deadlock where weights are sharded over processes (FSDP, ZeRO-3)."""

from collections.abc import Iterable

from accelerate.utils import parse_flag_from_env
from datasets import Dataset

from ...modeling.errors import InputError, count_noun
from ...modeling.tokens import IMAGERY_MARK
from .dift_config import DIFTConfig


def most_blocks(datasets: Iterable[Dataset]) -> int:
    """The number of latent blocks of the row that has most, at least 1."""
    return max((response.count(IMAGERY_MARK) for rows in datasets for response in rows["response"]), default=0) or 1


def check_sharding(args: DIFTConfig, datasets: Iterable[Dataset]) -> None:
    """Reject what would deadlock processes that hold a part of the weights each.

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
    if args.target_readout:
        raise InputError(f"{sharded} target_readout is not kept with a part of it in each process: set it to false")
    if not (args.freeze_vision or args.precompute_targets or args.drop_imagery):
        raise InputError(
            f"{sharded} the tower that gives the targets would be copied in parts: set precompute_targets, or "
            "freeze_vision to true"
        )
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
        raise InputError(
            f"{sharded} {count_noun(without, 'row')} without imagery would take fewer passes than others: {remedy}"
        )

"""The answer bottleneck in DIFT: the model's settings for it, and the share of rows that it blinds."""

from collections.abc import Sequence
from dataclasses import fields

from datasets import Dataset
from transformers import PreTrainedModel, ProcessorMixin

from ...modeling.answer_mask import check_answer_settings
from ...modeling.errors import InputError
from ...modeling.tokens import IMAGERY_MARK
from .dift_config import DIFTConfig

TURN_START = "<|im_start|>"


def set_bottleneck(
    model: PreTrainedModel, args: DIFTConfig, processor: ProcessorMixin, rows: Dataset | None = None
) -> None:
    """Write into a model's configuration what its answers see.

    The most blocks of a response are counted in the training rows, so that decoding knows a row's last block.

    Args:
        model: The model.
        args ([`DIFTConfig`]): Settings; those that are not set leave the configuration as it is.
        processor: The model's processor.
        rows (`datasets.Dataset`, *optional*): Rows of `dift`; a stream is not counted.

    Raises:
        InputError: If the model cannot follow `answer_sees="latents"`, no row has latents, or answers see all and a
            setting of the bottleneck is set.
    """
    config = model.config
    for name in ("answer_sees", "answer_sees_question"):
        if getattr(args, name) is not None:
            setattr(config, name, getattr(args, name))
    if config.answer_sees != "latents":
        if changed := _changed_settings(args):
            raise InputError(f"{changed[0]} is a setting of answers that see latents: set answer_sees to latents")
        return
    if args.drop_imagery:
        raise InputError("the model's answers see latents alone, and drop_imagery leaves none: set answer_sees to all")
    config.turn_token_id = processor.tokenizer.convert_tokens_to_ids(TURN_START)
    check_answer_settings(config)
    if isinstance(rows, Dataset):
        config.latent_blocks = _most_blocks(rows["response"])


def _changed_settings(args: DIFTConfig) -> list[str]:
    """Settings of the bottleneck that are not at their defaults."""
    names = ("answer_sees_question", "answer_blinding", "answer_blinding_until")
    defaults = {one.name: one.default for one in fields(DIFTConfig)}
    return [name for name in names if getattr(args, name) != defaults[name]]


def _most_blocks(responses: Sequence[str]) -> int:
    most = max((response.count(IMAGERY_MARK) for response in responses), default=0)
    if not most:
        raise InputError("answer_sees is latents, and no response has imagery: set answer_sees to all")
    return most


def blinded_share(args: DIFTConfig, step: int, steps: int) -> float:
    """The share of rows whose answer is blind to the video at a step: from `answer_blinding` linearly to 1.

    Args:
        args ([`DIFTConfig`]): Settings.
        step (`int`): Optimizer steps done.
        steps (`int`): Those of the whole run.
    """
    until = args.answer_blinding_until * steps
    risen = min(step / until, 1.0) if until else 1.0
    return args.answer_blinding + (1.0 - args.answer_blinding) * risen

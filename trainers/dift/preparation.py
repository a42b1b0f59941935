"""Prepare the rows and the collator of a DIFT run."""

from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, ProcessorMixin

from ...modeling.errors import InputError
from ..common.dataset_columns import adopt_trl_columns
from ..common.distributed import gather_weights
from ..common.images import clip_columns, keep_images_encoded
from ..common.row_validation import validate_rows
from .dift_collator import DIFTCollator
from .dift_config import DIFTConfig
from .feature_cache import FeatureCache
from .row_lengths import row_lengths


def adopt_and_validate(rows: Any, args: DIFTConfig, masks: bool) -> Any:
    """Rows in our columns, checked before the first step; a stream passes, and its bad rows fail when they come.

    Args:
        rows: A `datasets.Dataset`, a stream, several by name, or nothing.
        args ([`DIFTConfig`]): Settings.
        masks (`bool`): Whether rows need masks of their imagery.
    """
    if isinstance(rows, dict):
        return {name: adopt_and_validate(one, args, masks) for name, one in rows.items()}
    if not isinstance(rows, Dataset):
        return rows
    return validate_rows(adopt_trl_columns(rows, "dift"), "dift", args.on_bad_row, masks)


def make_collator(model: PreTrainedModel, args: DIFTConfig, processor: ProcessorMixin) -> DIFTCollator:
    """The collator that a run's settings ask for."""
    return DIFTCollator(
        processor,
        model.config.latent_size,
        args.drop_imagery,
        masks=model.config.latent_pooling == "region",
        ids=True,
        padding_side=args.padding_side,
        answers=args.alignment_loss_weight > 0,
    )


def prepare_rows(
    rows: Dataset | None, model: PreTrainedModel, args: DIFTConfig, processor: ProcessorMixin, keep_clips: bool
) -> Dataset | None:
    """Rows whose images wait for the collator, with what is to be known of them before the first step.

    Args:
        rows (`datasets.Dataset`, *optional*): Rows, or a stream.
        model ([`FourDThinkerForConditionalGeneration`]): The model that is to train.
        args ([`DIFTConfig`]): Settings.
        processor: The model's processor.
        keep_clips (`bool`): Keep the frames of rows whose video features are precomputed. Rows that name a video file
            would decode it whenever they are read.

    Raises:
        InputError: If rows stream and the settings ask for what takes all of them.
    """
    precompute = args.precompute_targets or args.precompute_videos
    if rows is None or not isinstance(rows, Dataset):
        if rows is not None and (precompute or args.train_sampling_strategy == "group_by_length"):
            raise InputError(
                "rows that stream cannot be looked through first: leave out precompute_targets, precompute_videos and "
                "group_by_length, or load them whole"
            )
        return rows
    rows = keep_images_encoded(rows)
    if args.train_sampling_strategy == "group_by_length" and args.length_column_name not in rows.column_names:
        lengths = row_lengths(rows, processor, model.config.latent_size)
        rows = rows.add_column(args.length_column_name, lengths)
    if precompute:
        precision = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
        with gather_weights(model.model.visual):
            cache = FeatureCache(model, processor, args.feature_cache, precision, args.device)
            if args.precompute_targets and not args.drop_imagery:
                rows = cache.add_targets(rows)
            if args.precompute_videos:
                rows = cache.add_videos(rows)
                if not keep_clips:
                    rows = rows.remove_columns([name for name in clip_columns(rows) if name != "id"])
    return rows

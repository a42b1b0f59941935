"""Measure imagery targets on the first rows, before the first step."""

from collections.abc import Iterator
from itertools import islice

import torch
from accelerate.utils import send_to_device
from datasets import Dataset, IterableDataset
from tqdm import tqdm
from transformers import PreTrainedModel, ProcessorMixin

from ..common.distributed import gather_weights, place_on
from ..common.images import keep_images_encoded
from .imagery_inputs import encode_row_imagery

_ROWS_FOR_NORM = 64
ROWS_FOR_READOUT = 512


def start_target_norm(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    rows: Dataset | IterableDataset | None,
    device: torch.device,
) -> None:
    """Measure the targets' length on the first rows, once, so that it is one however steps are cut up."""
    if model.config.latent_norm != "match" or model.config.latent_target_norm is not None or rows is None:
        return
    measured = first_targets(model, processor, rows, _ROWS_FOR_NORM, device)
    lengths = [targets.float().norm(dim=-1).flatten().cpu() for targets in measured]
    if lengths:
        model.config.latent_target_norm = torch.cat(lengths).mean().item()


def first_targets(
    model: PreTrainedModel, processor: ProcessorMixin, rows: Dataset | IterableDataset, most: int, device: torch.device
) -> Iterator[torch.Tensor]:
    """The targets `(images, latent_size, hidden)` of each of the first rows that has imagery.

    Args:
        model: The outer model.
        processor: Its processor.
        rows (`datasets.Dataset` or `datasets.IterableDataset`): Rows of `dift`.
        most (`int`): How many rows to look at.
        device (`torch.device`): Where the vision tower runs, which goes back to where it was.
    """
    regions = model.config.latent_pooling == "region"
    if isinstance(rows, Dataset):
        # Decode nothing but the imagery: the frames of rows that name a video file would be decoded with it.
        columns = [name for name in ("id", "imagery", "imagery_masks") if name in rows.column_names]
        rows = keep_images_encoded(rows.select_columns(columns))
    tower = model.model.visual
    with place_on(tower, device):
        for row in tqdm(islice(rows, most), desc="measuring targets", disable=None, leave=False):
            batch = encode_row_imagery(processor, [row], regions, model.config.latent_size)
            if batch:
                with gather_weights(tower):
                    yield model.imagery_targets(**send_to_device(batch, device))

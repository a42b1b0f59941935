"""Pack the rows of a batch into one row without padding."""

from collections.abc import Callable
from typing import Any

import torch


def pack_batch(batch: dict[str, Any], get_rope_index: Callable) -> dict[str, Any]:
    """Put the rows of a padded batch into one, each with its own positions and blind to the others.

    A model of transformers keeps words apart whose counted positions, the first of the four below, start again.

    Args:
        batch (`dict`): `input_ids`, `attention_mask` and `labels` of shape `(batch, length)`, padded on either side,
            perhaps `roles`, with the videos' `video_grid_thw` and, if the family has them, `second_per_grid_ts`.
        get_rope_index (`Callable`): The inner model's method.

    Returns:
        `dict`: The batch with `input_ids`, `labels` and, if it has them, `roles` and `answer_mask` of shape
        `(1, tokens)`, `position_ids` of shape `(4, 1, tokens)` (counted, time, height, width) and no
        `attention_mask`.
    """
    mask = batch["attention_mask"]
    grids = {name: batch[name] for name in ("video_grid_thw", "second_per_grid_ts") if name in batch}
    positions, _ = get_rope_index(batch["input_ids"], attention_mask=mask, **grids)
    counted = mask.cumsum(1) - 1
    kept = mask.bool()
    flat = {name: batch[name][kept][None] for name in ("input_ids", "labels", "roles", "answer_mask") if name in batch}
    flat["position_ids"] = torch.cat([counted[None], positions.to(counted.device)])[:, kept][:, None]
    dropped = {"attention_mask", "mm_token_type_ids"}
    return {**{name: value for name, value in batch.items() if name not in dropped}, **flat}

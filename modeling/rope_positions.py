"""Multimodal rotary positions by Qwen's own rule.

Text advances by one on all three axes. A visual block starting at position `s` has height and width `s + row` and
`s + column`, and time `s + floor(grid · seconds_per_grid · tokens_per_second)` for a video, `s` for an image. Text
goes on at the block's largest position plus one. transformers 5 goes on at `s + max(height, width)` instead, which
overlaps text with a long video; published weights were trained with Qwen's rule.
"""

from collections.abc import Iterator
from itertools import groupby

import torch

from .errors import InputError

TEXT, IMAGE, VIDEO = 0, 1, 2
# The model's arguments for the size of visual blocks, in space and time.
GRIDS = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts")


def token_types(input_ids: torch.LongTensor, config) -> torch.IntTensor:
    """Rebuild `mm_token_type_ids` from the ids: 0 for text and latents, 1 for images, 2 for videos."""
    types = torch.zeros_like(input_ids, dtype=torch.int)
    types[input_ids == config.image_token_id] = IMAGE
    types[input_ids == config.video_token_id] = VIDEO
    return types


def visual_positions(
    start: int, grid: tuple[int, int, int], seconds_per_grid: float, tokens_per_second: float
) -> torch.LongTensor:
    """Positions of one visual block of `(time, height, width)` merged tokens: shape `(3, time · height · width)`."""
    time, height, width = grid
    ticks = (torch.arange(time) * seconds_per_grid * tokens_per_second).long()
    axes = torch.meshgrid(ticks, torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack(axes).reshape(3, -1) + start


def qwen_positions(
    input_ids: torch.LongTensor,
    mm_token_type_ids: torch.IntTensor,
    image_grid_thw: torch.LongTensor | None = None,
    video_grid_thw: torch.LongTensor | None = None,
    second_per_grid_ts: torch.Tensor | list[float] | None = None,
    attention_mask: torch.Tensor | None = None,
    *,
    spatial_merge_size: int,
    tokens_per_second: float,
) -> tuple[torch.LongTensor, torch.LongTensor]:
    """Positions of a batch by Qwen's rule.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch, length)`): Token ids.
        mm_token_type_ids (`torch.IntTensor` of shape `(batch, length)`): 0 text, 1 image, 2 video.
        image_grid_thw (`torch.LongTensor` of shape `(images, 3)`, *optional*): Grids in patches, before merging.
        video_grid_thw (`torch.LongTensor` of shape `(videos, 3)`, *optional*): Grids in patches, before merging.
        second_per_grid_ts (`torch.Tensor` of shape `(videos,)`, *optional*): Seconds a temporal grid spans; 1 if none.
        attention_mask (`torch.Tensor` of shape `(batch, length)`, *optional*): 0 at padding, on either side.
        spatial_merge_size (`int`): Patches a side that become one token.
        tokens_per_second (`float`): Temporal positions in a second of video.

    Returns:
        `tuple`: Positions of shape `(3, batch, length)`, 0 at padding, and deltas of shape `(batch, 1)`: next position
        minus the number of tokens so far.
    """
    device = input_ids.device
    grids = {
        IMAGE: _grids(image_grid_thw, None, spatial_merge_size),
        VIDEO: _grids(video_grid_thw, second_per_grid_ts, spatial_merge_size),
    }
    positions = torch.zeros(3, *input_ids.shape, dtype=torch.long)
    kept = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    for row, (types, mask) in enumerate(zip(mm_token_type_ids.cpu(), kept.cpu(), strict=True)):
        positions[:, row, mask] = _row_positions(types[mask].tolist(), grids, tokens_per_second)
    positions = positions.to(device)
    return positions, position_deltas(positions, attention_mask)


def position_deltas(positions: torch.LongTensor, attention_mask: torch.Tensor | None = None) -> torch.LongTensor:
    """Next position of each row minus its number of tokens so far (transformers' `rope_deltas`).

    Args:
        positions (`torch.LongTensor` of shape `(3, batch, length)`): Positions; what stands at padding does not count.
        attention_mask (`torch.Tensor` of shape `(batch, length)`, *optional*): 0 at padding.

    Returns:
        `torch.LongTensor` of shape `(batch, 1)`; 0 for rows without tokens.
    """
    after = positions.amax(0) + 1
    mask = torch.ones_like(after) if attention_mask is None else attention_mask.to(after)
    return (after * mask).amax(1, keepdim=True) - mask.sum(1, keepdim=True)


def _grids(grid_thw, seconds, merge: int) -> Iterator[tuple[tuple[int, int, int], float]]:
    """Merged grids in order, each with the seconds that a temporal step spans; an image has one step, at time 0."""
    if grid_thw is None:
        return iter(())
    sizes = [(time, height // merge, width // merge) for time, height, width in grid_thw.tolist()]
    if seconds is None:
        seconds = [1.0] * len(sizes)
    elif isinstance(seconds, torch.Tensor):
        seconds = seconds.tolist()
    return iter(list(zip(sizes, seconds, strict=True)))


def _row_positions(types: list[int], grids: dict[int, Iterator], tokens_per_second: float) -> torch.LongTensor:
    """Positions `(3, length)` of one row without its padding; takes its visual blocks from `grids`."""
    blocks, start = [torch.zeros(3, 0, dtype=torch.long)], 0
    for kind, run in groupby(types):
        length = sum(1 for _ in run)
        if kind == TEXT:
            blocks.append(torch.arange(start, start + length).expand(3, -1))
            start += length
            continue
        # Two visuals with no token between them are one run of the same type.
        while length > 0:
            grid, seconds = next(grids[kind], ((0, 0, 0), 0.0))
            size = grid[0] * grid[1] * grid[2]
            if not 0 < size <= length:
                raise InputError(
                    f"{length} {'image' if kind == IMAGE else 'video'} tokens in a row do not fit the grid {grid}: "
                    "give the grids that the processor returned with these ids"
                )
            block = visual_positions(start, grid, seconds, tokens_per_second)
            blocks.append(block)
            start = int(block.max()) + 1
            length -= size
    return torch.cat(blocks, dim=1)

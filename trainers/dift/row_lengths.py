"""Estimate the length of each row, so that a batch holds rows of similar length."""

from collections.abc import Mapping
from math import ceil

from datasets import Dataset
from PIL import Image
from transformers import ProcessorMixin

from ...modeling.processing import fit_frame, pixel_limits, row_image, row_prompt
from ...modeling.tokens import IMAGERY_MARK
from ..common.images import clip_columns

_FRAMES_A_GRID = 2


def row_lengths(rows: Dataset, processor: ProcessorMixin, latent_size: int) -> list[int]:
    """Tokens of each row: its words, its latents, and its video by the size of its first frame.

    Args:
        rows (`datasets.Dataset`): Rows of `dift`, their images not decoded.
        processor: A Qwen2.5-VL or Qwen3-VL processor.
        latent_size (`int`): Latents in a block.
    """
    limit, side = pixel_limits(processor.video_processor)

    def length(row: Mapping) -> int:
        text = row_prompt(processor, row, row["response"])
        latents = row["response"].count(IMAGERY_MARK) * latent_size
        frame: Image.Image = fit_frame(row_image(row, "frames", 0), limit, side)
        tokens_a_grid = ceil(frame.width / side) * ceil(frame.height / side)
        grids = ceil(len(row["frames"]) / _FRAMES_A_GRID)
        # One of the words is the placeholder of the video.
        return len(processor.tokenizer(text)["input_ids"]) - 1 + latents + grids * tokens_a_grid

    columns = ("id", "question", "options", "response", *clip_columns(rows))
    return [length(row) for row in rows.select_columns([*dict.fromkeys(columns)])]

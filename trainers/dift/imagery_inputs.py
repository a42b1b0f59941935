"""Convert the imagery of dataset rows to model input."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import ProcessorMixin

from ...modeling.errors import InputError
from ...modeling.processing import encode_imagery, row_images


def encode_row_imagery(
    processor: ProcessorMixin, rows: Sequence[Mapping], masks: bool = False, latent_size: int = 1
) -> Mapping[str, Any]:
    """Encode all imagery of rows by `encode_imagery`, row after row; empty if they have none.

    Args:
        processor: A Qwen2.5-VL or Qwen3-VL processor.
        rows (`Sequence[Mapping]`): Columns `id` and `imagery`, and with `masks` also `imagery_masks`.
        masks (`bool`, *optional*, defaults to `False`): Add the masks, for `latent_pooling="region"`.
        latent_size (`int`, *optional*, defaults to 1): Latents in a block, which is how many tokens each frame has at
            least.

    Raises:
        InputError: If an image cannot be decoded, or masks are asked for and a row has not one for each imagery
            frame.
    """
    images = [image for row in rows for image in row_images(row, "imagery")]
    if not images:
        return {}
    for row in rows if masks else ():
        if len(row.get("imagery_masks") or ()) != len(row["imagery"]):
            raise InputError(
                f"row {row['id']} has not one of imagery_masks for each imagery frame, which the pooling "
                '"region" needs: build the data again, or choose another latent_pooling'
            )
    regions = [mask for row in rows for mask in row_images(row, "imagery_masks")] if masks else None
    return encode_imagery(processor, images, regions, latent_size)

"""Pool the vision features of an imagery frame to the targets of a latent block."""

from collections.abc import Sequence
from math import isqrt

import torch
from torch.nn.functional import adaptive_avg_pool2d

from .errors import InputError


def pool_features(
    features: Sequence[torch.Tensor],
    latent_size: int,
    pooling: str = "average",
    grids: Sequence[tuple[int, int]] | None = None,
    masks: torch.BoolTensor | None = None,
) -> torch.Tensor:
    """Pool the vision features of each image to `latent_size` vectors.

    Args:
        features (`Sequence[torch.Tensor]`):
            One tensor of shape `(tokens, hidden)` for each image, in raster order, of any lengths.
        latent_size (`int`): Latents for each image.
        pooling (`str`, *optional*, defaults to `"average"`):
            One of `"average"` (see [`average_bands`]), `"grid"` ([`average_cells`]) and `"region"`
            ([`average_region`]).
        grids (`Sequence[tuple[int, int]]`, *optional*): Rows and columns of tokens of each image, for `"grid"`.
        masks (`torch.BoolTensor` of shape `(tokens of all images,)`, *optional*): The regions, for `"region"`.

    Returns:
        `torch.Tensor` of shape `(images, latent_size, hidden)`.

    Raises:
        InputError: If an image has fewer tokens than `latent_size`, or `"region"` has no masks or an empty one.
    """
    for image in features:
        if len(image) < latent_size:
            raise InputError(
                f"an imagery frame has {len(image)} vision tokens for {latent_size} latents: use a larger frame"
            )
    if pooling == "average":
        return torch.stack([average_bands(image, latent_size) for image in features])
    if pooling == "grid":
        cells = [average_cells(image, latent_size, grid) for image, grid in zip(features, grids, strict=True)]
        return torch.stack(cells)
    if masks is None or len(masks) != sum(map(len, features)):
        raise InputError(
            'latent_pooling="region" needs latent_masks, one value for each vision token of the imagery: rows carry '
            "them as imagery_masks"
        )
    regions = masks.split([len(image) for image in features])
    parts = [average_region(image, latent_size, region) for image, region in zip(features, regions, strict=True)]
    return torch.stack(parts)


def average_bands(image: torch.Tensor, latent_size: int) -> torch.Tensor:
    """The mean of each of `latent_size` contiguous groups (4DThinker, DIFT targets).

    With `n` features and `g = n // latent_size`, latent `k` is the mean of rows `k·g` to `(k+1)·g - 1`; the last
    `n mod latent_size` rows are dropped. In raster order the groups are horizontal bands of the image, top to bottom.
    """
    group = len(image) // latent_size
    return image[: group * latent_size].unflatten(0, (latent_size, group)).mean(1)


def average_cells(image: torch.Tensor, latent_size: int, grid: tuple[int, int]) -> torch.Tensor:
    """The mean of each of `latent_size` cells of the image, row after row.

    The cells stand in as many rows and columns as make them most nearly square, with no more rows than columns: 2 x 2
    for 4 latents, 2 x 3 for 6, 1 x 5 for 5. Where they do not divide the image, neighbours share a row or column of
    tokens.
    """
    rows = next(rows for rows in range(isqrt(latent_size), 0, -1) if latent_size % rows == 0)
    channels_first = image.unflatten(0, grid).movedim(-1, 0)
    return adaptive_avg_pool2d(channels_first, (rows, latent_size // rows)).flatten(1).movedim(0, -1)


def average_region(image: torch.Tensor, latent_size: int, region: torch.BoolTensor) -> torch.Tensor:
    """The mean of each of `latent_size` contiguous parts of a region's tokens in raster order, of nearly equal sizes.

    A region of fewer tokens than latents gives its tokens to several neighbouring latents each.
    """
    tokens = image[region]
    if not len(tokens):
        raise InputError("an imagery mask is empty: mark what its frame shows, or leave the frame out")
    if len(tokens) < latent_size:
        tokens = tokens[torch.arange(latent_size, device=tokens.device) * len(tokens) // latent_size]
    return torch.stack([part.mean(0) for part in tokens.tensor_split(latent_size)])

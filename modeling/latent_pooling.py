"""How the vision features of an imagery frame become the targets of a latent block."""

from collections.abc import Sequence
from math import isqrt

import torch
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from .errors import InputError

_MAX_ROUNDS = 20


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
        grids (`Sequence[tuple[int, int]]`, *optional*): Rows and columns of tokens of each image, but for `"average"`.
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
    return torch.stack(
        [
            average_region(image, latent_size, grid, region)
            for image, grid, region in zip(features, grids, regions, strict=True)
        ]
    )


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
    picture = image.unflatten(0, grid).movedim(-1, 0)
    return adaptive_avg_pool2d(picture, (rows, latent_size // rows)).flatten(1).movedim(0, -1)


def average_region(
    image: torch.Tensor, latent_size: int, grid: tuple[int, int], region: torch.BoolTensor
) -> torch.Tensor:
    """The mean of each of `latent_size` parts of a region, in raster order of their centres.

    The parts are found by k-means on the positions of the region's tokens. They start from tokens far from each
    other, and each keeps the token it started from, so that none is ever empty. A region of fewer tokens than latents
    gives its tokens to several neighbouring latents each.
    """
    tokens = image[region]
    if not len(tokens):
        raise InputError("an imagery mask is empty: mark what its frame shows, or leave the frame out")
    positions = region.view(grid).nonzero().float()
    parts = min(latent_size, len(tokens))
    members = one_hot(_nearest_means(positions, parts), parts).T.float()
    means = (members @ tokens.float() / members.sum(1, keepdim=True)).to(image.dtype)
    return means[torch.arange(latent_size, device=means.device) * parts // latent_size]


def _nearest_means(positions: torch.Tensor, parts: int) -> torch.LongTensor:
    """For each of `(n, 2)` positions the number of its k-means part, none of them empty, in raster order."""
    starts = _far_apart(positions, parts)
    centres = positions[starts]
    for _ in range(_MAX_ROUNDS):
        nearest = torch.cdist(positions, centres).argmin(1)
        nearest[starts] = torch.arange(parts, device=positions.device)
        sums = torch.zeros_like(centres).index_add_(0, nearest, positions)
        moved = sums / nearest.bincount(minlength=parts)[:, None]
        if torch.equal(moved, centres):
            break
        centres = moved
    raster = (centres[:, 0] * (positions.max() + 1) + centres[:, 1]).argsort().argsort()
    return raster[nearest]


def _far_apart(positions: torch.Tensor, count: int) -> torch.LongTensor:
    """Numbers of `count` positions, each the farthest from those before it, the first the farthest from the middle."""
    chosen: list[torch.Tensor] = []
    distance = (positions - positions.mean(0)).norm(dim=1)
    for _ in range(count):
        chosen.append(distance.argmax())
        to_chosen = (positions - positions[chosen[-1]]).norm(dim=1)
        distance = to_chosen if len(chosen) == 1 else torch.minimum(distance, to_chosen)
    return torch.stack(chosen)

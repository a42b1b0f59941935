"""Depth maps of a window from those of its frames, whatever their sizes."""

from collections.abc import Iterable

import numpy as np

from ..clip_record import DepthMaps

MAP_SIDE = 160  # pixels of the longer side of the maps that are kept


def map_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the kept maps of frames, or of larger maps, of a size."""
    scale = min(1.0, MAP_SIDE / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height


def stack_depth(
    maps: Iterable[np.ndarray | None],
    metric: bool,
    scale_error: float = 0.0,
    made_by: dict[str, str] | None = None,
) -> DepthMaps | None:
    """One depth map a frame as [`DepthMaps`], without what is no distance.

    Of the pixels that fall on one of a smaller map one is kept: their mean would lie between a thing and its
    background, where nothing is, and of a map with few known points none may be lost.

    Args:
        maps (`Iterable[np.ndarray | None]`): For each frame depth `(h, w)`, all of one size, or `None`.
        metric (`bool`): Whether the unit is the metre.
        scale_error (`float`, *optional*, defaults to 0): Relative error of the unit.
        made_by (`dict[str, str]`, *optional*): Tool to version.

    Returns:
        [`DepthMaps`], or `None` if nothing is known of any frame.
    """
    kept = [None if depth is None else _shrink(np.asarray(depth, np.float32)) for depth in maps]
    shape = next((depth.shape for depth in kept if depth is not None), (0, 0))
    unknown = np.full(shape, np.nan, np.float32)
    filled = [unknown if depth is None or depth.shape != shape else depth for depth in kept]
    if not any(np.isfinite(depth).any() for depth in filled):
        return None
    return DepthMaps(np.stack(filled), metric, scale_error, dict(made_by or {}))


def _shrink(depth: np.ndarray) -> np.ndarray:
    height, width = depth.shape
    columns, rows = map_size((width, height))
    small = np.full((rows, columns), np.nan, np.float32)
    with np.errstate(invalid="ignore"):
        row, column = np.nonzero(np.isfinite(depth) & (depth > 0))
    small[row * rows // height, column * columns // width] = depth[row, column]
    return small

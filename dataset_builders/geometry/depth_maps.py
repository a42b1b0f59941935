"""Depth maps of a window from those of its frames, whatever their sizes."""

from collections.abc import Iterable

import cv2
import numpy as np

from ..clip_record import DepthMaps

MAP_SIDE = 160  # pixels of the longer side of the maps that are kept


def map_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the kept maps of frames of a size."""
    scale = min(1.0, MAP_SIDE / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height


def stack_depth(
    maps: Iterable[np.ndarray | None],
    size: tuple[int, int],
    metric: bool,
    scale_error: float = 0.0,
    made_by: dict[str, str] | None = None,
) -> DepthMaps | None:
    """One depth map a frame as [`DepthMaps`], without what is no distance.

    A map is sampled, not averaged: between a thing and its background there is no depth.

    Args:
        maps (`Iterable[np.ndarray | None]`): For each frame depth `(h, w)`, or `None`.
        size (`tuple[int, int]`): Width and height of the frames.
        metric (`bool`): Whether the unit is the metre.
        scale_error (`float`, *optional*, defaults to 0): Relative error of the unit.
        made_by (`dict[str, str]`, *optional*): Tool to version.

    Returns:
        [`DepthMaps`], or `None` if no frame has a map.
    """
    width, height = map_size(size)
    kept = []
    for depth in maps:
        small = np.full((height, width), np.nan, np.float32)
        if depth is not None:
            sampled = cv2.resize(depth.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
            valid = np.isfinite(sampled) & (sampled > 0)
            small[valid] = sampled[valid]
        kept.append(small)
    if not any(np.isfinite(small).any() for small in kept):
        return None
    return DepthMaps(np.stack(kept), metric, scale_error, dict(made_by or {}))

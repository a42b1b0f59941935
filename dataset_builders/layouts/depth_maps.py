"""Depth maps of a clip: read from archives, and what they say of the scene and of its objects."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from ..geometry.masks import decode_mask
from .files import PictureArchive
from .imported_clip import half_step, nearest_number

NEAREST, FARTHEST = 1e-3, 1e3  # in the unit of the path: what lies outside is sky or no depth at all
MAP_SIDE = 320  # a window of large maps would fill the memory
_ERODED = 0.04  # of an object's width, at which depth bleeds over from what is behind it
_FEWEST_PIXELS = 4


def nearest_maps(
    archive: PictureArchive, times: np.ndarray, numbers: Sequence[int], seconds: Sequence[float], inverse: bool = False
) -> Iterator[np.ndarray | None]:
    """For each moment the map of the frame nearest to it, or `None` where none is near.

    Args:
        archive ([`PictureArchive`]): Holds `%05d.exr`.
        times (`np.ndarray` of shape `(N,)`): Seconds of the frames.
        numbers (`Sequence[int]`): What their pictures are called.
        seconds (`Sequence[float]`): The moments.
        inverse (`bool`, *optional*): Whether pictures hold one over depth.
    """
    for moment in seconds:
        index = nearest_number(times, moment, half_step(times))
        stored = None if index is None else archive.depths(f"{numbers[index]:05d}.exr")
        yield None if stored is None else clean_depths(stored, inverse)


def clean_depths(stored: np.ndarray, inverse: bool = False) -> np.ndarray:
    """A map of at most `MAP_SIDE` pixels, NaN for what is no depth, from stored values or their inverse.

    Pixels are left out, not averaged: between a thing and what is behind it there is no depth.
    """
    each = _each(max(stored.shape))
    depths = np.asarray(stored[each // 2 :: each, each // 2 :: each], dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        depths = 1 / depths if inverse else depths
    return np.where((depths > NEAREST) & (depths < FARTHEST), depths, np.nan)


def sparse_map(places: np.ndarray, depths: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map of at most `MAP_SIDE` pixels from depths `(N,)` at places `(N, 2)` of a picture of a size."""
    each, (width, height) = _each(max(size)), size
    columns, rows = np.floor(places).astype(int).T if len(places) else np.empty((2, 0), int)
    seen = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height) & (depths > NEAREST)
    found = np.full((-(-height // each), -(-width // each)), np.nan, np.float32)
    found[rows[seen] // each, columns[seen] // each] = depths[seen]
    return found


def _each(side: int) -> int:
    return -(-side // MAP_SIDE)


def scene_depth(maps: Sequence[np.ndarray | None]) -> float | None:
    """Median depth of the scene: the median over frames of each frame's median; `None` without any map."""
    medians = [np.nanmedian(depths) for depths in maps if depths is not None and np.isfinite(depths).any()]
    return float(np.median(medians)) if medians else None


def object_depths(masks: Sequence[dict | None], maps: Sequence[np.ndarray | None]) -> np.ndarray:
    """Median depth of an object in each frame, `(T,)`; NaN where its mask or the depth is missing.

    Pixels at the mask's border are left out where enough others have a depth.

    Args:
        masks (`Sequence[dict | None]`): Run-length encoded, one a frame.
        maps (`Sequence[np.ndarray | None]`): Depth maps of any size, one a frame.
    """
    found = np.full(len(masks), np.nan)
    for index, (encoded, depths) in enumerate(zip(masks, maps, strict=True)):
        if encoded is None or depths is None:
            continue
        mask = decode_mask(encoded)
        found[index] = _median_inside(mask, depths)
    return found


def _median_inside(mask: np.ndarray, depths: np.ndarray) -> float:
    radius = int(np.ceil(_ERODED * np.sqrt(mask.sum()))) + 1
    core = cv2.erode(mask.astype(np.uint8), np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)) > 0
    for inside in (core, mask):
        values = _sample(inside, depths)
        if len(values) >= _FEWEST_PIXELS:
            return float(np.median(values))
    return np.nan


def _sample(inside: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Known depths at the pixels of a map whose middles lie in the mask."""
    height, width = depths.shape
    rows = ((np.arange(height) + 0.5) * inside.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * inside.shape[1] / width).astype(int)
    values = depths[inside[rows[:, None], columns]]
    return values[np.isfinite(values)]

"""Masks: run-length encoding as in COCO, connected parts, tight edges."""

from collections.abc import Sequence

import cv2
import numpy as np
from pycocotools import mask as coco

from ..clip_record import ObjectTrack

_CORE = 0.6  # of the greatest distance from a rough mask's edge; what lies deeper is the object
_GROWTH = 0.04  # of the square root of its area, by which an object may grow between two frames on each side
_ROUNDS = 2
_MAX_COVER = 0.6  # of the picture: masks that cover more are no movers, and nothing would be left to match
_MIN_KEPT = 0.35  # of a rough mask; if less seems to be the object, colour cannot tell it from its surroundings


def encode_mask(mask: np.ndarray) -> dict:
    """Encode a mask as COCO run-length encoding that JSON can hold.

    Args:
        mask (`np.ndarray` of shape `(height, width)`, bool): The pixels of one object.

    Returns:
        `dict`: `size` (height, width) and `counts` as ASCII text.
    """
    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def decode_mask(encoded: dict) -> np.ndarray:
    """Decode a mask of [`encode_mask`] to `(height, width)`, bool."""
    return coco.decode(_as_coco(encoded)).astype(bool)


def mask_area(encoded: dict) -> int:
    """Pixels of a mask of [`encode_mask`]."""
    return int(coco.area(_as_coco(encoded)))


def overlap(one: dict, other: dict) -> tuple[int, int]:
    """Pixels in both of two masks of [`encode_mask`], and in either of them."""
    pair = [_as_coco(one), _as_coco(other)]
    return int(coco.area(coco.merge(pair, intersect=True))), int(coco.area(coco.merge(pair)))


def moving_pixels(movers: Sequence[ObjectTrack], count: int) -> list[np.ndarray | None] | None:
    """Where things move in each of `count` frames, `None` where nothing does or, for all of them, without movers."""
    if not movers:
        return None
    found: list[np.ndarray | None] = []
    for index in range(count):
        masks = [decode_mask(track.masks[index]) for track in movers if track.masks[index] is not None]
        found.append(np.logical_or.reduce(masks) if masks else None)
    return found


def pixels_to_avoid(movers: Sequence[ObjectTrack], count: int) -> list[np.ndarray | None] | None:
    """Those of [`moving_pixels`] that poses had better not be found from; `None` for a frame that is mostly masked."""
    found = moving_pixels(movers, count)
    if found is None:
        return None
    return [None if mask is None or mask.mean() > _MAX_COVER else mask for mask in found]


def touches_border(encoded: dict) -> bool:
    """Whether a mask of [`encode_mask`] reaches an edge of the picture, where what it shows may be cut off."""
    height, width = encoded["size"]
    left, top, wide, high = coco.toBbox(_as_coco(encoded))
    return bool(min(left, top) <= 0 or left + wide >= width or top + high >= height)


def connected_parts(mask: np.ndarray, min_share: float) -> list[np.ndarray]:
    """Connected parts of a mask of at least a share of the picture.

    Args:
        mask (`np.ndarray` of shape `(h, w)`, bool).
        min_share (`float`): Of the picture's pixels.

    Returns:
        `list[np.ndarray]`: Masks of the same shape.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    large = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] >= min_share * mask.size]
    return [labels == number for number in large]


def refine_mask(picture: np.ndarray, rough: np.ndarray, predicted: np.ndarray | None = None) -> np.ndarray:
    """Tighten a rough mask to the edges in the picture by colour (GrabCut).

    Args:
        picture (`np.ndarray` of shape `(h, w, 3)`, uint8): RGB.
        rough (`np.ndarray` of shape `(h, w)`, bool): The object with some of its surroundings.
        predicted (`np.ndarray` of shape `(h, w)`, bool, *optional*): Where the object is by what went before; what
            lies far from it is taken for surroundings unless its colours say otherwise.

    Returns:
        `np.ndarray` of shape `(h, w)`, bool: The rough mask itself where colour cannot tell the two apart.
    """
    likely = rough
    if predicted is not None:
        near = disc(int(2 + _GROWTH * np.sqrt(predicted.sum())))
        likely = rough & (cv2.dilate(predicted.astype(np.uint8), near) > 0)
        likely = likely if likely.any() else rough
    rows, columns = np.nonzero(likely)
    margin = int(6 + 0.4 * np.sqrt(len(rows)))
    window = tuple(slice(max(axis.min() - margin, 0), axis.max() + margin + 1) for axis in (rows, columns))
    inside = likely[window].astype(np.uint8)
    possible = cv2.dilate((likely | rough)[window].astype(np.uint8), disc(2))
    if possible.all():
        return likely
    labels = np.where(possible > 0, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    labels[inside > 0] = cv2.GC_PR_FGD
    padded = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    labels[depth > _CORE * depth.max()] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(picture[window]), labels, None, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    tight = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    tight = cv2.morphologyEx(tight, cv2.MORPH_OPEN, disc(1))
    if tight.sum() < _MIN_KEPT * inside.sum():
        return likely
    refined = np.zeros_like(likely)
    refined[window] = tight > 0
    return refined


def disc(radius: int) -> np.ndarray:
    """A round structuring element for OpenCV's morphology, `2 * radius + 1` pixels wide."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _as_coco(encoded: dict) -> dict:
    return {"size": encoded["size"], "counts": encoded["counts"].encode("ascii")}

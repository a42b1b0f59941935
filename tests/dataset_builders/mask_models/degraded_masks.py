"""Exact masks made as bad as those of a model: a noise model with a wanted intersection over union."""

import cv2
import numpy as np

_BIAS, _ROUGHNESS = 0.25, 0.9  # of the object's radius, at full strength
_KEPT = 0.75  # correlation of the noise between neighbouring frames
_LOST_FRAME = 0.04  # of the frames are empty
_PART_SHARE, _PART_FRAMES = 0.35, 6  # of the object is missing for so many frames
_JUMP = 0.1  # of the clips end on another object


def degrade(masks, others, wanted, rng):
    """Masks with a mean intersection over union of about `wanted` with the exact ones, where neither is empty.

    The edge is too wide or too narrow throughout and rough, both in correlation over time; a part is missing for some
    frames, some frames have nothing, and in some clips the model goes over to another object near the end.

    Args:
        masks, others (`np.ndarray` of shape `(T, h, w)`, bool): One object, and all others.
        wanted (`float`): Intersection over union.
        rng (`np.random.Generator`): Of everything.

    Returns:
        `tuple[np.ndarray, float]`: The masks, and the intersection over union that they have.
    """
    count, height, width = masks.shape
    radius = np.sqrt(masks.sum(axis=(1, 2)).max() / np.pi)
    inside = np.stack([_depth(mask) for mask in masks])
    noise = np.zeros((count, height, width), np.float32)
    cells = max(2, round(min(height, width) / max(radius, 2))) * 2
    for frame in range(count):
        fresh = cv2.resize(rng.normal(size=(cells, cells)).astype(np.float32), (width, height))
        noise[frame] = fresh if frame == 0 else _KEPT * noise[frame - 1] + np.sqrt(1 - _KEPT**2) * fresh
    bias = rng.choice([-1, 1]) * rng.uniform(0.3, 1) * _BIAS
    lost = rng.random(count) < _LOST_FRAME
    part = int(rng.integers(count)) if rng.random() < 0.5 else count
    angle = rng.uniform(0, 2 * np.pi)
    jump = int(rng.integers(count // 2, count)) if rng.random() < _JUMP and others[count // 2 :].any() else count

    def spoil(strength):
        bad = inside + strength * radius * (bias + _ROUGHNESS * noise) > 0
        bad[part : part + _PART_FRAMES] &= ~_side(masks[part : part + _PART_FRAMES], angle)
        bad[jump:] = others[jump:]
        bad[lost] = False
        return bad

    low, high = 0.0, 2.0
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if iou(spoil(middle)[:jump], masks[:jump]) > wanted else (low, middle)
    bad = spoil(low)
    return bad, iou(bad[:jump], masks[:jump])


def iou(some, others):
    """Mean over the frames in which both show."""
    both = some.any(axis=(1, 2)) & others.any(axis=(1, 2))
    if not both.any():
        return 0.0
    shared, all_of_it = (some & others)[both].sum(axis=(1, 2)), (some | others)[both].sum(axis=(1, 2))
    return float((shared / all_of_it).mean())


def _depth(mask):
    """Pixels to the edge: positive inside, negative outside."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    return inside - cv2.distanceTransform(1 - mask.astype(np.uint8), cv2.DIST_L2, 3)


def _side(masks, angle):
    """The outer third of each mask towards one side."""
    found = np.zeros_like(masks)
    for frame, mask in enumerate(masks):
        rows, columns = np.nonzero(mask)
        if len(rows):
            along = columns * np.cos(angle) + rows * np.sin(angle)
            gone = along > np.quantile(along, 1 - _PART_SHARE)
            found[frame, rows[gone], columns[gone]] = True
    return found

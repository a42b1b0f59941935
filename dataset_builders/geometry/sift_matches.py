"""SIFT matches between frames of a clip."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from .point_tracks import grey_pictures

MIN_MATCHES = 30  # in a pair of frames that can tell anything
_MAX_FEATURES = 800
_RATIO = 0.75  # between the best and the second best match (Lowe)


@dataclass(frozen=True)
class PairMatches:
    """Points seen in two frames.

    Attributes:
        first, last (`int`): The frames.
        before, after (`np.ndarray` of shape `(M, 2)`): Columns and rows in pixels of pictures of `size`.
    """

    first: int
    last: int
    before: np.ndarray
    after: np.ndarray


@dataclass(frozen=True)
class Matches:
    """All pairs of frames that share enough points.

    Attributes:
        pairs (`list[PairMatches]`): In the order of the frames.
        size (`tuple[int, int]`): Width and height of the pictures in which points were found.
    """

    pairs: list[PairMatches]
    size: tuple[int, int]


def match_frames(
    frames: Sequence[Image.Image], numbers: Sequence[int], masks: Sequence[np.ndarray | None] | None = None
) -> Matches:
    """Match some frames of a clip with each other, best matches of each other only.

    Args:
        frames (`Sequence[PIL.Image.Image]`): All frames, of one size.
        numbers (`Sequence[int]`): Those to be matched.
        masks (`Sequence[np.ndarray | None]`, *optional*): For each frame a boolean array `(height, width)`, true on
            moving objects, in which no point is taken.
    """
    pictures, _ = grey_pictures([frames[number] for number in numbers])
    height, width = pictures[0].shape
    sift = cv2.SIFT_create(_MAX_FEATURES)
    found = []
    for number, picture in zip(numbers, pictures, strict=True):
        mask = None if masks is None else masks[number]
        free = None
        if mask is not None:
            small = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
            free = np.where(cv2.dilate(small, np.ones((9, 9), np.uint8)) > 0, 0, 255).astype(np.uint8)
        points, descriptors = sift.detectAndCompute(picture, free)
        found.append((np.array([point.pt for point in points]).reshape(-1, 2), descriptors))
    pairs = []
    for i, first in enumerate(numbers):
        for j in range(i + 1, len(numbers)):
            before, after = _match(found[i], found[j])
            if len(before) >= MIN_MATCHES:
                pairs.append(PairMatches(first, numbers[j], before, after))
    return Matches(pairs, (width, height))


def _match(first: tuple, last: tuple) -> tuple[np.ndarray, np.ndarray]:
    nothing = np.empty((0, 2))
    if first[1] is None or last[1] is None or min(len(first[0]), len(last[0])) < 2:
        return nothing, nothing
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    there = {best.queryIdx: best.trainIdx for best, second in matcher.knnMatch(first[1], last[1], 2) if _is_best(best, second)}
    back = {best.queryIdx: best.trainIdx for best, second in matcher.knnMatch(last[1], first[1], 2) if _is_best(best, second)}
    kept = [(query, train) for query, train in there.items() if back.get(train) == query]
    if not kept:
        return nothing, nothing
    queries, trains = np.array(kept).T
    return first[0][queries], last[0][trains]


def _is_best(best: cv2.DMatch, second: cv2.DMatch) -> bool:
    return best.distance < _RATIO * second.distance

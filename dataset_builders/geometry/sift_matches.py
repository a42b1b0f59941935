"""SIFT matches between frames of a clip."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from .pixel_check import NEAR_PIXELS
from .point_tracks import TRACK_SIDE, grey_pictures

MIN_MATCHES = 20  # in a pair of frames that can tell anything
_MAX_FEATURES, _CONTRAST = 800, 0.02
_RATIO = 0.8  # between the best and the second best match (Lowe)
_CONFIDENCE, _ROUNDS = 0.999, 2000  # of RANSAC
_PLANE_SHARE, _MIN_AGREED = 0.7, 0.55
_LEAST_SIDE = 448  # pixels, to which small pictures are enlarged, or they have few features


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
    factor = max(1.0, _LEAST_SIDE / max(pictures[0].shape))
    if factor > 1:
        pictures = [cv2.resize(p, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) for p in pictures]
    height, width = pictures[0].shape
    sift = cv2.SIFT_create(_MAX_FEATURES, contrastThreshold=_CONTRAST)
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
            before, after = _verify(*_match(found[i], found[j]), NEAR_PIXELS * max(width, height) / TRACK_SIDE)
            if len(before) >= MIN_MATCHES:
                pairs.append(PairMatches(first, numbers[j], before, after))
    return Matches(pairs, (width, height))


def _match(first: tuple, last: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Places of features that match each other better than any other one."""
    if first[1] is None or last[1] is None or min(len(first[0]), len(last[0])) < 2:
        return np.empty((0, 2)), np.empty((0, 2))
    # Squared distances; descriptors are whole numbers up to 255, so float32 is exact enough.
    squares = [np.sum(found[1] ** 2, axis=1) for found in (first, last)]
    distances = squares[0][:, None] + squares[1][None] - 2 * first[1] @ last[1].T
    there, back = _best(distances), _best(distances.T)
    queries = np.flatnonzero((there >= 0) & (back[there] == np.arange(len(there))))
    return first[0][queries], last[0][there[queries]]


def _verify(before: np.ndarray, after: np.ndarray, near: float) -> tuple[np.ndarray, np.ndarray]:
    """The matches on which one motion of the camera agrees, whichever it is; nothing where too few do."""
    if len(before) < MIN_MATCHES:
        return before[:0], after[:0]
    cv2.setRNGSeed(0)
    _, fits = cv2.findFundamentalMat(before, after, cv2.USAC_MAGSAC, near, _CONFIDENCE, _ROUNDS)
    _, fits_plane = cv2.findHomography(before, after, cv2.USAC_MAGSAC, near, maxIters=_ROUNDS, confidence=_CONFIDENCE)
    kept, plane = (np.zeros(len(before), bool) if f is None else f.ravel() > 0 for f in (fits, fits_plane))
    if plane.sum() >= _PLANE_SHARE * kept.sum():  # a turn, which leaves lines open, or a flat scene
        kept = plane
    if kept.mean() < _MIN_AGREED:
        return before[:0], after[:0]
    return before[kept], after[kept]


def _best(distances: np.ndarray) -> np.ndarray:
    """For each row the column that is clearly the nearest, or -1."""
    nearest = np.partition(distances, 1, axis=1)[:, :2]
    return np.where(nearest[:, 0] < _RATIO**2 * nearest[:, 1], distances.argmin(axis=1), -1)

"""Find dissolves, in which one shot fades into the next, by frames that are mixtures of an earlier and a later one."""

from collections import deque
from collections.abc import Callable

import cv2
import numpy as np

_LAGS = (16, 30)  # frames between the two that are compared, of 15 a second
_SIDE = 128  # pixels of the longer side at which mixtures are looked for
_BLUR, _WIDE_BLUR = 1.5, 6.0  # pixels: what is finer moves too far between the frames, what is coarser is alike in all
# Of dissolves between real clips, still and moving, nearly all leave less unexplained; of 540 spans of 37 real clips,
# whatever the camera did, only two drawn films and hard cuts did.
_MOST_UNEXPLAINED = 0.62
_LEAST_WEIGHT = 0.25  # of either shot in a mixture; less may be chance
_MOST_ALIKE = 0.5  # correlation of the two frames: what has been replaced is not alike
_LEAST_SHARED = 0.1  # of the picture; two shifted frames that share less are not compared
_MOST_KEPT = 0.05  # of the corners of the earlier frame that can be found in the later one
# A sum that leaves so little unexplained needs at least this many corners: a few are found anywhere by chance.
_WELL_EXPLAINED, _MOST_KEPT_THEN = 0.3, 0.12
_MARGIN = 0.5  # of what is found, at both ends: there one shot is too faint to be seen as part of a mixture

Follow = Callable[[np.ndarray, np.ndarray], tuple[float, float]]


class DissolveSearch:
    """Takes the frames of a video one by one and remembers which of them are mixtures.

    A frame is one if it is a weighted sum of one before and one after it, each shifted as the camera moves, between
    which nothing is the same any more. A camera that moves replaces its picture too, but the frames between are no
    sum; a light that is switched on changes pictures to sums, but corners stay.

    Args:
        follow (`Callable`): [`~shots.follow_corners`].
    """

    def __init__(self, follow: Follow):
        self._follow = follow
        self._frames: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=max(_LAGS) + 1)
        self._count = 0
        self._mixtures: set[int] = set()

    def look(self, image: np.ndarray) -> None:
        """Take the next frame, RGB, of the shape of all others."""
        self._frames.append((image, _contrast(image)))
        self._count += 1
        for lag in _LAGS:
            if len(self._frames) > lag and self._is_dissolve(lag):
                self._mixtures.add(self._count - 1 - (lag - lag // 2))

    def spans(self) -> list[tuple[int, int]]:
        """First frame of each dissolve, and the first after it."""
        groups: list[list[int]] = []
        for number in sorted(self._mixtures):
            if groups and number - groups[-1][-1] <= min(_LAGS) // 2:
                groups[-1].append(number)
            else:
                groups.append([number])
        spans = []
        for group in groups:
            margin = 2 + round(_MARGIN * (group[-1] - group[0] + 1))
            spans.append((max(0, group[0] - margin), min(self._count, group[-1] + margin + 1)))
        return spans

    def _is_dissolve(self, lag: int) -> bool:
        (first, before), (_, between), (last, after) = (self._frames[-1 - back] for back in (lag, lag - lag // 2, 0))
        if _are_alike(before, after):
            return False
        # A camera goes on moving in a dissolve: either shot is put where the mixture shows it.
        (one, seen), (other, seen_too) = (_shift_onto(picture, between) for picture in (before, after))
        shifted, shared = (one, other), seen & seen_too
        # A fast pan replaces most of the picture: what both shifted frames show tells whether it is one shot.
        if shared.mean() > _LEAST_SHARED and _are_alike(one[shared], other[shared]):
            return False
        both, mixture = np.stack([picture.ravel() for picture in shifted]), between.ravel()
        weights, *_ = np.linalg.lstsq(both @ both.T, both @ mixture)  # a shifted picture may be plain: weight 0
        rest = mixture - weights @ both
        unexplained = (rest @ rest) / max(mixture @ mixture, 1e-9)
        if weights.min() < _LEAST_WEIGHT or unexplained >= _MOST_UNEXPLAINED:
            return False
        most_kept = _MOST_KEPT_THEN if unexplained < _WELL_EXPLAINED else _MOST_KEPT
        return bool(self._follow(first, last)[1] < most_kept)


def _are_alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pictures correlate, or one of them is plain."""
    return bool((one * other).sum() >= _MOST_ALIKE * np.linalg.norm(one) * np.linalg.norm(other))


def _shift_onto(picture: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture moved by what phase correlation with another gives, which finds it in a mixture too, and its area."""
    (right, down), _ = cv2.phaseCorrelate(picture, target, cv2.createHanningWindow(picture.shape[::-1], cv2.CV_32F))
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    moved = cv2.warpAffine(picture, matrix, picture.shape[::-1], borderMode=cv2.BORDER_REFLECT)
    return moved, cv2.warpAffine(np.ones_like(picture), matrix, picture.shape[::-1]) > 0.5


def _contrast(image: np.ndarray) -> np.ndarray:
    """Brightness of a shrunk image without its finest and its coarsest parts."""
    scale = _SIDE / max(image.shape[:2])
    size = (max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale)))
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return cv2.GaussianBlur(grey, (0, 0), _BLUR) - cv2.GaussianBlur(grey, (0, 0), _WIDE_BLUR)

"""Points followed through the frames of a clip (Lucas-Kanade, forth and back)."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

TRACK_SIDE = 640  # longer side in pixels of the pictures that points are followed in; thresholds are in its pixels
MIN_TRACKS = 30  # points in a pair of frames that can tell anything
_SPAN_SHARE = 0.35  # of a frame's points that must be left where a far pair ends
_SPAN_STARTS = 8  # far pairs begin at about this many frames
_MAX_POINTS = 500
_MIN_DISTANCE = 8  # pixels between points
_QUALITY = 0.01  # of the strongest corner
_MAX_RETURN_ERROR = 0.5  # pixels between a point and where it comes back to
_WINDOW, _LEVELS = (21, 21), 4  # pixels, and halvings of the picture: steps of over 100 pixels are followed


@dataclass(frozen=True)
class PointTracks:
    """Points followed from frame to frame.

    Attributes:
        positions (`np.ndarray` of shape `(T, N, 2)`): Column and row in pixels of a picture of `size`, with (0, 0) the
            middle of the first pixel; NaN where a point is not followed. A point that was lost does not come back.
        size (`tuple[int, int]`): Width and height of the pictures that points were followed in; the longer side is
            `TRACK_SIDE`, or less where the frames are smaller.
        scale (`float`): `size` divided by the size of the frames.
    """

    positions: np.ndarray
    size: tuple[int, int]
    scale: float

    def pair(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions in two frames, each `(M, 2)`, of the points that are followed through both."""
        shown = np.isfinite(self.positions[[first, last], :, 0]).all(axis=0)
        return self.positions[first, shown], self.positions[last, shown]

    def only(self, frames: Sequence[int]) -> "PointTracks":
        """The same points in some of the frames."""
        return PointTracks(self.positions[list(frames)], self.size, self.scale)

    def far_pairs(self) -> list[tuple[int, int]]:
        """Pairs of frames as far apart as enough points reach, over the whole clip with overlap."""
        count, pairs, first = len(self.positions), [], 0
        followed = np.isfinite(self.positions[..., 0])
        while first < count - 1:
            needed = max(MIN_TRACKS, _SPAN_SHARE * followed[first].sum())
            last = first + 1
            while last + 1 < count and (followed[first] & followed[last + 1]).sum() >= needed:
                last += 1
            pairs.append((first, last))
            if last == count - 1 and len(pairs) >= _SPAN_STARTS // 2:
                break
            first += max(1, min((last - first) // 2, count // _SPAN_STARTS))
        return pairs


def track_points(frames: Sequence[Image.Image], masks: Sequence[np.ndarray | None] | None = None) -> PointTracks:
    """Follow corners from frame to frame; new ones are taken up where old ones were lost.

    Args:
        frames (`Sequence[PIL.Image.Image]`): Frames of one size.
        masks (`Sequence[np.ndarray | None]`, *optional*): For each frame a boolean array `(height, width)`, true on
            moving objects: no point is followed there.

    Returns:
        [`PointTracks`].
    """
    pictures, scale = grey_pictures(frames)
    height, width = pictures[0].shape
    free = [free_pixels(masks[i] if masks is not None else None, (width, height)) for i in range(len(pictures))]
    points = _corners(pictures[0], free[0])
    names = np.arange(len(points))
    count = len(points)
    seen = [(names, points)]
    for index in range(1, len(pictures)):
        points, kept = _follow(pictures[index - 1], pictures[index], points)
        columns, rows = np.clip(points.round().astype(int), 0, (width - 1, height - 1)).T
        kept &= free[index][rows, columns] > 0
        points, names = points[kept], names[kept]
        fresh = _corners(pictures[index], free[index], points)
        points = np.concatenate([points, fresh])
        names = np.concatenate([names, count + np.arange(len(fresh))])
        count += len(fresh)
        seen.append((names, points))
    positions = np.full((len(pictures), count, 2), np.nan)
    for frame, (names, points) in zip(positions, seen, strict=True):
        frame[names] = points
    return PointTracks(positions, (width, height), scale)


def grey_pictures(frames: Sequence[Image.Image], side: int = TRACK_SIDE) -> tuple[list[np.ndarray], float]:
    """The frames in grey, shrunk until their longer side is at most `side` pixels, and the factor."""
    width, height = frames[0].size
    scale = min(1.0, side / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = (np.asarray(frame.convert("L")) for frame in frames)
    return [cv2.resize(f, size, interpolation=cv2.INTER_AREA) if scale < 1 else f for f in grey], scale


def free_pixels(mask: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """Where points may be: 255 outside a mask, with a margin as wide as what a point is recognised by.

    Args:
        mask (`np.ndarray` of shape `(height, width)`, bool, *optional*): True on moving objects, of any size.
        size (`tuple[int, int]`): Width and height of the result, uint8.
    """
    if mask is None:
        return np.full(size[::-1], 255, np.uint8)
    small = cv2.resize(np.asarray(mask, np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.where(cv2.dilate(small, np.ones((15, 15), np.uint8)) > 0, 0, 255).astype(np.uint8)


def _corners(picture: np.ndarray, free: np.ndarray, taken: np.ndarray | None = None) -> np.ndarray:
    """The strongest corners at a distance from those already taken, `(M, 2)`."""
    room = _MAX_POINTS - (0 if taken is None else len(taken))
    if room < 0.2 * _MAX_POINTS:  # not worth the search
        return np.empty((0, 2), np.float32)
    if taken is not None:
        free = free.copy()
        for column, row in taken.round().astype(int):
            cv2.circle(free, (int(column), int(row)), _MIN_DISTANCE, 0, -1)
    found = cv2.goodFeaturesToTrack(picture, room, _QUALITY, _MIN_DISTANCE, mask=free)
    return np.empty((0, 2), np.float32) if found is None else found.reshape(-1, 2)


def _follow(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points went, and whether each of them was found and leads back to where it came from."""
    if not len(points):
        return points, np.zeros(0, bool)
    settings = {"winSize": _WINDOW, "maxLevel": _LEVELS}
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None, **settings)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, moved, None, **settings)
    inside = ((moved >= 0) & (moved <= (before.shape[1] - 1, before.shape[0] - 1))).all(axis=1)
    near = np.linalg.norm(back - points, axis=1) < _MAX_RETURN_ERROR
    return moved, inside & near & found.ravel().astype(bool) & returned.ravel().astype(bool)

"""Whether a camera's path agrees with points that were followed through the frames, which it was not made from."""

from dataclasses import dataclass

import numpy as np

from .point_tracks import TRACK_SIDE, PointTracks

NEAR_PIXELS = 1.5  # of a picture 640 wide, as all the pixels here


@dataclass(frozen=True)
class PixelCheck:
    """Medians over pairs of frames far apart.

    Attributes:
        epipolar_pixels (`float`): Median distance of points from the lines where the path says they must be (Sampson).
        epipolar_share (`float`): Share of the points within `NEAR_PIXELS` of their line.
        parallax_pixels (`float`): Median distance between where points are and where the turn alone would put them:
            what the change of place does.
    """

    epipolar_pixels: float
    epipolar_share: float
    parallax_pixels: float


def check_path(tracks: PointTracks, poses: np.ndarray, intrinsics: np.ndarray) -> PixelCheck | None:
    """Compare a path with tracks.

    Args:
        tracks ([`PointTracks`]): Of the same frames.
        poses (`np.ndarray` of shape `(T, 4, 4)`): Camera-to-world matrices, NaN where unknown.
        intrinsics (`np.ndarray` of shape `(3, 3)`): In pixels of the pictures that the points were followed in.

    Returns:
        [`PixelCheck`], or `None` where no pair of frames with poses shares enough points.
    """
    unit = TRACK_SIDE / max(tracks.size)
    found = []
    for first, last in tracks.far_pairs():
        if not np.isfinite(poses[[first, last]]).all():
            continue
        before, after = tracks.pair(first, last)
        relative = np.linalg.inv(poses[last]) @ poses[first]  # from the first camera's axes to the last one's
        lines = unit * _sampson(before, after, relative, intrinsics)
        turned = _homogeneous(before) @ (intrinsics @ relative[:3, :3] @ np.linalg.inv(intrinsics)).T
        parallax = unit * np.linalg.norm(turned[:, :2] / turned[:, 2:] - after, axis=1)
        found.append((np.median(lines), (lines < NEAR_PIXELS).mean(), np.median(parallax)))
    return PixelCheck(*map(float, np.median(found, axis=0))) if found else None


def _homogeneous(points: np.ndarray) -> np.ndarray:
    return np.column_stack([points, np.ones(len(points))])


def _sampson(before: np.ndarray, after: np.ndarray, relative: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Sampson distances in pixels (Hartley and Zisserman, 11.4.3)."""
    x, y, z = relative[:3, 3]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    inverse = np.linalg.inv(intrinsics)
    matrix = inverse.T @ cross @ relative[:3, :3] @ inverse
    first, last = _homogeneous(before), _homogeneous(after)
    to_last, to_first = first @ matrix.T, last @ matrix
    slope = np.hypot(np.hypot(*to_last[:, :2].T), np.hypot(*to_first[:, :2].T))
    return np.abs(np.sum(last * to_last, axis=1)) / np.maximum(slope, 1e-12)

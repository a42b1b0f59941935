"""Points seen in two frames, and what poses make of them."""

from collections.abc import Sequence

import cv2
import numpy as np

from ..geometry.sift_matches import PairMatches
from .imported_clip import Lens

MIN_PARALLAX = 2.0  # degrees between two rays to a point, for a depth


class Sights:
    """The matches of all pairs in one array, the pairs with the most matches first.

    Args:
        pairs (`Sequence[PairMatches]`): Pairs of frames.
        size (`tuple[int, int]`): Width and height of the pictures.
    """

    def __init__(self, pairs: Sequence[PairMatches], size: tuple[int, int]):
        self.pairs, self.size = sorted(pairs, key=lambda pair: -len(pair.before)), size
        counts = [len(pair.before) for pair in self.pairs]
        self.owners, self.ends = np.repeat(np.arange(len(counts)), counts), np.cumsum(counts)[:-1]
        self._rays: dict[Lens, tuple[np.ndarray, np.ndarray]] = {}

    def rays(self, lens: Lens) -> tuple[np.ndarray, np.ndarray]:
        """Rays `(M, 3)` at depth 1 through all points of the first and the last frames, the lens's bend taken out."""
        if lens not in self._rays:
            intrinsics, bent = lens.matrix(self.size), np.array(lens.distortion) if lens.distortion else None
            both = [np.concatenate([getattr(pair, side) for pair in self.pairs]) for side in ("before", "after")]
            flat = [cv2.undistortPoints(p.reshape(-1, 1, 2).astype(float), intrinsics, bent)[:, 0] for p in both]
            first, last = (np.column_stack([points, np.ones(len(points))]) for points in flat)
            self._rays[lens] = first, last
        return self._rays[lens]

    def relative(self, poses: np.ndarray) -> np.ndarray:
        """From each pair's first camera's axes to those of its last one, `(P, 4, 4)`; NaN where one is unknown."""
        first, last = (poses[[getattr(pair, side) for pair in self.pairs]] for side in ("first", "last"))
        return np.linalg.inv(np.where(np.isfinite(last), last, np.eye(4))) @ first * _known(last)

    def triangulate(self, poses: np.ndarray, lens: Lens, least: float = MIN_PARALLAX) -> np.ndarray:
        """Depth of each point in the axes of its first camera, `(M,)`; NaN where its rays meet at less than `least`
        degrees."""
        relative = self.relative(poses)[self.owners]
        rays, there = self.rays(lens)
        turned = np.einsum("mij,mj->mi", relative[:, :3, :3], rays)
        across, moved = np.cross(turned, there), np.cross(relative[:, :3, 3], there)
        sines = np.linalg.norm(across, axis=1) / np.linalg.norm(turned, axis=1) / np.linalg.norm(there, axis=1)
        # depth * turned + shift is parallel to there
        depths = -np.sum(across * moved, axis=1) / np.maximum(np.sum(across * across, axis=1), 1e-12)
        return np.where((depths > 0) & (sines > np.sin(np.radians(least))), depths, np.nan)

    def shifts(self, relative: np.ndarray, lens: Lens) -> np.ndarray:
        """How far each point is seen from where the turn alone would put it, `(M,)` in pixels.

        Args:
            relative (`np.ndarray` of shape `(P, 4, 4)`): Of [`relative`].
            lens ([`Lens`]): Of the pictures.
        """
        rays, there = self.rays(lens)
        turned = np.einsum("mij,mj->mi", relative[self.owners, :3, :3], rays)
        front = turned[:, 2] > 1e-6
        focal = lens.matrix(self.size)[[0, 1], [0, 1]]
        places = turned[:, :2] / np.where(front, turned[:, 2], np.nan)[:, None]
        return np.nan_to_num(np.linalg.norm((there[:, :2] - places) * focal, axis=1), nan=10 * focal.max())

    def by_pair(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of points, `(M,)`, for each pair."""
        return np.split(values, self.ends)


def _known(poses: np.ndarray) -> np.ndarray:
    """1 for poses, NaN where one is none, `(P, 1, 1)`."""
    return np.where(np.isfinite(poses).all(axis=(1, 2)), 1.0, np.nan)[:, None, None]

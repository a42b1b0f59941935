"""A camera's path as a file stores it, and how it reads as camera-to-world matrices."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from .files import damaged

MAX_SKEW = 0.02  # of a rotation's entries, which files hold with few digits
_GAP_STEPS, _GAP_SECONDS = 3.0, 0.25  # beyond both, poses are not interpolated
_OUTSIDE_STEPS = 0.6  # of the usual step: how far outside the poses the nearest one still holds


@dataclass(frozen=True)
class Trajectory:
    """Poses with their times.

    Attributes:
        seconds (`np.ndarray` of shape `(N,)`): From the first frame of the video, increasing.
        stored (`np.ndarray` of shape `(N, 4, 4)`): Rigid motions as the file gives them.
        world_to_camera (`bool`): Which way they lead.
        mount (`np.ndarray` of shape `(4, 4)`): From the camera's axes (x right, y down, z forward) to those of the
            body whose poses are stored.
        quaternion (`str`, *optional*): Where in the file's quaternions the real part `w` is: `first` or `last`.
        step (`float`): Usual seconds between poses.
    """

    seconds: np.ndarray
    stored: np.ndarray
    world_to_camera: bool = False
    mount: np.ndarray = field(default_factory=lambda: np.eye(4))
    quaternion: str | None = None

    @property
    def step(self) -> float:
        """Usual seconds between neighbouring poses."""
        return float(np.median(np.diff(self.seconds))) if len(self.seconds) > 1 else 0.0

    def camera_to_world(self) -> np.ndarray:
        """The poses of the camera, `(N, 4, 4)`."""
        poses = np.linalg.inv(self.stored) if self.world_to_camera else self.stored
        return poses @ self.mount

    def inverted(self) -> "Trajectory":
        """The same file read as leading the other way."""
        return replace(self, world_to_camera=not self.world_to_camera)

    def reordered(self) -> "Trajectory":
        """The same file with the real part of its quaternions at the other end."""
        first = self.quaternion != "first"
        x, y, z, w = Rotation.from_matrix(self.stored[:, :3, :3]).as_quat().T
        numbers = (y, z, w, x) if first else (w, x, y, z)
        stored = self.stored.copy()
        stored[:, :3, :3] = Rotation.from_quat(np.stack(numbers, axis=1)).as_matrix()
        return replace(self, stored=stored, quaternion="first" if first else "last")

    def at(self, seconds: Sequence[float]) -> np.ndarray:
        """Camera-to-world matrices at other times, `(T, 4, 4)`; NaN before and after the poses and in their gaps."""
        wanted = np.asarray(seconds, dtype=float)
        poses, times = self.camera_to_world(), self.seconds
        result = np.full((len(wanted), 4, 4), np.nan)
        if len(times) == 1:
            result[np.abs(wanted - times[0]) < 1e-3] = poses[0]
            return result
        slack = _OUTSIDE_STEPS * self.step
        inside = (wanted >= times[0] - slack) & (wanted <= times[-1] + slack)
        clipped = np.clip(wanted, times[0], times[-1])
        after = np.clip(np.searchsorted(times, clipped), 1, len(times) - 1)
        before = after - 1
        gap = times[after] - times[before]
        wide = gap > max(_GAP_STEPS * self.step, _GAP_SECONDS)
        on_pose = np.minimum(np.abs(clipped - times[before]), np.abs(clipped - times[after])) < 1e-3
        known = inside & (~wide | on_pose)
        share = ((clipped - times[before]) / gap)[:, None]
        places = (1 - share) * poses[before, :3, 3] + share * poses[after, :3, 3]
        turns = Slerp(times, Rotation.from_matrix(poses[:, :3, :3]))(clipped).as_matrix()
        result[known] = np.eye(4)
        result[known, :3, :3] = turns[known]
        result[known, :3, 3] = places[known]
        return result


def make_trajectory(
    path: Path,
    seconds: np.ndarray,
    poses: np.ndarray,
    world_to_camera: bool = False,
    mount: np.ndarray | None = None,
    quaternion: str | None = None,
) -> Trajectory:
    """A trajectory from what a file holds, checked.

    Poses with NaN stand for frames without one. Of poses at the same time the first counts.

    Args:
        path (`Path`): The file, for errors.
        seconds (`np.ndarray` of shape `(N,)`): Times.
        poses (`np.ndarray` of shape `(N, 4, 4)` or `(N, 3, 4)`): Rigid motions.
        world_to_camera, mount, quaternion: As in [`Trajectory`].

    Raises:
        ClipError: `damaged`, if there are not as many times as poses, times go back, or a pose is no rigid motion.
    """
    if len(seconds) != len(poses):
        raise damaged(path, f"holds {len(poses)} poses for {len(seconds)} times")
    whole = np.tile(np.eye(4), (len(poses), 1, 1))
    whole[:, :3] = np.asarray(poses, dtype=float)[:, :3]
    known = np.isfinite(whole).all(axis=(1, 2)) & np.isfinite(seconds)
    seconds, whole = np.asarray(seconds, dtype=float)[known], whole[known]
    if len(whole) == 0:
        raise damaged(path, "holds no pose without NaN")
    steps = np.diff(seconds)
    if (steps < 0).any():
        raise damaged(path, f"goes back in time after pose {int(np.argmax(steps < 0))}", "sort the poses by time")
    new = np.concatenate([[True], steps > 0])
    whole = whole[new]
    whole[:, :3, :3] = _rotations(path, whole[:, :3, :3])
    return Trajectory(seconds[new], whole, world_to_camera, np.eye(4) if mount is None else mount, quaternion)


def quaternion_poses(path: Path, places: np.ndarray, quaternions: np.ndarray) -> np.ndarray:
    """Rigid motions `(N, 4, 4)` from places `(N, 3)` and quaternions `x y z w` `(N, 4)`; NaN where one holds NaN.

    Raises:
        ClipError: `damaged`, if a quaternion is not of length 1.
    """
    lengths = np.linalg.norm(quaternions, axis=1)
    odd = np.abs(lengths - 1) > MAX_SKEW
    if odd.any():  # NaN compares as false
        number = int(np.argmax(odd))
        raise damaged(path, f"holds a quaternion of length {lengths[number]:.3g} in pose {number}")
    known = np.isfinite(lengths)
    poses = np.full((len(places), 4, 4), np.nan)
    poses[known] = np.eye(4)
    poses[known, :3, :3] = Rotation.from_quat(quaternions[known]).as_matrix()
    poses[known, :3, 3] = places[known]
    return poses


def _rotations(path: Path, matrices: np.ndarray) -> np.ndarray:
    """The nearest rotations to what was stored with few digits."""
    skewed = np.abs(matrices.transpose(0, 2, 1) @ matrices - np.eye(3)).max(axis=(1, 2)) > MAX_SKEW
    if skewed.any():
        raise damaged(path, f"holds no rotation in pose {int(np.argmax(skewed))}")
    mirrored = np.linalg.det(matrices) < 0
    if mirrored.any():
        raise damaged(path, f"is mirrored in pose {int(np.argmax(mirrored))} (determinant -1)")
    left, _, right = np.linalg.svd(matrices)
    return left @ right

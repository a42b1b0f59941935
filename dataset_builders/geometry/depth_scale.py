"""The unit of poses from depth in metres, by points that stand still and were followed through the frames."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..clip_error import ClipError
from ..clip_record import CameraPoses, DepthMaps, ObjectTrack
from .masks import moving_pixels
from .point_tracks import MIN_TRACKS, track_points

MAX_SPREAD = 0.35  # of the logarithm of the ratio within a frame: beyond, depth and motion show different scenes
_MIN_SIGHTS = 3  # frames in which a point must be seen
_MIN_PARALLAX = np.radians(1.0)  # between its first and last ray
_MAD = 1.4826


class DepthFit(NamedTuple):
    """Depth that agrees with the poses.

    Attributes:
        depth ([`DepthMaps`]): With each frame's own error of scale taken out.
        metres (`float`, *optional*): Metres in one unit of the poses; `None` where that is 1 or nothing, as the camera
            does not move.
        spread (`float`): Standard deviation, as a logarithm, of what remains at single points.
    """

    depth: DepthMaps
    metres: float | None
    spread: float


def fit_depth(
    frames: Sequence[Image.Image], camera: CameraPoses, depth: DepthMaps, movers: Sequence[ObjectTrack] = ()
) -> DepthFit:
    """Compare depth with the distances that resting points have by the poses.

    A network guesses every frame by itself: its unit wavers from frame to frame. Where the camera moves, followed
    points are triangulated, which gives their depth in the unit of the poses; where it stands or turns, each point
    keeps its distance, whatever that is. Either way the median over a frame's points is that frame's error.

    Args:
        frames (`Sequence[PIL.Image.Image]`): Of the window.
        camera ([`CameraPoses`]): In any unit.
        depth ([`DepthMaps`]): In metres.
        movers (`Sequence[ObjectTrack]`, *optional*): Where no point is followed.

    Raises:
        ClipError: `unclear`, if there are too few points, or depth and poses show different scenes.
    """
    tracks = track_points(frames, moving_pixels(movers, len(frames)))
    positions = tracks.positions / tracks.scale
    positions[~camera.registered] = np.nan
    measured = np.log(sample_depth(depth, positions, frames[0].size))
    moves = camera.kind in ("up_to_scale", "metric")
    expected = np.log(_triangulate(positions, camera)) if moves else _keep_distance(measured, positions, camera)
    ratios = measured - expected
    known = np.isfinite(ratios)
    if known.sum() < MIN_TRACKS * _MIN_SIGHTS:
        raise ClipError("unclear", "too few resting points to compare depth with poses", "give a clip with texture")
    overall = float(np.median(ratios[known]))
    shifts = np.array(
        [np.median(row[seen]) if seen.any() else overall for row, seen in zip(ratios, known, strict=True)]
    )
    rest = (ratios - shifts[:, None])[known]
    spread = float(_MAD * np.median(np.abs(rest)))
    if spread > MAX_SPREAD:
        raise ClipError(
            "unclear",
            f"depth and poses disagree: by {spread:.0%} at half of the resting points",
            "name another --depth model",
        )
    kept = 0.0 if camera.kind == "metric" else overall  # poses in metres know better than a network
    maps = depth.maps * np.exp(kept - shifts)[:, None, None].astype(np.float32)
    metres = float(np.exp(overall)) if camera.kind == "up_to_scale" else None
    return DepthFit(replace(depth, maps=maps), metres, spread)


def sample_depth(depth: DepthMaps, positions: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth at points of the frames.

    Args:
        depth ([`DepthMaps`]): Of the frames.
        positions (`np.ndarray` of shape `(T, N, 2)`): Column and row in pixels of the frames, NaN where unknown.
        size (`tuple[int, int]`): Width and height of the frames.

    Returns:
        `np.ndarray` of shape `(T, N)`: NaN where unknown.
    """
    height, width = depth.maps.shape[1:]
    scaled = (positions + 0.5) * (width / size[0], height / size[1])
    known = np.isfinite(scaled).all(axis=2)
    columns, rows = np.where(known[..., None], np.clip(scaled, 0, (width - 1, height - 1)), 0).astype(int).T
    found = depth.maps[np.arange(len(positions))[:, None], rows.T, columns.T].astype(float)
    return np.where(known, found, np.nan)


def _rays(positions: np.ndarray, camera: CameraPoses) -> np.ndarray:
    """Directions of points in each camera's axes with z = 1, shape `(T, N, 3)`."""
    homogeneous = np.concatenate([positions, np.ones((*positions.shape[:2], 1))], axis=2)
    return homogeneous @ np.linalg.inv(camera.intrinsics).T


def _triangulate(positions: np.ndarray, camera: CameraPoses) -> np.ndarray:
    """Depth of each point in each frame in the unit of the poses, `(T, N)`, by the point nearest to all its rays."""
    poses = camera.camera_to_world
    rays = np.einsum("tij,tnj->tni", poses[:, :3, :3], _rays(positions, camera))
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    depths = np.full(positions.shape[:2], np.nan)
    for number in range(positions.shape[1]):
        seen = np.flatnonzero(np.isfinite(rays[:, number]).all(axis=1))
        if len(seen) < _MIN_SIGHTS:
            continue
        ways, centres = rays[seen, number], poses[seen, :3, 3]
        if np.arccos(np.clip(ways[0] @ ways[-1], -1, 1)) < _MIN_PARALLAX:
            continue
        across = np.eye(3) - ways[:, :, None] * ways[:, None]
        point = np.linalg.solve(across.sum(axis=0), np.einsum("tij,tj->i", across, centres))
        ahead = np.einsum("tj,tj->t", poses[seen, :3, 2], point - centres)
        if (ahead > 0).all():
            depths[seen, number] = ahead
    return depths


def _keep_distance(measured: np.ndarray, positions: np.ndarray, camera: CameraPoses) -> np.ndarray:
    """Logarithms of the depth that each point would have if its distance were the same in all frames."""
    slant = np.log(np.linalg.norm(_rays(positions, camera), axis=2))
    distances = measured + slant
    counts = np.isfinite(distances).sum(axis=0)
    mean = np.nansum(distances, axis=0) / np.maximum(counts, 1)
    return np.where(counts >= _MIN_SIGHTS, mean, np.nan) - slant

"""Regions of the scene that stand still, by which a person sees how the camera moves."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import NamedTuple

import cv2
import numpy as np

from ...modeling.clip import Clip
from ..clip_record import CameraPoses, ObjectTrack
from .masks import encode_mask, moving_pixels
from .point_tracks import PointTracks, track_points

NAME = "region at rest"
MAX_REGIONS = 8
_RADIUS = 0.09  # of the picture's longer side, within which points make a region
_MIN_POINTS = 6
_MIN_FRAMES = 3
_MAX_RESIDUAL = 2.0  # pixels between a region's points and its shift, turn and growth; more spans two depths
_MAX_CAMERA_ERROR = 3.0  # pixels between a point and where the camera's motion lets a resting point be
MIN_AREA_SHARE = 0.001  # of the picture


class _Region(NamedTuple):
    first: int
    last: int
    members: np.ndarray  # numbers of the points
    score: float


def find_resting_regions(clip: Clip, camera: CameraPoses, movers: Sequence[ObjectTrack] = ()) -> list[ObjectTrack]:
    """Find textured regions that stand still in the world, each followed for as long as it is in view.

    A region is the hull of corners close to each other that were followed over the same frames, fit one similarity
    between any two of them, and agree with the camera's motion.

    Args:
        clip ([`Clip`]): The window's frames.
        camera ([`CameraPoses`]): Where the camera was.
        movers (`Sequence[ObjectTrack]`, *optional*): Moving objects, which no region may touch.

    Returns:
        `list[ObjectTrack]`: At most `MAX_REGIONS`, the best followed first; regions of one frame do not overlap.
    """
    tracks = track_points(clip.frames, moving_pixels(movers, len(clip.frames)))
    at_rest = _agrees_with_camera(tracks, camera)
    positions = np.where(at_rest[None, :, None], tracks.positions, np.nan)
    chosen: list[ObjectTrack] = []
    taken = np.zeros((len(clip.frames), *tracks.size[::-1]), bool)
    for region in sorted(_candidates(positions, tracks.size), key=lambda region: -region.score):
        masks = _region_masks(positions, region, tracks.size)
        if masks is None or (masks & taken).any():
            continue
        taken |= masks
        chosen.append(_as_track(masks, clip.frames[0].size))
        if len(chosen) == MAX_REGIONS:
            break
    return chosen


def _agrees_with_camera(tracks: PointTracks, camera: CameraPoses) -> np.ndarray:
    """Whether each point goes where the camera's motion lets a resting point go, shape `(N,)`."""
    positions = tracks.positions
    seen = np.isfinite(positions[..., 0]) & camera.registered[:, None]
    first, last = seen.argmax(axis=0), len(seen) - 1 - seen[::-1].argmax(axis=0)
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2] *= tracks.scale
    agrees = seen.sum(axis=0) >= _MIN_FRAMES
    for start, end in {(int(a), int(b)) for a, b in zip(first[agrees], last[agrees], strict=True)}:
        members = np.flatnonzero(agrees & (first == start) & (last == end))
        relative = np.linalg.inv(camera.camera_to_world[end]) @ camera.camera_to_world[start]
        before, after = positions[start, members], positions[end, members]
        if camera.kind in ("still", "turn_only"):
            turn = intrinsics @ relative[:3, :3] @ np.linalg.inv(intrinsics)
            expected = cv2.perspectiveTransform(before[:, None], turn)[:, 0]
            error = np.linalg.norm(after - expected, axis=1)
        else:
            error = _epipolar_distance(before, after, relative, intrinsics)
        agrees[members] = error <= _MAX_CAMERA_ERROR
    return agrees


def _epipolar_distance(
    before: np.ndarray, after: np.ndarray, relative: np.ndarray, intrinsics: np.ndarray
) -> np.ndarray:
    """Distance in pixels of points in the later frame from their epipolar lines."""
    x, y, z = relative[:3, 3]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    inverse = np.linalg.inv(intrinsics)
    fundamental = inverse.T @ cross @ relative[:3, :3] @ inverse
    lines = np.c_[before, np.ones(len(before))] @ fundamental.T
    norms = np.linalg.norm(lines[:, :2], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.abs((lines[:, :2] * after).sum(axis=1) + lines[:, 2]) / norms
    return np.where(norms > 1e-12, distance, 0.0)  # no baseline, no line


def _candidates(positions: np.ndarray, size: tuple[int, int]) -> list[_Region]:
    """Regions round some of the points, scored by how long and by how many points they are followed."""
    seen = np.isfinite(positions[..., 0])
    radius = _RADIUS * max(size)
    regions = []
    for frame in range(0, len(positions), max(1, len(positions) // 4)):
        here = np.flatnonzero(seen[frame])
        lengths = seen[:, here].sum(axis=0)
        for number in here[np.argsort(-lengths, kind="stable")][:80]:
            near = here[np.linalg.norm(positions[frame, here] - positions[frame, number], axis=1) <= radius]
            track = np.flatnonzero(seen[:, number])
            first, last = int(track[0]), int(track[-1])
            members = near[seen[first : last + 1, near].all(axis=0)]
            if len(members) >= _MIN_POINTS and last - first + 1 >= _MIN_FRAMES:
                regions.append(_Region(first, last, members, (last - first + 1) * min(len(members), 20)))
    return regions


def _region_masks(positions: np.ndarray, region: _Region, size: tuple[int, int]) -> np.ndarray | None:
    """The region in every frame, `(T, height, width)`; `None` if its points do not move as one."""
    width, height = size
    masks = np.zeros((len(positions), height, width), bool)
    start = positions[region.first, region.members].astype(np.float32)
    hull = cv2.convexHull(start)
    for frame in range(region.first, region.last + 1):
        now = positions[frame, region.members].astype(np.float32)
        similarity, _ = cv2.estimateAffinePartial2D(start, now, method=cv2.LMEDS)
        if similarity is None:
            return None
        error = np.linalg.norm(cv2.transform(start[:, None], similarity)[:, 0] - now, axis=1)
        if np.median(error) > _MAX_RESIDUAL or np.quantile(error, 0.9) > 3 * _MAX_RESIDUAL:
            return None
        drawn = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(drawn, cv2.transform(hull, similarity).round().astype(np.int32), 1)
        if drawn.mean() < MIN_AREA_SHARE:
            return None
        masks[frame] = drawn > 0
    return masks


def _as_track(masks: np.ndarray, size: tuple[int, int]) -> ObjectTrack:
    encoded = []
    for mask in masks:
        full = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) if mask.any() else None
        encoded.append(None if full is None else encode_mask(full > 0))
    sure = np.array([mask is not None for mask in encoded])
    return ObjectTrack(NAME, tuple(encoded), sure, {"opencv-python-headless": version("opencv-python-headless")})

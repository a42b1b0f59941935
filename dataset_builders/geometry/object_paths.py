"""The path of an object through the picture and through the first camera's picture, measured from its masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from ..clip_record import CameraPoses, ObjectTrack
from .masks import decode_mask

MIN_FRAMES = 5
MIN_SECONDS = 0.5
_MAX_CUT = 0.25  # of the square root of its area: pixels along the picture's border, above which a mask is cut off
_MAX_ANGLE = 60.0  # degrees off the first camera's axis; beyond, its picture plane is no picture
_WINDOW = 5  # frames of the smoothing
_MAX_GAP = 2  # frames without a sure and whole mask that are passed over, if there are at least twice as many with one


@dataclass(frozen=True)
class ObjectPath:
    """Where an object was and how large, over a stretch of frames in which its masks are sure and whole.

    Places are columns and rows divided by the picture's longer side, so that noise and motion compare between clips.

    Attributes:
        seconds (`np.ndarray` of shape `(n,)`): Times of the frames.
        picture (`np.ndarray` of shape `(n, 2)`): Places in the picture of each frame (apparent).
        world (`np.ndarray` of shape `(n, 2)`, *optional*): Places in the picture that the first camera would have seen
            (compensated); `None` where the camera's motion or the object's depth is not known.
        sizes (`np.ndarray` of shape `(n,)`): Natural logarithms of the square root of the area, corrected for the
            stretching of a picture towards its corners.
        spans (`np.ndarray` of shape `(n,)`): Natural logarithms of the diagonal of the bounding box, corrected alike.
        distances (`np.ndarray` of shape `(n,)`, *optional*): Natural logarithms of the distance from where the first
            camera was; `None` where depth is not known.
        points (`np.ndarray` of shape `(n, 3)`, *optional*): Places in the first camera's axes, unit of the poses.
        ranges (`np.ndarray` of shape `(n,)`, *optional*): Natural logarithms of the distance from where the camera is
            in each frame.
    """

    seconds: np.ndarray
    picture: np.ndarray
    world: np.ndarray | None
    sizes: np.ndarray
    spans: np.ndarray
    distances: np.ndarray | None = None
    points: np.ndarray | None = None
    ranges: np.ndarray | None = None

    @property
    def extent(self) -> float:
        """Median square root of the area, divided by the picture's longer side."""
        return float(np.exp(np.median(self.sizes)))

    def cut(self, first: int, last: int) -> "ObjectPath":
        """The part from one frame to another, both included."""
        part = slice(first, last + 1)
        return ObjectPath(**{name: None if values is None else values[part] for name, values in vars(self).items()})


def measure_path(
    track: ObjectTrack,
    camera: CameraPoses | None,
    timestamps: Sequence[float],
    size: tuple[int, int],
    depths: ArrayLike | None = None,
) -> ObjectPath | None:
    """Measure an object's path over its longest stretch of frames that are sure, whole in the picture, and posed.

    One or two frames within it may lack that: the path goes straight on there.

    Args:
        track ([`ObjectTrack`]): The object.
        camera ([`CameraPoses`], *optional*): The camera's poses, if known.
        timestamps (`Sequence[float]`): Seconds of the frames.
        size (`tuple[int, int]`): Width and height of the frames in pixels.
        depths (`ArrayLike` of shape `(T,)`, *optional*): Median depth of the object in each frame in the unit of the
            poses; NaN where unknown.

    Returns:
        [`ObjectPath`], or `None` if the longest stretch is below [`MIN_FRAMES`] or [`MIN_SECONDS`].
    """
    count = len(track.masks)
    seconds = np.asarray(timestamps, dtype=float)
    shapes = np.full((count, 4), np.nan)
    for frame, mask in enumerate(track.masks):
        if mask is not None and track.sure[frame]:
            shapes[frame] = _measure_mask(decode_mask(mask))
    usable = np.isfinite(shapes).all(axis=1)
    if camera is not None and camera.kind != "still":
        usable &= camera.registered
    if depths is not None:
        depths = np.array(depths, dtype=float)
        usable &= np.isfinite(depths)
    passed = _pass_gaps(usable)
    if camera is not None and camera.kind != "still":
        passed &= camera.registered
    first, last = longest_run(passed)
    part = slice(first, last + 1)
    known = np.flatnonzero(usable[part])
    if len(known) < max(MIN_FRAMES, 2 * (last - first + 1) / 3) or seconds[last] - seconds[first] < MIN_SECONDS:
        return None
    within = seconds[part]
    for values in (shapes[part], *(() if depths is None else (depths[part, None],))):
        for column in values.T:
            column[:] = np.interp(within, within[known], column[known])
    centres, side = shapes[part, :2], max(size)
    path = ObjectPath(
        seconds[part], centres / side, None, np.log(shapes[part, 2] / side), np.log(shapes[part, 3] / side)
    )
    if camera is None:
        return path
    return _seen_by_first_camera(path, centres, camera, part, side, None if depths is None else depths[part])


def smooth(values: np.ndarray) -> np.ndarray:
    """Local straight-line fits over [`_WINDOW`] frames, of shape `(n,)` or `(n, k)`; ends are not shifted."""
    from scipy.signal import savgol_filter  # slow to import, and most processes of a build need it never

    return savgol_filter(values, min(_WINDOW, len(values) - (len(values) + 1) % 2), 1, axis=0)


def noise(values: np.ndarray) -> float:
    """Standard deviation of one measurement about a smooth curve, from second differences (robust)."""
    second = values[2:] - 2 * values[1:-1] + values[:-2]
    return float(1.4826 * np.median(np.abs(second)) / np.sqrt(6))


def _seen_by_first_camera(
    path: ObjectPath, centres: np.ndarray, camera: CameraPoses, part: slice, side: int, depths: np.ndarray | None
) -> ObjectPath:
    inverse = np.linalg.inv(camera.intrinsics)
    rays = np.column_stack([centres, np.ones(len(centres))]) @ inverse.T
    # A small thing at an angle to the axis covers 1 / cos^3 of the area that it would on the axis.
    cosines = 1 / np.linalg.norm(rays, axis=1)
    sizes, spans = path.sizes + 1.5 * np.log(cosines), path.spans + 1.5 * np.log(cosines)
    poses = camera.camera_to_world[part]
    points = distances = ranges = None
    if camera.kind in ("still", "turn_only"):
        turned = rays
        if camera.kind == "turn_only":
            turned = np.einsum("ji,tjk,tk->ti", poses[0, :3, :3], poses[:, :3, :3], rays)
        if depths is not None:
            points = turned * depths[:, None]
    elif depths is not None:
        world = np.einsum("tij,tj->ti", poses[:, :3, :3], rays * depths[:, None]) + poses[:, :3, 3]
        points = turned = (world - poses[0, :3, 3]) @ poses[0, :3, :3]
    else:
        return ObjectPath(path.seconds, path.picture, None, sizes, spans)
    if points is not None and depths is not None:
        distances = np.log(np.linalg.norm(points, axis=1))
        ranges = np.log(depths / cosines)
    ahead = turned[:, 2] > np.cos(np.radians(_MAX_ANGLE)) * np.linalg.norm(turned, axis=1)
    if not ahead.all():
        return ObjectPath(path.seconds, path.picture, None, sizes, spans, distances, points, ranges)
    world_places = (turned / turned[:, 2:]) @ camera.intrinsics.T
    places = world_places[:, :2] / side
    return ObjectPath(path.seconds, path.picture, places, sizes, spans, distances, points, ranges)


def _measure_mask(mask: np.ndarray) -> np.ndarray:
    """Column and row of the centre, square root of the area, diagonal of the box; NaN if empty or cut off."""
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        return np.full(4, np.nan)
    root = np.sqrt(len(rows))
    edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    if max(int(edge.sum()) for edge in edges) > _MAX_CUT * root:
        return np.full(4, np.nan)
    return np.array([columns.mean(), rows.mean(), root, np.hypot(np.ptp(columns) + 1, np.ptp(rows) + 1)])


def _pass_gaps(usable: np.ndarray) -> np.ndarray:
    """The same, with short gaps between usable frames counted as usable."""
    passed = usable.copy()
    known = np.flatnonzero(usable)
    for before, after in pairwise(known):
        if after - before <= _MAX_GAP + 1:
            passed[before:after] = True
    return passed


def longest_run(usable: np.ndarray) -> tuple[int, int]:
    """First and last frame of the longest stretch of true values, shape `(T,)`; (0, -1) if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], usable.astype(int), [0]])))
    runs = edges.reshape(-1, 2)
    if len(runs) == 0:
        return 0, -1
    start, end = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return int(start), int(end - 1)

"""Where objects are in space, from masks, depth and poses, and how far the same measurement is off for what rests."""

from dataclasses import dataclass

import cv2
import numpy as np

from ..clip_record import CameraPoses, ClipRecord, DepthMaps, ObjectTrack
from .masks import decode_mask, touches_border

MIN_PIXELS = 6  # of the depth map, below which an object's place is not measured
_MAX_POINTS = 300  # that are kept of an object in a frame
_NEAREST_SHARE = 0.02  # of the points, which may be nearer than the nearest one: stray pixels at an edge
_STRAY = 4.0  # median deviations from an object's median depth, beyond which a point is not its own
_MIDDLE_SHARE = 0.35  # of its extent: how far behind its visible points the middle of an object is taken to be
_GRID = 12  # resting patches along each side of the picture
_PAIR_SHARE = 0.3  # of the window: how far apart two frames are, between which rest is measured at least
_MAX_PAIRS = 12
_NOISE_QUANTILE = 0.68  # of the displacements of what rests: one standard deviation
DEFAULT_NOISE = 0.05  # of the distance, where nothing at rest can be measured


@dataclass(frozen=True)
class ObjectPlaces:
    """Where one object is over a window, in world axes and the unit of the poses.

    Attributes:
        centres (`np.ndarray` of shape `(T, 3)`): Its middle: the median of the visible points, and as far behind them
            as a thing of its extent is deep; NaN where the object is not seen whole.
        points (`tuple[np.ndarray | None, ...]`): Visible points `(n, 3)` of each frame.
        extents (`np.ndarray` of shape `(T,)`): Square root of the visible area.
    """

    centres: np.ndarray
    points: tuple[np.ndarray | None, ...]
    extents: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Whether each frame has a place, shape `(T,)`."""
        return np.isfinite(self.centres).all(axis=1)

    def nearest(self, frame: int, camera: np.ndarray) -> float:
        """How near the points of a frame come to a place, but for a few stray ones."""
        points = self.points[frame]
        assert points is not None
        return float(np.quantile(np.linalg.norm(points - camera, axis=1), _NEAREST_SHARE))


def back_project(
    depth: np.ndarray, shown: np.ndarray, intrinsics: np.ndarray, camera_to_world: np.ndarray
) -> np.ndarray:
    """World points of the pixels of a depth map.

    Args:
        depth (`np.ndarray` of shape `(h, w)`): Along the view axis.
        shown (`np.ndarray` of shape `(h, w)`, bool): Which pixels.
        intrinsics (`np.ndarray` of shape `(3, 3)`): From camera axes to column and row of the map.
        camera_to_world (`np.ndarray` of shape `(4, 4)`): Pose.

    Returns:
        `np.ndarray` of shape `(n, 3)`: Row by row.
    """
    rows, columns = np.nonzero(shown)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(intrinsics).T
    local = rays * depth[rows, columns, None]
    return local @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]


def measure_places(track: ObjectTrack, camera: CameraPoses, depth: DepthMaps, size: tuple[int, int]) -> ObjectPlaces:
    """Measure where an object is in each frame in which its mask is sure, whole in the picture, and has depth.

    The mask's edge is left out, where depth is neither the object's nor the background's.

    Args:
        track ([`ObjectTrack`]): The object.
        camera ([`CameraPoses`]): In the unit of the depth.
        depth ([`DepthMaps`]): Of the same frames.
        size (`tuple[int, int]`): Width and height of the frames in pixels.
    """
    intrinsics = map_intrinsics(camera.intrinsics, depth, size)
    count = len(track.masks)
    centres, extents = np.full((count, 3), np.nan), np.full(count, np.nan)
    points: list[np.ndarray | None] = [None] * count
    for frame in np.flatnonzero(np.asarray(track.sure, dtype=bool) & camera.registered):
        mask = track.masks[frame]
        if mask is None or touches_border(mask):
            continue
        found = _object_points(mask, depth.maps[frame], intrinsics, camera.camera_to_world[frame])
        if found is not None:
            points[frame], extents[frame] = found
            face = np.median(points[frame], axis=0)
            way = face - camera.camera_to_world[frame, :3, 3]
            centres[frame] = face + _MIDDLE_SHARE * extents[frame] * way / np.linalg.norm(way)
    return ObjectPlaces(centres, tuple(points), extents)


def map_intrinsics(intrinsics: np.ndarray, depth: DepthMaps, size: tuple[int, int]) -> np.ndarray:
    """Intrinsics in pixels of depth maps, which show all of frames of a size; (0, 0) is the middle of a pixel."""
    height, width = depth.maps.shape[1:]
    scale = np.diag([width / size[0], height / size[1], 1.0])
    shift, back = np.eye(3), np.eye(3)
    shift[:2, 2], back[:2, 2] = 0.5, -0.5
    return back @ scale @ shift @ intrinsics


def place_noise(record: ClipRecord) -> float:
    """How far what rests seems to move, as a share of its distance: one standard deviation, over pairs of frames.

    Regions at rest are measured as objects are. Besides, patches of all that is not an object are looked up in the
    other frame, at the place where the poses put them. What either seems to move is noise of depth, poses and masks.

    Args:
        record ([`ClipRecord`]): With camera and depth in one unit.
    """
    camera, depth = record.camera, record.depth
    assert camera is not None and depth is not None
    places = [measure_places(region, camera, depth, record.size) for region in record.resting or ()]
    pairs = _far_pairs(np.flatnonzero(camera.registered), len(camera.camera_to_world))
    centres = camera.camera_to_world[:, :3, 3]
    moves = [
        np.linalg.norm(place.centres[last] - place.centres[first])
        / np.linalg.norm(place.centres[first] - centres[first])
        for place in places
        for first, last in pairs
        if place.known[[first, last]].all()
    ]
    found = [np.quantile(moves, _NOISE_QUANTILE)] if moves else []
    patches = np.concatenate([_patch_moves(record, first, last) for first, last in pairs]) if pairs else np.empty(0)
    if len(patches):
        found.append(np.quantile(patches, _NOISE_QUANTILE))
    return float(max(found)) if found else DEFAULT_NOISE


def _object_points(
    mask: dict, depth: np.ndarray, intrinsics: np.ndarray, pose: np.ndarray
) -> tuple[np.ndarray, float] | None:
    """Visible points of an object and the square root of its visible area, `None` if there are too few."""
    shown = _shrink(decode_mask(mask), depth.shape)
    inner = cv2.erode(shown.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    known = np.isfinite(depth)
    used = inner & known if (inner & known).sum() >= MIN_PIXELS else shown & known
    if used.sum() < MIN_PIXELS:
        return None
    values = depth[used]
    middle = np.median(values)
    own = np.abs(values - middle) <= _STRAY * max(float(np.median(np.abs(values - middle))), 0.01 * middle)
    used[used] = own
    points = back_project(depth, used, intrinsics, pose)
    side = middle * np.sqrt(shown.sum() / (intrinsics[0, 0] * intrinsics[1, 1]))
    return points[:: max(1, len(points) // _MAX_POINTS)], float(side)


def _shrink(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if mask.shape == shape:
        return mask
    return cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) > 0.5


def _far_pairs(frames: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Some pairs of frames that are far apart, spread over the window."""
    gap = max(1, int(_PAIR_SHARE * (count - 1)))
    pairs = [(int(one), int(other)) for one in frames for other in frames if other - one >= gap]
    return (
        [pairs[number] for number in np.unique(np.linspace(0, len(pairs) - 1, _MAX_PAIRS).astype(int))]
        if pairs
        else []
    )


def _patch_moves(record: ClipRecord, first: int, last: int) -> np.ndarray:
    """How far patches of the background seem to move between two frames, as shares of their distance."""
    camera, depth = record.camera, record.depth
    assert camera is not None and depth is not None
    intrinsics = map_intrinsics(camera.intrinsics, depth, record.size)
    free = [_free_depth(record, frame) for frame in (first, last)]
    height, width = depth.maps.shape[1:]
    rows, columns = (np.linspace(2, side - 3, _GRID).astype(int) for side in (height, width))
    chosen = np.zeros((height, width), bool)
    chosen[np.ix_(rows, columns)] = True
    # One unknown pixel makes a patch unknown; a box filter's running sums would carry it through the whole row.
    smooth = [cv2.filter2D(values, -1, np.full((3, 3), 1 / 9, np.float32)) for values in free]
    chosen &= np.isfinite(smooth[0])
    world = back_project(smooth[0], chosen, intrinsics, camera.camera_to_world[first])
    pose = camera.camera_to_world[last]
    local = (world - pose[:3, 3]) @ pose[:3, :3]
    ahead = local[:, 2] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = np.where(ahead[:, None], local @ intrinsics.T / local[:, 2:], -1)[:, :2].astype(np.float32)
    inside = ahead & (seen >= 0).all(axis=1) & (seen <= (width - 1, height - 1)).all(axis=1)
    if not inside.any():
        return np.empty(0)
    there = cv2.remap(smooth[1], seen[inside, None], None, cv2.INTER_LINEAR)[:, 0]
    moved = np.abs(there - local[inside, 2]) / local[inside, 2]
    return moved[np.isfinite(moved)]


def _free_depth(record: ClipRecord, frame: int) -> np.ndarray:
    """The depth of a frame, NaN on objects and their surroundings."""
    assert record.depth is not None
    values = record.depth.maps[frame].copy()
    for track in record.objects or ():
        mask = track.masks[frame]
        if mask is not None:
            shown = _shrink(decode_mask(mask), values.shape).astype(np.uint8)
            values[cv2.dilate(shown, np.ones((5, 5), np.uint8)) > 0] = np.nan
    values[~np.isfinite(values)] = np.nan
    return values

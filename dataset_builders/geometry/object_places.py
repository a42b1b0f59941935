"""Where objects are in space, from masks, depth and poses, and how far the same measurement is off for what rests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from ..clip_record import CameraPoses, ClipRecord, DepthMaps, ObjectTrack
from .masks import decode_mask, touches_border
from .object_paths import longest_run, smooth

MIN_PIXELS = 6  # of the depth map, below which an object's place is not measured
_MAX_POINTS = 300  # that are kept of an object in a frame
_NEAREST_SHARE = 0.02  # of the points, which may be nearer than the nearest one: stray pixels at an edge
_STRAY = 4.0  # median deviations from an object's median depth, beyond which a point is not its own
_MIDDLE_SHARE = 0.35  # of its extent: how far behind its visible points the middle of an object is taken to be
_GRID = 12  # resting patches along each side of the picture
_PAIR_SHARE = 0.3  # of the window: how far apart two frames are, between which rest is measured at least
_MAX_PAIRS = 12
_NOISE_QUANTILE = 0.68  # of the displacements of what rests: one standard deviation
_ACROSS_QUANTILE = np.sqrt(-2 * np.log(1 - _NOISE_QUANTILE))  # of a length across a line, in deviations of one axis
MASK_PIXELS = 0.4  # of a depth map, by which the middle of a mask is off: standard deviation of one axis
_LEAST_SHAKE = 0.7  # of what regions seem to move across the line of sight: at least so much is the camera's
_SMOOTHED_OVER = (-2, 0, 2)  # frames around each of a pair, over which patches are averaged as centres are smoothed
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


def smooth_run(centres: np.ndarray, run: tuple[int, int]) -> np.ndarray:
    """Centres `(T, 3)` of an object, smoothed over a run of frames in which they are known; NaN elsewhere, and where
    the run is too short to be smoothed."""
    first, last = run
    smoothed = np.full_like(centres, np.nan)
    if last - first >= 2:
        smoothed[first : last + 1] = smooth(centres[first : last + 1])
    return smoothed


def map_intrinsics(intrinsics: np.ndarray, depth: DepthMaps, size: tuple[int, int]) -> np.ndarray:
    """Intrinsics in pixels of depth maps, which show all of frames of a size; (0, 0) is the middle of a pixel."""
    height, width = depth.maps.shape[1:]
    scale = np.diag([width / size[0], height / size[1], 1.0])
    shift, back = np.eye(3), np.eye(3)
    shift[:2, 2], back[:2, 2] = 0.5, -0.5
    return back @ scale @ shift @ intrinsics


class PlaceNoise(NamedTuple):
    """How far what rests seems to move between two frames: standard deviations.

    Attributes:
        single (`float`): As a share of its distance, of what is measured in single frames.
        smoothed (`float`): The same of centres that are smoothed over time.
        camera (`float`): Of what poses alone cause, as a share of the scene's depth.
    """

    single: float
    smoothed: float
    camera: float


def place_noise(record: ClipRecord) -> PlaceNoise:
    """How far what rests seems to move, over pairs of frames.

    Regions at rest are measured as objects are. Besides, patches of all that is not an object are looked up in the
    other frame, at the place where the poses put them. What either seems to move is noise of depth, poses and masks.
    Depth does not shift a region across the line of sight, so that what it seems to move there, beyond the noise of
    its mask, is noise of the poses; without such a region that is taken to be as large as all noise together.

    Args:
        record ([`ClipRecord`]): With camera and depth in one unit.
    """
    camera, depth = record.camera, record.depth
    assert camera is not None and depth is not None
    pairs = _far_pairs(np.flatnonzero(camera.registered), len(camera.camera_to_world))
    places = [measure_places(region, camera, depth, record.size) for region in record.resting or ()]
    single, smoothed, across = (np.array(moves) for moves in _region_moves(places, camera, pairs))
    patches = [_patch_moves(record, first, last) for first, last in pairs]
    found = _spread(single, np.concatenate(patches) if patches else np.empty(0))
    if found is None:
        return PlaceNoise(DEFAULT_NOISE, DEFAULT_NOISE, DEFAULT_NOISE)
    calm = _spread(smoothed, _smoothed_patch_moves(record, pairs))
    pixel = 1 / float(map_intrinsics(camera.intrinsics, depth, record.size)[0, 0])
    shaken = _camera_noise(across, pixel) / float(np.nanmedian(depth.maps)) if len(across) else found
    return PlaceNoise(found, min(found, found if calm is None else calm), min(found, shaken))


def _camera_noise(across: np.ndarray, pixel: float) -> float:
    """Standard deviation of a displacement of the camera.

    Args:
        across (`np.ndarray` of shape `(N, 2)`): How far regions at rest seem to move across the line of sight, and
            their distances.
        pixel (`float`): Angle in radians of a pixel of the depth maps.
    """
    seen = float(np.quantile(across[:, 0], _NOISE_QUANTILE)) / _ACROSS_QUANTILE
    masks = np.sqrt(2) * MASK_PIXELS * pixel * float(np.median(across[:, 1]))
    return float(np.sqrt(3 * max(seen**2 - masks**2, (_LEAST_SHAKE * seen) ** 2)))


def _spread(*kinds: np.ndarray) -> float | None:
    """One standard deviation of moves: that of the kind that is off the most; `None` without any."""
    found = [float(np.quantile(moves, _NOISE_QUANTILE)) for moves in kinds if len(moves)]
    return max(found) if found else None


def _region_moves(
    places: Sequence[ObjectPlaces], camera: CameraPoses, pairs: Sequence[tuple[int, int]]
) -> tuple[list[float], list[float], list[tuple[float, float]]]:
    """How far regions at rest seem to move: as shares of their distance, smoothed, and across the line of sight in
    the unit of the poses, with the distance."""
    single, smoothed, across = list[float](), list[float](), list[tuple[float, float]]()
    for place in places:
        calm = smooth_run(place.centres, longest_run(place.known))
        for first, last in pairs:
            if not place.known[[first, last]].all():
                continue
            sight = place.centres[first] - camera.camera_to_world[first, :3, 3]
            distance, move = float(np.linalg.norm(sight)), place.centres[last] - place.centres[first]
            single.append(float(np.linalg.norm(move)) / distance)
            across.append((float(np.linalg.norm(np.cross(move, sight))) / distance, distance))
            if np.isfinite(calm[[first, last]]).all():
                smoothed.append(float(np.linalg.norm(calm[last] - calm[first])) / distance)
    return single, smoothed, across


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
    moved = np.abs(_patch_changes(record, first, last))
    return moved[np.isfinite(moved)]


def _smoothed_patch_moves(record: ClipRecord, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The same, averaged over frames around those of each pair."""
    assert record.camera is not None
    known, found = record.camera.registered, []
    for first, last in pairs:
        around = [(first + step, last + step) for step in _SMOOTHED_OVER]
        around = [pair for pair in around if min(pair) >= 0 and max(pair) < len(known) and known[list(pair)].all()]
        if len(around) == len(_SMOOTHED_OVER):
            moved = np.abs(np.mean([_patch_changes(record, *pair) for pair in around], axis=0))
            found.append(moved[np.isfinite(moved)])
    return np.concatenate(found) if found else np.empty(0)


def _patch_changes(record: ClipRecord, first: int, last: int) -> np.ndarray:
    """By what share of its depth each patch of the background is off in another frame, `(_GRID * _GRID,)`; NaN where
    it is not seen there."""
    camera, depth = record.camera, record.depth
    assert camera is not None and depth is not None
    intrinsics = map_intrinsics(camera.intrinsics, depth, record.size)
    free = [_free_depth(record, frame) for frame in (first, last)]
    height, width = depth.maps.shape[1:]
    rows, columns = (np.linspace(2, side - 3, _GRID).astype(int) for side in (height, width))
    chosen = np.zeros((height, width), bool)
    chosen[np.ix_(rows, columns)] = True
    # One unknown pixel makes a patch unknown; a box filter's running sums would carry it through the whole row.
    calm = [cv2.filter2D(values, -1, np.full((3, 3), 1 / 9, np.float32)) for values in free]
    usable = np.isfinite(calm[0][chosen])
    chosen &= np.isfinite(calm[0])
    world = back_project(calm[0], chosen, intrinsics, camera.camera_to_world[first])
    pose = camera.camera_to_world[last]
    local = (world - pose[:3, 3]) @ pose[:3, :3]
    ahead = local[:, 2] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = np.where(ahead[:, None], local @ intrinsics.T / local[:, 2:], -1)[:, :2].astype(np.float32)
    inside = ahead & (seen >= 0).all(axis=1) & (seen <= (width - 1, height - 1)).all(axis=1)
    changes = np.full(len(usable), np.nan)
    if inside.any():
        there = cv2.remap(calm[1], seen[inside, None], None, cv2.INTER_LINEAR)[:, 0]
        changes[np.flatnonzero(usable)[inside]] = (there - local[inside, 2]) / local[inside, 2]
    return changes


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

"""How a camera stood, turned or moved, found from the frames of a clip of one still scene."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ...modeling.atomic import scratch_dir
from ..clip_error import ClipError
from ..clip_record import CameraPoses
from .direct_alignment import MIN_TILE_SHARE, standing_tile_share
from .pixel_check import PixelCheck, check_path
from .point_tracks import MIN_TRACKS, TRACK_SIDE, PointTracks, free_pixels, grey_pictures, track_points
from .structure_from_motion import FOCAL_GUESS, SolvedPath, frame_name, solve_paths
from .turns import MIN_STANDING_SHARE, STILL_PIXELS, fit_turn, standing_share, still_pixels

if TYPE_CHECKING:
    from ...modeling.clip import Clip  # imports torch, for which a process that solves for poses need not wait

MIN_FRAMES = 6
MIN_EPIPOLAR_SHARE = 0.6  # of the points followed that must lie where a path says
MIN_PARALLAX_PIXELS = 2.0  # of a picture 640 wide, that a change of place must move the median point
_MAX_SOLVED_FRAMES = 12  # that structure from motion places; the others lie between them

Solver = Callable[[Path, int, int, int], list[SolvedPath]]


def estimate_camera(
    clip: "Clip",
    seed: int = 0,
    masks: Sequence[np.ndarray | None] | None = None,
    num_threads: int = 1,
    solve: Solver = solve_paths,
) -> CameraPoses:
    """Find the camera's pose in every frame, in three ways of which the first that explains the tracks stands.

    *Still*: the median track stays within half a pixel of a picture 640 wide, or many tracks all over the picture do
    ([`turns.standing_share`]), or many edges ([`direct_alignment.standing_tile_share`]). *Turn only*: one focal length
    and a turn from each frame to the next explain the tracks ([`turns.fit_turn`]). Else structure from motion, which
    is never asked where the camera may only have turned, since it then invents a move.

    Args:
        clip ([`Clip`]): Frames of one camera with one zoom, that overlap well.
        seed (`int`, *optional*, defaults to 0): One thread and the same seed give the same poses, bit for bit.
        masks (`Sequence[np.ndarray | None]`, *optional*): For each frame a boolean array `(height, width)`, true on
            moving objects, which are then left out. Small ones do no harm.
        num_threads (`int`, *optional*, defaults to 1): Threads of COLMAP.
        solve (`Callable`, *optional*): What runs COLMAP: by default [`solve_paths`]. A crash of COLMAP ends this
            process, so builds run it in [`~pipeline.worker_pool.WorkerPool`].

    Returns:
        [`CameraPoses`]: `still`, `turn_only` or `up_to_scale`, with its errors and what made it.

    Raises:
        ClipError: `too_short`, `no_texture`, or `unclear` with the numbers that say why.
    """
    if len(clip.frames) < MIN_FRAMES:
        raise ClipError(
            "too_short",
            f"{len(clip.frames)} frames, {MIN_FRAMES} are needed",
            "give a longer clip, or take it out of --source",
        )
    tracks = track_points(clip.frames, masks)
    made_by = {"opencv": version("opencv-python-headless"), "scipy": version("scipy")}
    moved, standing = still_pixels(tracks), standing_share(tracks)
    if moved < STILL_PIXELS or standing >= MIN_STANDING_SHARE:
        errors = {"standing_share": round(standing, 3)}
        if np.isfinite(moved):
            errors["still_pixels"] = round(moved, 3)
        return _stand(clip, errors, made_by)
    standing = standing_tile_share(clip.frames, masks)
    if standing >= MIN_TILE_SHARE:
        return _stand(clip, {"standing_tile_share": round(standing, 3)}, made_by)
    turned = fit_turn(tracks)
    if turned is None:
        raise ClipError(
            "no_texture",
            f"fewer than {MIN_TRACKS} points can be followed",
            "give a clip with more texture, or take it out of --source",
        )
    fit, poses = turned
    if fit.verdict == "turn":
        return CameraPoses("turn_only", poses, _intrinsics(clip, fit.focal), None, fit.errors(), made_by)
    if fit.verdict == "unclear":
        reason = f"the camera may turn or move ({fit.describe()})"
        raise ClipError("unclear", reason, "give a clip whose camera clearly does the one or the other")
    return _solve(clip, tracks, masks, seed, num_threads, solve, fit.errors())


def _stand(clip: "Clip", errors: dict[str, float], made_by: dict[str, str]) -> CameraPoses:
    """A camera that stands still."""
    poses = np.tile(np.eye(4), (len(clip.frames), 1, 1))
    return CameraPoses("still", poses, _intrinsics(clip, FOCAL_GUESS), None, errors, made_by)


def _solve(
    clip: "Clip",
    tracks: PointTracks,
    masks: Sequence[np.ndarray | None] | None,
    seed: int,
    num_threads: int,
    solve: Solver,
    errors: dict[str, float],
) -> CameraPoses:
    """Structure from motion on the key frames; the incremental path stands, the global one checks it."""
    keys = _key_frames(tracks)
    with scratch_dir("poses") as folder:
        scale = _write_frames(clip, keys, masks, folder)
        paths = solve(folder, len(keys), seed, num_threads)
    if len(paths) < 2:
        found = " and ".join(path.mapper for path in paths) or "none"
        raise ClipError(
            "unclear",
            f"a camera path by two mappers is needed ({found} placed enough of {len(keys)} frames)",
            "give a clip whose camera changes place in a textured, mostly still scene",
        )
    first, second = paths
    for path in paths:
        check = check_path(tracks.only(keys), path.camera_to_world, path.intrinsics)
        errors |= {f"{path.mapper}_{name}": round(value, 3) for name, value in asdict(check).items()} if check else {}
        if check is None or check.epipolar_share < MIN_EPIPOLAR_SHARE or check.parallax_pixels < MIN_PARALLAX_PIXELS:
            raise ClipError(
                "unclear",
                f"the camera path found does not fit the points followed ({_describe_check(path.mapper, check)})",
                "give a clip in which less moves by itself",
            )
    intrinsics = first.intrinsics.copy()
    intrinsics[:2] /= scale
    places = second.camera_to_world.copy()
    places[:, :3, 3] *= first.scene_depth / second.scene_depth
    count = len(clip.frames)
    reprojection = {f"{path.mapper}_reprojection_pixels": round(path.reprojection_pixels, 3) for path in paths}
    return CameraPoses(
        "up_to_scale",
        _between(first.camera_to_world, keys, clip.timestamps, count),
        intrinsics,
        first.scene_depth,
        {**errors, **reprojection},
        {"pycolmap": version("pycolmap"), "opencv": version("opencv-python-headless")},
        _between(places, keys, clip.timestamps, count),
    )


def _describe_check(mapper: str, check: PixelCheck | None) -> str:
    """What is wrong with a mapper's path, in words."""
    if check is None:
        return f"too few of them are seen along the path of the {mapper} mapper"
    return (
        f"{check.epipolar_share:.0%} of them lie where the {mapper} mapper says, {MIN_EPIPOLAR_SHARE:.0%} are needed; "
        f"its change of place shifts the median point by {check.parallax_pixels:.1f} px of {TRACK_SIDE}, "
        f"{MIN_PARALLAX_PIXELS:g} are needed"
    )


def _intrinsics(clip: "Clip", focal: float) -> np.ndarray:
    """A camera that looks through the middle of the picture, with a focal length in longer sides of it."""
    width, height = clip.frames[0].size
    pixels = focal * max(width, height)
    return np.array([[pixels, 0, width / 2], [0, pixels, height / 2], [0, 0, 1.0]])


def _key_frames(tracks: PointTracks) -> list[int]:
    """Frames at equal distances along the way that the picture goes."""
    steps = []
    for index in range(len(tracks.positions) - 1):
        before, after = tracks.pair(index, index + 1)
        steps.append(np.median(np.linalg.norm(after - before, axis=1)))
    way = np.concatenate([[0], np.cumsum(steps)])
    targets = np.linspace(0, way[-1], min(_MAX_SOLVED_FRAMES, len(way)))
    nearest = {int(np.argmin(np.abs(way - distance))) for distance in targets}
    return sorted(nearest | {0, len(way) - 1})


def _write_frames(clip: "Clip", keys: list[int], masks: Sequence[np.ndarray | None] | None, folder: Path) -> float:
    """Write the key frames, large ones shrunk, and their masks as COLMAP reads them; return by how much it shrank."""
    pictures, scale = grey_pictures([clip.frames[key] for key in keys])
    (folder / "frames").mkdir()
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / "frames" / frame_name(index)), picture)
    if masks is not None:
        (folder / "masks").mkdir()
        for index, key in enumerate(keys):
            free = free_pixels(masks[key], pictures[index].shape[::-1])
            cv2.imwrite(str(folder / "masks" / f"{frame_name(index)}.png"), free)
    return scale


def _between(poses: np.ndarray, keys: list[int], timestamps: Sequence[float], count: int) -> np.ndarray:
    """Poses of all frames, those between two key frames that are placed by interpolation, the others NaN."""
    result = np.full((count, 4, 4), np.nan)
    result[keys] = poses
    for key, next_key in pairwise(keys):
        pose, next_pose = result[key], result[next_key]
        if not (np.isfinite(pose).all() and np.isfinite(next_pose).all()):
            continue
        turn = Slerp([0, 1], Rotation.from_matrix([pose[:3, :3], next_pose[:3, :3]]))
        for index in range(key + 1, next_key):
            share = (timestamps[index] - timestamps[key]) / (timestamps[next_key] - timestamps[key])
            result[index] = np.eye(4)
            result[index, :3, :3] = turn(share).as_matrix()
            result[index, :3, 3] = (1 - share) * pose[:3, 3] + share * next_pose[:3, 3]
    return result

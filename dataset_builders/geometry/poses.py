"""Estimate the camera poses of a clip by structure from motion (COLMAP's incremental mapper)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pycolmap
from PIL import Image

from ...modeling.atomic import scratch_dir
from ...modeling.errors import InputError

if TYPE_CHECKING:
    from ...modeling.processing import Clip  # imports torch, for which a process that solves for poses need not wait

MIN_FRAMES = 6
MIN_REGISTERED = 0.8  # share of the frames whose pose must be found
# Focal lengths in longer sides of the image. Some motions, a sideways one before a wall among them, tell nothing of
# the focal length; then the guess, that of a phone's video, is what stands.
_FOCAL_GUESS, MIN_FOCAL, MAX_FOCAL = 0.8, 0.3, 3.0
_MAX_SIDE = 640  # pixels; phone clips gain nothing from more, and matching time grows with the features
_MAX_FEATURES = 2048
_OVERLAP = 5  # each frame is matched with so many next ones, and with those 8, 16, ... further on


class PoseError(InputError):
    """The camera's path cannot be found from the frames."""


@dataclass(frozen=True)
class Poses:
    """Camera poses of a clip.

    Attributes:
        camera_to_world (`np.ndarray` of shape `(T, 4, 4)`):
            OpenCV axes (x right, y down, z forward), in a unit of its own; NaN for frames that are not registered.
        intrinsics (`np.ndarray` of shape `(3, 3)`):
            In pixels of the clip's frames; lens distortion left out.
        scene_depth (`float`):
            Median depth of the scene's points, in the unit of the poses.
        registered (`np.ndarray` of shape `(T,)`):
            Whether a frame's pose was found.
    """

    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    scene_depth: float
    registered: np.ndarray


def estimate_poses(
    clip: "Clip", seed: int = 0, num_threads: int = 1, solve: "Callable[[Path, int, int, int], Poses] | None" = None
) -> Poses:
    """Find the camera's pose in every frame of a clip of one still scene.

    Args:
        clip ([`Clip`]):
            Frames of one camera with one zoom; some 24 that overlap well. Small moving objects do no harm.
        seed (`int`, *optional*, defaults to 0):
            Of RANSAC. One thread and the same seed give the same poses, bit for bit.
        num_threads (`int`, *optional*, defaults to 1):
            Threads of COLMAP.
        solve (`Callable`, *optional*):
            What runs COLMAP: by default [`solve_poses`], whose crash ends this process; [`PoseProcess.solve`] runs
            it in a child process.

    Returns:
        [`Poses`]: Up to scale, in a world frame of their own.

    Raises:
        PoseError: If the clip is too short, or shows too little texture, overlap or parallax.
    """
    if len(clip.frames) < MIN_FRAMES:
        raise PoseError(f"poses need at least {MIN_FRAMES} frames, got {len(clip.frames)}; sample more")
    with scratch_dir("poses") as folder:
        scale = _write_frames(clip, folder / "frames")
        poses = (solve or solve_poses)(folder, len(clip.frames), seed, num_threads)
    poses.intrinsics[:2] /= scale
    if not MIN_FOCAL < poses.intrinsics[0, 0] / max(clip.frames[0].size) < MAX_FOCAL:
        raise PoseError("the focal length found is absurd; pick a clip whose camera changes place more")
    return poses


def solve_poses(folder: Path, count: int, seed: int = 0, num_threads: int = 1) -> Poses:
    """Run COLMAP on the frames in a folder.

    Args:
        folder (`Path`): With the images `frames/00000.png`, `frames/00001.png`, …; COLMAP's own files go there too.
        count (`int`): Number of frames.
        seed (`int`, *optional*, defaults to 0): Of RANSAC.
        num_threads (`int`, *optional*, defaults to 1): Threads of COLMAP.

    Returns:
        [`Poses`]: The intrinsics in pixels of the written frames.

    Raises:
        PoseError: If too few frames could be placed, or COLMAP fails.
    """
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL
    pycolmap.set_random_seed(seed)
    try:
        model = _largest_model(folder, seed, num_threads)
    except PoseError:
        raise
    except (RuntimeError, ValueError) as error:  # what exceptions of its C++ become
        raise PoseError(f"the pose solver failed ({str(error).strip().splitlines()[0]})") from error
    found = {model.image(index).name: model.image(index) for index in model.reg_image_ids()}
    registered = np.array([_name(index) in found for index in range(count)])
    if registered.mean() < MIN_REGISTERED:
        raise PoseError(
            f"only {registered.sum()} of {count} frames could be placed; sample more densely or pick a"
            " clip with more texture and overlap"
        )
    camera_to_world = np.full((count, 4, 4), np.nan)
    depths = []
    for index in np.flatnonzero(registered):
        world_to_camera = np.eye(4)
        world_to_camera[:3] = found[_name(index)].cam_from_world().matrix()
        camera_to_world[index] = np.linalg.inv(world_to_camera)
        points = [model.point3D(p.point3D_id).xyz for p in found[_name(index)].points2D if p.has_point3D()]
        depths.append(np.median(points @ world_to_camera[2, :3] + world_to_camera[2, 3]))
    intrinsics = next(iter(model.cameras.values())).calibration_matrix()
    return Poses(camera_to_world, intrinsics, float(np.median(depths)), registered)


def _name(index: int) -> str:
    return f"{index:05d}.png"


def _write_frames(clip: "Clip", folder: Path) -> float:
    """Write the frames, large ones shrunk, and return by how much."""
    folder.mkdir()
    width, height = clip.frames[0].size
    scale = min(1.0, _MAX_SIDE / max(width, height))
    for index, frame in enumerate(clip.frames):
        if scale < 1:
            frame = frame.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)
        frame.convert("L").save(folder / _name(index), compress_level=1)
    return scale


def _largest_model(folder: Path, seed: int, num_threads: int) -> pycolmap.Reconstruction:
    """Run features, matching and mapping in `folder`, and return the model with most frames."""
    database, frames = folder / "database.db", folder / "frames"
    extraction = pycolmap.FeatureExtractionOptions(num_threads=num_threads, use_gpu=False)
    extraction.sift.max_num_features = _MAX_FEATURES
    # No lens distortion: a small model started wrongly explains itself by absurd distortion and blocks the right one.
    pycolmap.extract_features(
        database,
        frames,
        camera_mode=pycolmap.CameraMode.SINGLE,
        reader_options=pycolmap.ImageReaderOptions(
            camera_model="SIMPLE_PINHOLE", default_focal_length_factor=_FOCAL_GUESS
        ),
        extraction_options=extraction,
        device="cpu",
    )
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = seed
    pycolmap.match_sequential(
        database,
        matching_options=pycolmap.FeatureMatchingOptions(num_threads=num_threads, use_gpu=False),
        pairing_options=pycolmap.SequentialPairingOptions(overlap=_OVERLAP, num_threads=num_threads),
        verification_options=verification,
        device="cpu",
    )
    mapping = pycolmap.IncrementalPipelineOptions(
        num_threads=num_threads, random_seed=seed, min_model_size=3, extract_colors=False
    )
    mapping.mapper.init_min_tri_angle = 8.0  # degrees; a hand-held clip of seconds seldom spans COLMAP's 16
    models = pycolmap.incremental_mapping(database, frames, folder, mapping)
    if not models:
        raise PoseError(
            "no camera path fits the frames; pick a clip whose camera changes place in a textured, mostly still scene"
        )
    return max(models.values(), key=lambda model: model.num_reg_images())

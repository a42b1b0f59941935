"""The path of a camera that changes place: COLMAP's incremental and global mappers on one set of features."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from ...modeling.errors import first_line
from ..clip_error import ClipError

MIN_REGISTERED = 0.8  # share of the frames that a path must place
# Focal lengths in longer sides of the picture. Some motions, a sideways one before a wall among them, tell nothing of
# the focal length; then the guess, that of a phone's video, is what stands.
FOCAL_GUESS, MIN_FOCAL, MAX_FOCAL = 0.8, 0.3, 3.0
_MAX_FEATURES = 1024
_OVERLAP = 4  # each frame is matched with its next ones, this many, and with those 8, 16, ... further on
_RUNTIME = 30  # seconds; a mapper takes less than 2, and a limit that is met makes results depend on the machine


@dataclass(frozen=True)
class SolvedPath:
    """One mapper's solution.

    Attributes:
        mapper (`str`): `incremental` or `global`.
        camera_to_world (`np.ndarray` of shape `(T, 4, 4)`): OpenCV axes; NaN for frames that were not placed.
        intrinsics (`np.ndarray` of shape `(3, 3)`): In pixels of the written frames.
        scene_depth (`float`): Median depth of the points that a frame sees, median over frames.
        reprojection_pixels (`float`): Mean error of the points.
    """

    mapper: str
    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    scene_depth: float
    reprojection_pixels: float


def solve_paths(folder: Path, count: int, seed: int = 0, num_threads: int = 1) -> list[SolvedPath]:
    """Run both mappers on the frames in a folder.

    Args:
        folder (`Path`): With the pictures `frames/00000.png`, `frames/00001.png`, ... and, where some pixels are not
            to be used, `masks/00000.png.png`, ... that are black there. COLMAP's own files go there too.
        count (`int`): Number of frames.
        seed (`int`, *optional*, defaults to 0): Of RANSAC and the mappers.
        num_threads (`int`, *optional*, defaults to 1): Threads; with one, results are reproducible.

    Returns:
        `list[SolvedPath]`: The paths that place enough frames with a plausible focal length; perhaps none.

    Raises:
        ClipError: If COLMAP fails.
    """
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL
    pycolmap.set_random_seed(seed)
    database, paths = folder / "database.db", []
    try:
        _match(folder, database, seed, num_threads)
        for mapper, run in (("incremental", _map_incrementally), ("global", _map_globally)):
            output = folder / mapper
            output.mkdir()
            models = run(database, folder / "frames", output, seed, num_threads)
            model = max(models.values(), key=lambda model: model.num_reg_images(), default=None)
            if model is not None and model.num_points3D() > 0:
                paths.append(_path(mapper, model, count))
    except (RuntimeError, ValueError) as error:  # what exceptions of its C++ become
        reason = f"the pose solver failed ({first_line(error)})"
        raise ClipError("crashed", reason, "pick another seed or clip") from error
    return [path for path in paths if _is_plausible(path)]


def frame_name(index: int) -> str:
    """File name of a frame in the folder that is solved."""
    return f"{index:05d}.png"


def _is_plausible(path: SolvedPath) -> bool:
    side = 2 * path.intrinsics[:2, 2].max()
    placed = np.isfinite(path.camera_to_world[:, 0, 0]).mean()
    return bool(placed >= MIN_REGISTERED and MIN_FOCAL < path.intrinsics[0, 0] / side < MAX_FOCAL)


def _match(folder: Path, database: Path, seed: int, num_threads: int) -> None:
    """Find features, match them and verify the matches."""
    extraction = pycolmap.FeatureExtractionOptions(num_threads=num_threads, use_gpu=False)
    extraction.sift.max_num_features = _MAX_FEATURES
    # No lens distortion: a small model started wrongly explains itself by absurd distortion and blocks the right one.
    reader = pycolmap.ImageReaderOptions(camera_model="SIMPLE_PINHOLE", default_focal_length_factor=FOCAL_GUESS)
    if (folder / "masks").is_dir():
        reader.mask_path = folder / "masks"
    pycolmap.extract_features(
        database,
        folder / "frames",
        camera_mode=pycolmap.CameraMode.SINGLE,
        reader_options=reader,
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


def _map_incrementally(database: Path, frames: Path, output: Path, seed: int, num_threads: int) -> dict:
    options = pycolmap.IncrementalPipelineOptions(
        num_threads=num_threads,
        random_seed=seed,
        min_model_size=3,
        extract_colors=False,
        max_runtime_seconds=_RUNTIME,
    )
    options.mapper.init_min_tri_angle = 8.0  # degrees; a hand-held clip of seconds seldom spans COLMAP's 16
    return pycolmap.incremental_mapping(database, frames, output, options)


def _map_globally(database: Path, frames: Path, output: Path, seed: int, num_threads: int) -> dict:
    calibration = pycolmap.ViewGraphCalibrationOptions()
    calibration.random_seed = seed
    pycolmap.calibrate_view_graph(database, calibration)
    options = pycolmap.GlobalPipelineOptions(num_threads=num_threads, random_seed=seed)
    solver = options.mapper.bundle_adjustment.ceres
    options.mapper.global_positioning.use_gpu = solver.use_gpu = False
    solver.solver_options.max_solver_time_in_seconds = _RUNTIME
    return pycolmap.global_mapping(database, frames, output, options)


def _path(mapper: str, model: pycolmap.Reconstruction, count: int) -> SolvedPath:
    found = {model.image(index).name: model.image(index) for index in model.reg_image_ids()}
    camera_to_world = np.full((count, 4, 4), np.nan)
    depths = []
    for index in range(count):
        image = found.get(frame_name(index))
        if image is None:
            continue
        world_to_camera = np.eye(4)
        world_to_camera[:3] = image.cam_from_world().matrix()
        camera_to_world[index] = np.linalg.inv(world_to_camera)
        points = [model.point3D(p.point3D_id).xyz for p in image.points2D if p.has_point3D()]
        if points:
            depths.append(np.median(points @ world_to_camera[2, :3] + world_to_camera[2, 3]))
    intrinsics = next(iter(model.cameras.values())).calibration_matrix()
    return SolvedPath(
        mapper, camera_to_world, intrinsics, float(np.median(depths)), float(model.compute_mean_reprojection_error())
    )

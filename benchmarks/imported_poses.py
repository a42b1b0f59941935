"""Does the pixel check of imported poses tell right from wrong on real videos? Poses of COLMAP, read in wrong ways.

    python benchmarks/imported_poses.py teddy.mp4 backpack.mp4

COLMAP (pycolmap) gets every `--step`-th frame. Its camera-to-world poses are written as a `.tum` file and read again
by the importer, whose check gets windows of `--window` of these frames: once with the file as it is and once for each
way to read it wrongly.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pycolmap
from PIL import Image
from scipy.spatial.transform import Rotation

from fourdthinker.dataset_builders.clip_error import ClipError
from fourdthinker.dataset_builders.geometry.sift_matches import match_frames
from fourdthinker.dataset_builders.layouts.imported_clip import Lens
from fourdthinker.dataset_builders.layouts.pose_check import check_poses
from fourdthinker.dataset_builders.layouts.trajectory import Trajectory
from fourdthinker.dataset_builders.layouts.trajectory_files import TumClip

MATCHED = 8  # frames of a window, as the importer matches them
SHOWS = 0.02  # of the scene's depth, as the importer asks for


def read_video(path: Path, step: int) -> tuple[list[Image.Image], np.ndarray]:
    """Every `step`-th frame, and its seconds from the first one."""
    with av.open(str(path)) as container:
        shown = [(frame.to_image(), float(frame.time)) for frame in container.decode(video=0)]
    frames, seconds = zip(*shown[::step], strict=True)
    return list(frames), np.array(seconds) - seconds[0]


def reconstruct(frames: list[Image.Image]) -> tuple[dict[int, np.ndarray], Lens, float]:
    """Camera-to-world poses by frame, the lens, and the median depth of what is seen, by COLMAP."""
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL
    pycolmap.set_random_seed(0)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "frames").mkdir()
        for number, frame in enumerate(frames):
            frame.save(root / "frames" / f"{number:05d}.png")
        database = root / "database.db"
        options = pycolmap.FeatureExtractionOptions(num_threads=1, use_gpu=False)
        options.sift.max_num_features = 2048
        pycolmap.extract_features(
            database,
            root / "frames",
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=pycolmap.ImageReaderOptions(camera_model="SIMPLE_PINHOLE"),
            extraction_options=options,
            device="cpu",
        )
        matching = pycolmap.FeatureMatchingOptions(num_threads=1, use_gpu=False)
        pairing = pycolmap.SequentialPairingOptions(overlap=6, num_threads=1)
        pycolmap.match_sequential(database, matching_options=matching, pairing_options=pairing, device="cpu")
        mapping = pycolmap.IncrementalPipelineOptions(num_threads=1, random_seed=0, extract_colors=False)
        models = pycolmap.incremental_mapping(database, root / "frames", root, mapping)
    model = max(models.values(), key=lambda found: found.num_reg_images())
    poses, depths = {}, []
    for image in (model.image(number) for number in model.reg_image_ids()):
        world_to_camera = np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]])
        poses[int(Path(image.name).stem)] = np.linalg.inv(world_to_camera)
        points = np.array([model.point3D(p.point3D_id).xyz for p in image.points2D if p.has_point3D()])
        depths.append(np.median(points @ world_to_camera[2, :3] + world_to_camera[2, 3]))
    camera, (width, height) = next(iter(model.cameras.values())), frames[0].size
    matrix = camera.calibration_matrix()
    focal, centre = (matrix[0, 0] / width, matrix[1, 1] / height), (matrix[0, 2] / width, matrix[1, 2] / height)
    return poses, Lens(focal, centre), float(np.median(depths))


def write_tum(path: Path, poses: dict[int, np.ndarray], seconds: np.ndarray) -> None:
    """`t tx ty tz qx qy qz qw`."""
    lines = []
    for number in sorted(poses):
        numbers = [seconds[number], *poses[number][:3, 3], *Rotation.from_matrix(poses[number][:3, :3]).as_quat()]
        lines.append(" ".join(f"{value:.9f}" for value in numbers))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def wrong_readings(step: float) -> dict[str, Callable[[Trajectory], Trajectory]]:
    """Ways to read a file, by name."""
    return {
        "as it is": lambda right: right,
        "inverted": lambda right: right.inverted(),
        "1 frame late": lambda right: replace(right, seconds=right.seconds + step),
        "3 frames late": lambda right: replace(right, seconds=right.seconds + 3 * step),
        "3 frames early": lambda right: replace(right, seconds=right.seconds - 3 * step),
        "`w` first": lambda right: replace(right, quaternion="first").reordered(),
        "OpenGL's axes": lambda right: replace(right, mount=np.diag([1.0, -1, -1, 1])),
    }


def judge(matches, seconds, trajectory, lens, step, shows) -> tuple[str, str]:
    """The error of a reading, and what the check says of it."""
    try:
        return f"{check_poses(matches, seconds, trajectory, lens, step, shows).pixels:.2f} px", "passes"
    except ClipError as error:
        return "", f"`{error.code}`: {error.reason}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--step", type=int, default=3, help="take one of so many frames")
    parser.add_argument("--window", type=int, default=20, help="frames in a window")
    args = parser.parse_args()
    print("| video | frames with a pose | window | reading | error | verdict |\n|---|---|---|---|---|---|")
    for video in args.videos:
        frames, seconds = read_video(video, args.step)
        poses, lens, depth = reconstruct(frames)
        with TemporaryDirectory() as folder:
            clip = Path(folder) / video.name
            clip.symlink_to(video.resolve())
            write_tum(clip.with_suffix(".tum"), poses, seconds)
            trajectory = TumClip(clip, clip.parent).trajectory()
        placed, step = f"{len(poses)} of {len(frames)}", float(np.median(np.diff(seconds)))
        for start in range(0, len(frames) - args.window // 2, args.window):
            window, moments = frames[start : start + args.window], seconds[start : start + args.window]
            numbers = np.unique(np.linspace(0, len(window) - 1, MATCHED).round().astype(int)).tolist()
            matches = match_frames(window, numbers)
            where = f"{moments[0]:.1f} to {moments[-1]:.1f} s"
            for name, read in wrong_readings(step).items():
                error, verdict = judge(matches, moments, read(trajectory), lens, step, SHOWS * depth)
                print(f"| {video.name} | {placed} | {where} | {name} | {error} | {verdict} |", flush=True)


if __name__ == "__main__":
    main()

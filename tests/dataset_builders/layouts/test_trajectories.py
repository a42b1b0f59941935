"""Poses in every convention: each motion of a camera comes out as what it is, in metres and with its sign."""

import numpy as np
import pytest

for needed in ("cv2", "scipy", "pycolmap"):
    pytest.importorskip(needed, reason="layouts need the data extra")
from PIL import Image  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from fourdthinker.dataset_builders.clip_error import ClipError  # noqa: E402
from fourdthinker.dataset_builders.clip_record import CameraPoses  # noqa: E402
from fourdthinker.dataset_builders.geometry.camera_facts import camera_facts  # noqa: E402
from fourdthinker.dataset_builders.geometry.camera_motion import CAMERA_LABELS, camera_labels  # noqa: E402
from fourdthinker.dataset_builders.layouts.source import find_imported, trajectory_clip  # noqa: E402
from fourdthinker.modeling.errors import InputError  # noqa: E402

from ..geometry.textured_scene import path  # noqa: E402

COUNT, RATE = 16, 4
# From the camera's axes to those of a body with x up, y left and z backward.
MOUNT = np.array([[0, -1, 0, 0.1], [-1, 0, 0, 0.02], [0, 0, -1, 0], [0, 0, 0, 1.0]])
SENSOR = f"""%YAML:1.0
sensor_type: camera
T_BS:
  cols: 4
  rows: 4
  data: {MOUNT.ravel().tolist()}
intrinsics: [458.6, 457.3, 367.2, 248.4]
resolution: [752, 480]
distortion_coefficients: [-0.28, 0.07, 0.0002, 0.00002]
"""


def write_vipe(root, poses):
    np.savez(root / "pose" / "clip.npz", data=poses, inds=np.arange(COUNT))


def write_spatialvid(root, poses):
    inverse = np.linalg.inv(poses)
    numbers = np.hstack([inverse[:, :3, 3], Rotation.from_matrix(inverse[:, :3, :3]).as_quat()])
    np.save(root / "annotations" / "group" / "clip" / "poses.npy", numbers)
    lines = "".join(f"{number} {number}\n" for number in range(COUNT))
    (root / "annotations" / "group" / "clip" / "indexes.txt").write_text(lines)


def write_megasam(root, poses):
    images = np.zeros((COUNT, 4, 4, 3), np.uint8)
    np.savez(root / "clip_sgd_cvd_hr.npz", images=images, cam_c2w=poses)


def write_stereo4d(root, poses):
    stamps = 10**6 + np.arange(COUNT) * 10**6 // RATE
    np.savez(root / "npz" / "clip_1000000.npz", camera2world=poses[:, :3], timestamps=stamps)


def write_colmap(root, poses):
    lines = []
    for number, pose in enumerate(np.linalg.inv(poses), start=1):
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
        lines += [f"{number} {w} {x} {y} {z} {' '.join(map(str, pose[:3, 3]))} 1 {number:03d}.png", ""]
    (root / "sparse" / "images.txt").write_text("\n".join(lines) + "\n")


def write_tum(root, poses):
    quaternions = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    rows = np.hstack([np.arange(COUNT)[:, None] / RATE, poses[:, :3, 3], quaternions])
    np.savetxt(root / "clip.tum", rows, header="timestamp tx ty tz qx qy qz qw")


def write_kitti(root, poses):
    np.savetxt(root / "clip.kitti", poses[:, :3].reshape(COUNT, 12))


def write_euroc(root, poses):
    body = poses @ np.linalg.inv(MOUNT)
    quaternions = Rotation.from_matrix(body[:, :3, :3]).as_quat()[:, [3, 0, 1, 2]]
    stamps = 1403715273262142976 + np.arange(COUNT) * 10**9 // RATE
    lines = ["#timestamp [ns], p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []"]
    numbers = np.hstack([body[:, :3, 3], quaternions])
    lines += [f"{stamp}," + ",".join(map(repr, row)) for stamp, row in zip(stamps, numbers.tolist(), strict=True)]
    (root / "clip.euroc.csv").write_text("\n".join(lines) + "\n")


WRITERS = {
    **{"vipe": write_vipe, "spatialvid": write_spatialvid, "megasam": write_megasam, "stereo4d": write_stereo4d},
    **{"colmap": write_colmap, "tum": write_tum, "kitti": write_kitti, "euroc": write_euroc},
}
VIDEOS = {
    **{"vipe": "rgb/clip.mp4", "spatialvid": "videos/group/clip.mp4"},
    **{"stereo4d": "clip_1000000-left_rectified.mp4", "tum": "clip.mp4", "kitti": "clip.mp4", "euroc": "clip.mp4"},
}


@pytest.fixture
def folder(tmp_path, make_video):
    """Makes the folder of a layout without poses."""

    def make(layout):
        for below in ("rgb", "pose", "videos/group", "annotations/group/clip", "npz", "images", "sparse"):
            (tmp_path / below).mkdir(parents=True, exist_ok=True)
        if layout in VIDEOS:
            make_video(tmp_path / VIDEOS[layout], COUNT / RATE, RATE)
        if layout == "colmap":
            for number in range(1, COUNT + 1):
                Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{number:03d}.png")
            (tmp_path / "sparse" / "cameras.txt").write_text("1 SIMPLE_RADIAL 8 8 6 4 4 0.01\n")
            (tmp_path / "sparse" / "points3D.txt").write_text("")
        if layout == "euroc":
            (tmp_path / "sensor.yaml").write_text(SENSOR)
        return tmp_path

    return make


def open_clip(layout, root):
    """The clip in a folder."""
    if layout in ("tum", "kitti", "euroc"):
        return trajectory_clip(root / VIDEOS[layout])
    (clip,) = find_imported(root, layout, RATE)
    return clip


@pytest.mark.parametrize("layout", WRITERS)
def test_each_motion_is_read_as_it_was(folder, layout):
    root = folder(layout)
    start = np.eye(4)  # neither at the origin nor upright
    start[:3, :3] = Rotation.from_euler("xyz", [20, -35, 10], degrees=True).as_matrix()
    start[:3, 3] = (1, -2, 0.5)
    for label in CAMERA_LABELS:
        is_turn = label.startswith(("Pan", "Tilt", "Roll"))
        WRITERS[layout](root, start @ path(label, 20.0 if is_turn else 1.0, COUNT))
        trajectory = open_clip(layout, root).trajectory()
        poses = trajectory.at(np.arange(COUNT) / RATE)
        assert camera_labels(poses, scene_depth=3.0) == [label]
        assert np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3]) == pytest.approx(0.0 if is_turn else 1.0, abs=2e-3)


def test_a_body_is_no_camera(folder):
    root = folder("euroc")
    write_euroc(root, path("Pan Left", 20.0, COUNT))
    clip = open_clip("euroc", root)
    assert clip.lens(0, 4).distortion == (-0.28, 0.07, 0.0002, 0.00002)
    (root / "sensor.yaml").write_text(SENSOR.replace(str(MOUNT.ravel().tolist()), str(np.eye(4).ravel().tolist())))
    assert camera_labels(open_clip("euroc", root).trajectory().at([0, 3.75])) != ["Pan Left"]
    (root / "sensor.yaml").unlink()
    with pytest.raises(ClipError, match=r"poses of the IMU's body and there is no sensor\.yaml"):
        open_clip("euroc", root).trajectory()


def test_no_span_crosses_a_gap(folder):
    root = folder("tum")
    write_tum(root, path("Pan Right", 40.0, COUNT))
    lines = (root / "clip.tum").read_text().splitlines()
    (root / "clip.tum").write_text("\n".join(lines[:6] + lines[5:6] + lines[11:]))  # with a repeated time
    seconds = np.arange(COUNT) / RATE
    poses = open_clip("tum", root).trajectory().at(seconds)
    assert np.isnan(poses[5:10]).all() and np.isfinite(poses[:5]).all() and np.isfinite(poses[10:]).all()
    facts = camera_facts(CameraPoses("metric", poses, np.eye(3), 3.0), seconds)
    assert facts and all(fact.span[1] <= 1.0 or fact.span[0] >= 2.5 for fact in facts)


def test_times_of_day_begin_with_the_clip(folder):
    root = folder("tum")
    write_tum(root, path("Dolly In", 1.0, COUNT))
    rows = np.loadtxt(root / "clip.tum")
    rows[:, 0] += 1305031102.175304
    np.savetxt(root / "clip.tum", rows, fmt="%.9f")
    assert open_clip("tum", root).trajectory().seconds == pytest.approx(np.arange(COUNT) / RATE, abs=1e-5)


def test_a_kitti_file_of_another_length_asks_for_times(folder):
    root = folder("kitti")
    np.savetxt(root / "clip.kitti", np.tile(np.eye(4)[:3].ravel(), (7, 1)))
    with pytest.raises(ClipError, match=r"7 poses for the 16 frames.*seconds of the lines in clip\.times\.txt"):
        open_clip("kitti", root).trajectory()
    np.savetxt(root / "clip.times.txt", np.arange(7) * 0.1)
    assert open_clip("kitti", root).trajectory().seconds[-1] == pytest.approx(0.6)


def test_two_trajectories_beside_a_clip_are_one_too_many(folder):
    root = folder("tum")
    write_tum(root, path("Dolly In", 1.0, COUNT))
    write_kitti(root, path("Dolly In", 1.0, COUNT))
    with pytest.raises(InputError, match=r"several kinds \(\.tum and \.kitti\): keep one"):
        trajectory_clip(root / "clip.mp4")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0 0 0 0 0 0 0 0", "quaternion of length 0 in pose 16"),
        ("9 0 0 0 0 0 0 3", "quaternion of length 3 in pose 16"),
        ("1 0 0 0 0 0 0 1", "goes back in time after pose 15"),
        ("9 0 0 0 1 0 0", "has 7 numbers in line 18, not 8"),
        ("9 0 0 zero 0 0 0 1", "has no numbers in line 18"),
    ],
)
def test_damaged_rows_are_named(folder, row, words):
    root = folder("tum")
    write_tum(root, path("Dolly In", 1.0, COUNT))
    with (root / "clip.tum").open("a") as file:
        file.write(row + "\n")
    with pytest.raises(ClipError, match=words) as raised:
        open_clip("tum", root).trajectory()
    assert raised.value.code == "damaged"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda poses: poses[:, :3, :3].__imul__(1.5), "holds no rotation in pose 0"),
        (lambda poses: poses[:, :3, 0].__imul__(-1), r"is mirrored in pose 0 \(determinant -1\)"),
        (lambda poses: poses.__imul__(np.nan), "holds no pose without NaN"),
    ],
    ids=["skewed", "mirrored", "nothing"],
)
def test_matrices_that_are_no_poses_are_named(folder, change, words):
    root = folder("vipe")
    poses = path("Dolly In", 1.0, COUNT)
    change(poses)
    write_vipe(root, poses)
    with pytest.raises(ClipError, match=words):
        open_clip("vipe", root).trajectory()


def test_frames_without_poses_are_left_out(folder):
    root = folder("vipe")
    poses = path("Dolly In", 1.0, COUNT)
    poses[3] = np.nan
    write_vipe(root, poses)
    assert len(open_clip("vipe", root).trajectory().seconds) == COUNT - 1
    np.savez(root / "pose" / "clip.npz", data=poses, inds=np.arange(COUNT) + 5)
    with pytest.raises(ClipError, match="numbers frames beyond the 16 of the video"):
        open_clip("vipe", root).trajectory()


def test_poses_must_be_as_many_as_their_frames(folder):
    root = folder("spatialvid")
    write_spatialvid(root, path("Dolly In", 1.0, COUNT))
    poses = root / "annotations" / "group" / "clip" / "poses.npy"
    np.save(poses, np.load(poses)[:9])
    with pytest.raises(ClipError, match="holds 9 poses for 16 times"):
        open_clip("spatialvid", root).trajectory()


def test_runs_of_a_real_hand_held_camera_have_their_directions(shared_file, tmp_path):
    """Motion capture of TUM's freiburg1_xyz, before a desk 1.5 m away."""
    rows = np.loadtxt(shared_file("trajectories/tum_freiburg1_xyz.txt"))
    rows[:, 0] -= rows[0, 0]
    from fourdthinker.dataset_builders.layouts.trajectory import make_trajectory, quaternion_poses

    poses = quaternion_poses(tmp_path, rows[:, 1:4], rows[:, 4:])
    seconds = np.arange(0, rows[-1, 0], 1 / 6)
    camera = CameraPoses("metric", make_trajectory(tmp_path, rows[:, 0], poses).at(seconds), np.eye(3), 1.5)
    named = {label for fact in camera_facts(camera, seconds) for part in fact.parts for label in part}
    assert {"Truck Left", "Truck Right", "Pedestal Up", "Pedestal Down", "Dolly In", "Dolly Out"} <= named

"""Poses by structure from motion, on a scene whose camera path is known, and on clips where there is none to find."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fourdthinker.dataset_builders.clip_error import ClipError
from fourdthinker.dataset_builders.geometry.camera_facts import camera_facts
from fourdthinker.dataset_builders.geometry.camera_motion import camera_labels
from fourdthinker.dataset_builders.sources.video_reader import read_frames
from fourdthinker.modeling.processing import Clip

pytest.importorskip("pycolmap", reason="poses need the data extra")
from fourdthinker.dataset_builders.geometry.poses import estimate_camera  # noqa: E402

WIDTH, HEIGHT, FOCAL = 320, 240, 300.0  # of `wall_clip`
VIDEOS = Path(__file__).parents[3] / "../shared/data/videos"


@pytest.fixture(scope="module")
def truck(wall_clip):
    poses = np.tile(np.eye(4), (8, 1, 1))
    poses[:, 0, 3] = np.linspace(0, 1.0, 8)
    poses[:, 1, 3] = 0.05 * np.sin(np.arange(8))
    for pose, angle in zip(poses, np.radians(4) * np.sin(np.arange(8)), strict=True):  # tells the focal length
        pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    return wall_clip(poses), poses


def test_known_path_is_found_again(truck):
    clip, truth = truck
    poses = estimate_camera(clip)
    assert poses.registered.all()
    assert poses.intrinsics[0, 0] == pytest.approx(FOCAL, rel=0.2)
    assert camera_labels(poses.camera_to_world, clip.timestamps, poses.scene_depth) == ["Truck Right"]
    centres, true_centres = poses.camera_to_world[:, :3, 3], truth[:, :3, 3]
    steps, true_steps = (np.linalg.norm(c - c[0], axis=1) for c in (centres, true_centres))
    assert steps / steps[-1] == pytest.approx(true_steps / true_steps[-1], abs=0.05)
    # One metre sideways before walls at 3 to 6 metres.
    assert 1 / 6 < steps[-1] / poses.scene_depth < 1 / 3


def test_same_poses_every_time(truck):
    clip = Clip(truck[0].frames[:6], truck[0].timestamps[:6])
    first, second = estimate_camera(clip), estimate_camera(clip)
    assert np.array_equal(first.camera_to_world, second.camera_to_world, equal_nan=True)


def test_a_camera_that_stands_still_is_no_case_for_structure_from_motion(truck):
    frame = truck[0].frames[0]
    poses = estimate_camera(Clip([frame] * 8, list(range(8))), solve=None)
    assert poses.kind == "still" and poses.scene_depth is None
    assert poses.errors["still_pixels"] < 0.5
    assert camera_facts(poses, list(range(8)))[0].parts == (("Stay",),)


def test_no_texture_no_poses():
    grey = Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90))
    with pytest.raises(ClipError, match="texture"):
        estimate_camera(Clip([grey] * 8, list(range(8))))


def test_too_few_frames(truck):
    clip, _ = truck
    with pytest.raises(ClipError, match="3 frames, 6 are needed"):
        estimate_camera(Clip(clip.frames[:3], clip.timestamps[:3]))


def test_phone_clip_is_placed_whole():
    if not VIDEOS.exists():
        pytest.skip("the phone clips are not here: they are handed out beside the project, not with it")
    poses = estimate_camera(read_frames(VIDEOS / "backpack.mp4", fps=4))
    assert poses.registered.all()
    assert np.isfinite(poses.camera_to_world).all() and poses.scene_depth > 0
    assert np.linalg.det(poses.camera_to_world[:, :3, :3]) == pytest.approx(1)

"""A path against the points followed: the right one fits them, wrong ones do not."""

import numpy as np
import pytest

pytest.importorskip("cv2", reason="point tracks need the data extra")
from fourdthinker.dataset_builders.geometry.pixel_check import check_path  # noqa: E402
from fourdthinker.dataset_builders.geometry.point_tracks import track_points  # noqa: E402

from .textured_scene import path, render, scene_with_depth  # noqa: E402

INTRINSICS = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])


@pytest.fixture(scope="module")
def walk():
    """A camera that goes right and turns; its true path and the points followed."""
    poses = path("Pan Left", 6, frames=10)
    poses[:, 0, 3] = np.linspace(0, 0.8, 10)
    return track_points(render(scene_with_depth(np.random.default_rng(2)), poses, 300).frames), poses


def test_the_true_path_fits_the_points(walk):
    tracks, poses = walk
    check = check_path(tracks, poses, INTRINSICS)
    assert check.epipolar_pixels < 0.3 and check.epipolar_share > 0.9
    assert check.parallax_pixels > 10


@pytest.mark.parametrize("fault", ["inverted", "another way", "frames off"])
def test_a_wrong_path_does_not(walk, fault):
    tracks, poses = walk
    wrong = poses.copy()
    if fault == "inverted":
        wrong = np.linalg.inv(poses)
    elif fault == "another way":
        wrong[:, :3, 3] = wrong[:, [1, 0, 2], 3]
    else:
        wrong = np.roll(poses, 3, axis=0)
    assert check_path(tracks, wrong, INTRINSICS).epipolar_share < 0.6


def test_a_turn_has_no_parallax_and_unknown_poses_are_left_out(walk):
    tracks, poses = walk
    turned = track_points(
        render(scene_with_depth(np.random.default_rng(2)), path("Pan Left", 6, frames=6), 300).frames
    )
    assert check_path(turned, path("Pan Left", 6, frames=6), INTRINSICS).parallax_pixels < 1
    assert check_path(tracks, np.full((10, 4, 4), np.nan), INTRINSICS) is None

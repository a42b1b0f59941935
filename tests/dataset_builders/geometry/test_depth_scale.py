"""The metre of a camera's path from depth: scale, each frame's own error, and depth that shows another scene."""

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="masks need the data extra")
from fourdthinker.dataset_builders.clip_error import ClipError  # noqa: E402
from fourdthinker.dataset_builders.clip_record import CameraPoses, DepthMaps  # noqa: E402
from fourdthinker.dataset_builders.geometry.depth_maps import MAP_SIDE, stack_depth  # noqa: E402
from fourdthinker.dataset_builders.geometry.depth_scale import fit_depth  # noqa: E402

from .textured_scene import depth_maps, path, render, scene_with_depth  # noqa: E402

FOCAL, UNIT = 300.0, 2.5
INTRINSICS = np.array([[FOCAL, 0, 160], [0, FOCAL, 120], [0, 0, 1]])
WAVER = np.exp([0.1, -0.2, 0.15, 0.0, -0.1, 0.05])  # of each frame's unit, as a network guesses it


def film(label, amount):
    """A clip, its poses and its true depth in metres."""
    planes, poses = scene_with_depth(np.random.default_rng(3)), path(label, amount, frames=6)
    return render(planes, poses, FOCAL), poses, depth_maps(planes, poses, FOCAL)


@pytest.fixture(scope="module")
def truck():
    return film("Truck Right", 0.8)


def guess(metres):
    return stack_depth(list(metres), metric=True, scale_error=0.1)


def test_the_path_gets_its_metre_and_every_frame_the_same_unit(truck):
    clip, poses, depth = truck
    shrunk = poses.copy()
    shrunk[:, :3, 3] /= UNIT
    camera = CameraPoses("up_to_scale", shrunk, INTRINSICS)
    fit = fit_depth(clip.frames, camera, guess(depth * WAVER[:, None, None]))
    unit = fit.metres / UNIT  # the median of the frames' own errors is in it
    assert 0.9 < unit < 1.1 and fit.spread < 0.05
    error = np.log(fit.depth.maps / (unit * guess(depth).maps))
    assert np.abs(np.nanmedian(error, axis=(1, 2))).max() < 0.02, "no frame is nearer than another"


def test_poses_in_metres_keep_them_and_correct_the_depth(truck):
    clip, poses, depth = truck
    fit = fit_depth(clip.frames, CameraPoses("metric", poses, INTRINSICS), guess(3 * depth))
    assert fit.metres is None
    assert np.nanmedian(fit.depth.maps / guess(depth).maps) == pytest.approx(1, abs=0.02)


def test_a_camera_that_only_turns_evens_out_the_frames():
    clip, poses, depth = film("Pan Right", 8.0)
    fit = fit_depth(clip.frames, CameraPoses("turn_only", poses, INTRINSICS), guess(depth * WAVER[:, None, None]))
    ratios = np.nanmedian(fit.depth.maps / guess(depth).maps, axis=(1, 2))
    assert fit.metres is None and np.ptp(np.log(ratios)) < 0.03 < np.ptp(np.log(WAVER))


def test_depth_of_another_scene_is_refused(truck):
    clip, poses, depth = truck
    other = np.random.default_rng(0).uniform(1, 20, depth.shape)
    with pytest.raises(ClipError, match="depth and poses disagree") as caught:
        fit_depth(clip.frames, CameraPoses("up_to_scale", poses, INTRINSICS), guess(other))
    assert caught.value.code == "unclear" and "--depth" in caught.value.remedy


def test_maps_of_any_size_are_stacked_without_losing_lone_points():
    sparse = np.full((480, 640), np.nan)
    sparse[10, 20], sparse[470, 630], sparse[0, 0] = 2.0, 5.0, -1.0
    depth = stack_depth([None, sparse], metric=True)
    assert isinstance(depth, DepthMaps) and depth.maps.shape == (2, 120, MAP_SIDE)
    assert sorted(depth.maps[np.isfinite(depth.maps)].tolist()) == [2.0, 5.0]
    assert stack_depth([None, np.full((4, 4), np.inf)], metric=True) is None

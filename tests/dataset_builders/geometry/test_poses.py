"""Poses by structure from motion, on a scene whose camera path is known, and on clips where there is none to find."""

import numpy as np
import pytest
from PIL import Image

from fourdthinker.dataset_builders.clip_error import ClipError
from fourdthinker.dataset_builders.geometry.camera_facts import camera_facts
from fourdthinker.dataset_builders.geometry.camera_motion import camera_labels
from fourdthinker.dataset_builders.sources.video_reader import read_frames
from fourdthinker.modeling.processing import Clip

pytest.importorskip("pycolmap", reason="poses need the data extra")
from fourdthinker.dataset_builders.geometry.point_tracks import track_points  # noqa: E402
from fourdthinker.dataset_builders.geometry.poses import _between, _key_frames, estimate_camera  # noqa: E402
from fourdthinker.dataset_builders.geometry.structure_from_motion import SolvedPath  # noqa: E402

from .textured_scene import one_wall, path, render, scene_with_depth  # noqa: E402

WIDTH, HEIGHT, FOCAL = 320, 240, 300.0  # of `wall_clip`


@pytest.fixture(scope="module")
def truck(wall_clip):
    poses = np.tile(np.eye(4), (8, 1, 1))
    poses[:, 0, 3] = np.linspace(0, 1.0, 8)
    poses[:, 1, 3] = 0.05 * np.sin(np.arange(8))
    for pose, angle in zip(poses, np.radians(4) * np.sin(np.arange(8)), strict=True):  # tells the focal length
        pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    return wall_clip(poses), poses


@pytest.fixture(scope="module")
def found(truck):
    return estimate_camera(truck[0])


@pytest.mark.slow
def test_known_path_is_found_again(truck, found):
    (clip, truth), poses = truck, found
    assert poses.kind == "up_to_scale" and poses.registered.all()
    assert poses.errors["incremental_epipolar_share"] > 0.8 and poses.errors["turn_span_share"] < 0.5
    assert set(poses.made_by) == {"pycolmap", "opencv"}
    assert poses.intrinsics[0, 0] == pytest.approx(FOCAL, rel=0.2)
    assert camera_labels(poses.camera_to_world, clip.timestamps, poses.scene_depth) == ["Truck Right"]
    centres, true_centres = poses.camera_to_world[:, :3, 3], truth[:, :3, 3]
    steps, true_steps = (np.linalg.norm(c - c[0], axis=1) for c in (centres, true_centres))
    assert steps / steps[-1] == pytest.approx(true_steps / true_steps[-1], abs=0.05)
    # One metre sideways before walls at 3 to 6 metres.
    assert 1 / 6 < steps[-1] / poses.scene_depth < 1 / 3


@pytest.mark.slow
def test_what_was_found_twice_is_the_same(truck, found):
    clip, _ = truck
    again = estimate_camera(clip)
    for name in ("camera_to_world", "second_path", "intrinsics"):
        assert np.array_equal(getattr(again, name), getattr(found, name), equal_nan=True)


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


@pytest.mark.slow
def test_phone_clip_is_placed_whole(shared_file):
    poses = estimate_camera(read_frames(shared_file("videos/backpack.mp4"), fps=4))
    assert poses.registered.all()
    assert np.isfinite(poses.camera_to_world).all() and poses.scene_depth > 0
    assert np.linalg.det(poses.camera_to_world[:, :3, :3]) == pytest.approx(1)


def test_frames_between_key_frames_lie_between_them():
    keyed = np.tile(np.eye(4), (3, 1, 1))
    keyed[:, 0, 3] = (0, 1, np.nan)
    keyed[2] = np.nan
    poses = _between(keyed, [0, 2, 3], [0.0, 0.5, 2.0, 3.0], 5)
    assert poses[1, 0, 3] == pytest.approx(0.25)
    assert np.isfinite(poses[:3]).all() and np.isnan(poses[3:]).all()


@pytest.mark.medium
def test_a_path_of_one_mapper_or_one_that_does_not_fit_is_refused(truck, found):
    clip, _ = truck

    def solved(mapper, poses):
        return SolvedPath(mapper, poses, found.intrinsics, found.scene_depth, 0.3)

    placed = found.camera_to_world[_key_frames(track_points(clip.frames))]
    good = solved("incremental", placed)
    with pytest.raises(ClipError, match="two mappers is needed .incremental placed") as refused:
        estimate_camera(clip, solve=lambda *_: [good])
    assert refused.value.code == "unclear"
    up = placed.copy()
    up[:, :3, 3] = up[:, [1, 0, 2], 3]
    with pytest.raises(ClipError, match="does not fit the points followed .*where the global mapper says") as refused:
        estimate_camera(clip, solve=lambda *_: [good, solved("global", up)])
    assert refused.value.code == "unclear"


def test_masks_reach_the_solver(truck):
    clip, _ = truck
    masks = [np.zeros((HEIGHT, WIDTH), bool) for _ in clip.frames]
    for mask in masks:
        mask[:60] = True
    seen = {}

    def look(folder, count, seed, num_threads):
        seen.update({file.name: np.asarray(Image.open(file)) for file in sorted((folder / "masks").iterdir())})
        assert count == len(seen) == len(list((folder / "frames").iterdir()))
        return []

    with pytest.raises(ClipError, match="none placed enough"):
        estimate_camera(clip, masks=masks, solve=look)
    assert all((mask[:67] == 0).all() and (mask[67:] == 255).all() for mask in seen.values()), "with a margin of 7"


@pytest.mark.slow
@pytest.mark.parametrize("scene", [one_wall, scene_with_depth])
@pytest.mark.parametrize(("label", "amount"), [("Truck Left", 0.9), ("Dolly Out", 0.9), ("Pedestal Up", 0.7)])
def test_a_move_is_named_right_or_refused(label, amount, scene):
    clip = render(scene(np.random.default_rng(1)), path(label, amount, frames=12), 1.1 * 320)
    try:
        poses = estimate_camera(clip)
    except ClipError as error:
        assert error.code == "unclear"
        return
    assert poses.kind == "up_to_scale"
    assert all(fact.parts == ((label,),) for fact in camera_facts(poses, clip.timestamps))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "parts"),
    [
        ("street", "still", ("Stay",)),
        ("paragliding-launch", "turn_only", ("Pan Right",)),
        ("dog_backwards", "up_to_scale", ("Dolly Out", "Pedestal Down")),
        ("backpack", "up_to_scale", ("Arc Right",)),
    ],
)
def test_what_the_camera_does_in_real_clips(shared_file, name, kind, parts):
    clip = read_frames(shared_file(f"videos/{name}.mp4"), fps=8, max_frames=32)
    poses = estimate_camera(clip)
    assert poses.kind == kind
    facts = camera_facts(poses, clip.timestamps)
    assert facts and all(fact.parts == (parts,) for fact in facts)

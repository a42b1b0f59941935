"""Pure turns and pure moves, before one wall and before a scene with depth: none is taken for the other."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

pytest.importorskip("cv2", reason="point tracks need the data extra")
from fourdthinker.dataset_builders.geometry.camera_motion import CAMERA_LABELS, camera_labels  # noqa: E402
from fourdthinker.dataset_builders.geometry.point_tracks import PointTracks, track_points  # noqa: E402
from fourdthinker.dataset_builders.geometry.turns import (  # noqa: E402
    MIN_STANDING_SHARE,
    STILL_PIXELS,
    fit_turn,
    standing_share,
    still_pixels,
)
from fourdthinker.modeling.processing import Clip  # noqa: E402

from .textured_scene import one_wall, path, render, scene_with_depth  # noqa: E402

WIDTH = 320
TURNS = CAMERA_LABELS[:6]


def random_clip(label, scene, seed, **where):
    """A clip of one motion through a lens between wide and normal, and its focal length in picture widths."""
    rng = np.random.default_rng([seed, CAMERA_LABELS.index(label)])
    focal = rng.uniform(0.7, 1.5)
    amount = rng.uniform(4, 20) if label in TURNS else rng.uniform(0.15, 1.0)
    return render(scene(rng, **where), path(label, amount), focal * WIDTH), focal


@pytest.mark.medium
@pytest.mark.parametrize("scene", [one_wall, scene_with_depth])
@pytest.mark.parametrize("kind", range(6), ids=[label.split()[0] for label in CAMERA_LABELS[::2]])
@pytest.mark.parametrize("count", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_no_turn_is_taken_for_a_move_and_no_move_for_a_turn(scene, kind, count):
    verdicts = Counter()
    for seed in range(count):
        label = CAMERA_LABELS[2 * kind + seed % 2]
        clip, focal = random_clip(label, scene, seed)
        tracks = track_points(clip.frames)
        assert still_pixels(tracks) > STILL_PIXELS
        fit, poses = fit_turn(tracks)
        verdicts[fit.verdict] += 1
        if fit.verdict == "turn" and not label.startswith("Roll"):  # a roll tells nothing of the focal length
            assert fit.focal == pytest.approx(focal, rel=0.15)
        if fit.verdict == "turn":
            assert camera_labels(poses) == [label]
    if CAMERA_LABELS[2 * kind] in TURNS:
        assert verdicts["move"] == 0 and verdicts["turn"] >= 0.9 * count
    else:
        assert verdicts["turn"] == 0


@pytest.mark.medium
@pytest.mark.parametrize("label", ["Truck Right", "Pedestal Up"])
def test_a_move_along_a_far_wall_is_neither(label):
    rng = np.random.default_rng(3)
    clip = render(one_wall(rng, distance=25.0), path(label, 1.0), 1.1 * WIDTH)
    fit, _ = fit_turn(track_points(clip.frames))
    assert fit.verdict == "unclear"
    assert fit.keystone < 6 * fit.keystone_error or fit.keystone < 0.1
    assert set(fit.errors()) >= {"turn_step_pixels", "turn_span_pixels", "turn_keystone"}


def test_a_still_camera_stands_within_half_a_pixel():
    clip = render(one_wall(np.random.default_rng(0)), path("Stay", 0, frames=8), 300)
    assert still_pixels(track_points(clip.frames)) < 0.2


def points_that(move, frames=8):
    """Points all over a picture of 320 x 240, of which those that `move` says of their places go right."""
    places = np.stack(np.meshgrid(np.arange(5.0, 320, 10), np.arange(5.0, 240, 10)), axis=-1).reshape(-1, 2)
    steps = 2.0 * np.arange(frames)[:, None] * move(*places.T)
    return PointTracks(places + np.stack([steps, np.zeros_like(steps)], axis=-1), (320, 240), 1.0)


def test_what_covers_most_of_the_picture_does_not_hide_that_the_camera_stands():
    tracks = points_that(lambda column, row: (column > 70) & (column < 260) & (row > 30))
    assert still_pixels(tracks) > STILL_PIXELS and standing_share(tracks) > MIN_STANDING_SHARE


@pytest.mark.parametrize(
    "move",
    [
        lambda column, row: row > 120,  # near ground that passes below far hills
        lambda column, row: (row > 28) & (row < 212),  # a title and a ticker stand before a camera that pans
        lambda column, row: np.hypot(column - 160, row - 120) > 60,  # a roll or a zoom
    ],
)
def test_what_stands_in_a_part_of_the_picture_is_no_still_camera(move):
    assert standing_share(points_that(move)) < MIN_STANDING_SHARE


@pytest.mark.medium
def test_turns_there_and_back_and_about_two_axes_are_followed():
    angles = np.radians(np.column_stack([5 * np.sin(np.arange(16) / 3), np.linspace(0, 12, 16), np.zeros(16)]))
    truth = np.tile(np.eye(4), (16, 1, 1))
    truth[:, :3, :3] = Rotation.from_rotvec(angles).as_matrix()
    fit, poses = fit_turn(track_points(render(scene_with_depth(np.random.default_rng(1)), truth, 320).frames))
    assert fit.verdict == "turn"
    error = Rotation.from_matrix(poses[:, :3, :3].transpose(0, 2, 1) @ truth[:, :3, :3]).magnitude()
    assert np.degrees(error).max() < 0.5


@pytest.mark.medium
def test_a_large_moving_object_hides_the_turn_unless_it_is_masked():
    """A board over most of the picture moves by itself before a camera that pans."""
    clip, _ = random_clip("Pan Right", scene_with_depth, 4)
    board = render(one_wall(np.random.default_rng(9)), path("Stay", 0, frames=1), 300).frames[0].resize((220, 200))
    frames, masks = [], []
    for index, frame in enumerate(clip.frames):
        left, top = 4 * index, 20 + int(10 * np.sin(index))
        picture, mask = frame.copy(), Image.new("1", frame.size)
        picture.paste(board, (left, top))
        mask.paste(1, (left, top, left + 220, top + 200))
        frames.append(picture)
        masks.append(np.asarray(mask))
    clip = Clip(frames, clip.timestamps)
    hidden = fit_turn(track_points(clip.frames))
    assert hidden is None or hidden[0].verdict != "turn"
    assert fit_turn(track_points(clip.frames, masks))[0].verdict == "turn"


def test_points_of_which_no_four_go_together_are_no_turn():
    rng = np.random.default_rng(0)
    fit, _ = fit_turn(PointTracks(rng.uniform(0, 240, (8, 60, 2)), (320, 240), 1.0))
    assert fit.verdict != "turn"


def test_too_few_points_give_no_fit():
    grey = [Image.new("RGB", (320, 240), (90, 90, 90))] * 3
    tracks = track_points(grey)
    assert fit_turn(tracks) is None and still_pixels(tracks) == np.inf

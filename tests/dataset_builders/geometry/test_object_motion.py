"""Object labels: signs against a camera that looks along +y, properties of every motion, and rejected input."""

import numpy as np
import pytest

from fourdthinker.dataset_builders.geometry.object_motion import (
    MAX_SLANT_DEGREES,
    MOVING_METRES,
    OBJECT_LABELS,
    STILL_METRES,
    object_displacement,
    object_label,
)
from fourdthinker.modeling.errors import InputError

OPPOSITES = {
    "Moving Left": "Moving Right",
    "Moving Right": "Moving Left",
    "Moving Toward the Camera": "Moving Away from the Camera",
    "Moving Away from the Camera": "Moving Toward the Camera",
    "Staying in Place": "Staying in Place",
    None: None,
}


def turn_about_z(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])


def camera(yaw=0.0, pitch=0.0, roll=0.0, frames=5) -> np.ndarray:
    """A still camera 2 m up that looks along +y, then is turned left by `yaw`, down by `pitch` and rolled."""
    down = np.radians(pitch)
    axes = np.array(
        [[1, 0, 0], [0, -np.sin(down), np.cos(down)], [0, -np.cos(down), -np.sin(down)]]
    )  # columns: right, down, forward
    pose = np.eye(4)
    pose[:3, :3] = turn_about_z(yaw) @ axes @ turn_about_z(roll)
    pose[2, 3] = 2.0
    return np.tile(pose, (frames, 1, 1))


def walk(step, start=(0.3, 5.0, 0.5), frames=5) -> np.ndarray:
    return np.asarray(start) + np.linspace(0, 1, frames)[:, None] * np.asarray(step, dtype=float)


def label(centres, poses) -> str | None:
    return object_label(object_displacement(centres, poses))


@pytest.mark.parametrize("pitch", [0, 28, 60])
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ((2, 0, 0), "Moving Right"),
        ((-2, 0, 0), "Moving Left"),
        ((0, 2, 0), "Moving Away from the Camera"),
        ((0, -2, 0), "Moving Toward the Camera"),
        ((0, 0, 0), "Staying in Place"),
        ((0.2, -0.2, 0), "Staying in Place"),
    ],
)
def test_signs_for_a_camera_that_looks_along_y(step, expected, pitch):
    assert label(walk(step), camera(pitch=pitch)) == expected


def test_right_and_away_are_those_of_the_first_camera():
    poses = camera(yaw=90)  # looks along -x: its right is +y
    assert label(walk((0, 2, 0)), poses) == "Moving Right"
    assert label(walk((-2, 0, 0)), poses) == "Moving Away from the Camera"
    # What the camera does afterwards changes nothing.
    poses[1:] = camera(yaw=-90, pitch=30)[1:]
    poses[1:, :3, 3] += 7
    assert label(walk((0, 2, 0)), poses) == "Moving Right"


@pytest.mark.parametrize("yaw", [-140, -20, 35, 180])
def test_a_move_to_the_right_of_a_turned_camera_is_to_the_right(yaw):
    poses = camera(yaw=yaw, pitch=25)
    assert label(walk(2 * poses[0, :3, 0]), poses) == "Moving Right"


def test_displacement_is_measured_in_metres_along_the_ground():
    displacement = object_displacement(walk((1.5, 2.5, 0.4)), camera(pitch=50))
    np.testing.assert_allclose(displacement, (1.5, -0.4, 2.5), atol=1e-12)
    # A roll tilts the picture, not the ground.
    np.testing.assert_allclose(object_displacement(walk((1.5, 2.5, 0.4)), camera(roll=12)), displacement, atol=1e-9)


def random_motions(count=200):
    rng = np.random.default_rng(0)
    for _ in range(count):
        step = [*rng.normal(scale=1.2, size=2), rng.normal(scale=0.2)]
        yield walk(step), camera(rng.uniform(-180, 180), rng.uniform(0, 60), rng.uniform(-15, 15))


def test_a_turned_and_moved_world_has_the_same_labels():
    change = np.eye(4)
    change[:3, :3], change[:3, 3] = turn_about_z(73), (3.0, -8.0, 1.0)
    for centres, poses in random_motions():
        moved = centres @ change[:3, :3].T + change[:3, 3]
        assert label(moved, change @ poses) == label(centres, poses)


def test_time_played_backwards_has_the_opposite_labels():
    seen = set()
    for centres, poses in random_motions():
        forwards = label(centres, poses)
        assert label(centres[::-1], poses[::-1]) == OPPOSITES[forwards]
        seen.add(forwards)
    assert seen == {*OBJECT_LABELS, None}


def test_a_mirrored_world_swaps_left_and_right():
    for centres, poses in random_motions(50):
        right, down, forward = object_displacement(centres, poses)
        mirrored = object_label((-right, down, forward))
        kept = object_label((right, down, forward))
        assert mirrored == (OPPOSITES[kept] if kept in ("Moving Left", "Moving Right") else kept)


@pytest.mark.parametrize(
    ("displacement", "expected"),
    [
        ((STILL_METRES - 0.01, 0, 0), "Staying in Place"),
        ((STILL_METRES + 0.01, 0, 0), None),
        ((MOVING_METRES - 0.01, 0, 0), None),
        ((MOVING_METRES + 0.01, 0, 0), "Moving Right"),
        ((2, 0, 2), None),
        (
            (2 * np.cos(np.radians(MAX_SLANT_DEGREES - 1)), 0, 2 * np.sin(np.radians(MAX_SLANT_DEGREES - 1))),
            "Moving Right",
        ),
        ((2 * np.cos(np.radians(MAX_SLANT_DEGREES + 1)), 0, 2 * np.sin(np.radians(MAX_SLANT_DEGREES + 1))), None),
        ((0.1, 5.0, 0.1), "Staying in Place"),  # height is no part of it
    ],
)
def test_what_nobody_could_say_has_no_label(displacement, expected):
    assert object_label(displacement) == expected


@pytest.mark.parametrize(
    ("centres", "poses"),
    [
        (np.zeros((4, 3)), camera(frames=5)),
        (np.zeros((5, 2)), camera(frames=5)),
        (np.zeros(3), camera(frames=5)),
        (np.zeros((0, 3)), np.zeros((0, 4, 4))),
        (np.zeros((5, 3)), camera(frames=5)[:, :3]),
        (np.full((5, 3), np.nan), camera(frames=5)),
    ],
)
def test_paths_that_do_not_fit_are_rejected(centres, poses):
    with pytest.raises(InputError, match="object centre"):
        object_displacement(centres, poses)


@pytest.mark.parametrize("displacement", [(1, 2), (np.nan, 0, 0), 3.0])
def test_a_displacement_that_is_none_is_rejected(displacement):
    with pytest.raises(InputError, match="three numbers"):
        object_label(displacement)

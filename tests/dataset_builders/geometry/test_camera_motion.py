"""Camera labels against motions made by hand, properties every motion has, and a measured trajectory."""

from pathlib import Path

import numpy as np
import pytest

from fourdthinker.dataset_builders.geometry.camera_motion import (
    CAMERA_LABELS,
    OPPOSITE,
    camera_labels,
    camera_strengths,
)
from fourdthinker.modeling.errors import InputError


def rotation(vector) -> np.ndarray:
    """Rodrigues' formula, for a rotation vector in degrees."""
    vector = np.radians(np.asarray(vector, dtype=float))
    angle = np.linalg.norm(vector)
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def path(turn=(0, 0, 0), shift=(0, 0, 0), frames=9) -> np.ndarray:
    """Poses of a camera that turns evenly about one axis and moves evenly in a straight line."""
    poses = np.tile(np.eye(4), (frames, 1, 1))
    for pose, share in zip(poses, np.linspace(0, 1, frames), strict=True):
        pose[:3, :3] = rotation(share * np.asarray(turn))
        pose[:3, 3] = share * np.asarray(shift)
    return poses


def random_paths(count=60):
    """Smooth random walks, some of them with a single motion, some with six at once."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        motion = rng.normal(size=6) * (rng.random(6) < 0.5)
        poses = np.tile(np.eye(4), (12, 1, 1))
        for before, after in zip(poses[:-1], poses[1:], strict=True):
            step = motion + 0.2 * rng.normal(size=6)
            after[:3, :3] = before[:3, :3] @ rotation(2 * step[:3])
            after[:3, 3] = before[:3, 3] + before[:3, :3] @ step[3:] * 0.1
        yield poses


def test_labels_come_in_opposite_pairs():
    assert len(set(CAMERA_LABELS)) == 12
    assert all(OPPOSITE[OPPOSITE[label]] == label != OPPOSITE[label] for label in CAMERA_LABELS)
    assert all(label.split()[0] == OPPOSITE[label].split()[0] for label in CAMERA_LABELS)


@pytest.mark.parametrize("frames", [2, 8, 50])
@pytest.mark.parametrize(
    ("turn", "shift", "label"),
    [
        ((0, -15, 0), (0, 0, 0), "Pan Left"),
        ((0, 15, 0), (0, 0, 0), "Pan Right"),
        ((15, 0, 0), (0, 0, 0), "Tilt Up"),
        ((-15, 0, 0), (0, 0, 0), "Tilt Down"),
        ((0, 0, 15), (0, 0, 0), "Roll Clockwise"),
        ((0, 0, -15), (0, 0, 0), "Roll Counterclockwise"),
        ((0, 0, 0), (0, 0, 1), "Dolly In"),
        ((0, 0, 0), (0, 0, -1), "Dolly Out"),
        ((0, 0, 0), (-1, 0, 0), "Truck Left"),
        ((0, 0, 0), (1, 0, 0), "Truck Right"),
        ((0, 0, 0), (0, -1, 0), "Pedestal Up"),
        ((0, 0, 0), (0, 1, 0), "Pedestal Down"),
    ],
)
def test_pure_motions(turn, shift, label, frames):
    assert camera_labels(path(turn, shift, frames)) == [label]


@pytest.mark.parametrize(
    ("turn", "point", "expected"),
    [
        # Where a point seen ahead goes in the picture (x right, y down) says which way the view turned.
        ("Pan Right", (0, 0, 4), lambda x, y: x < 0 and abs(y) < 1e-9),
        ("Tilt Up", (0, 0, 4), lambda x, y: y > 0 and abs(x) < 1e-9),
        ("Roll Clockwise", (0, -1, 4), lambda x, y: x < 0),
        ("Truck Right", (0, 0, 4), lambda x, y: x < 0 and abs(y) < 1e-9),
        ("Pedestal Down", (0, 0, 4), lambda x, y: y < 0 and abs(x) < 1e-9),
        ("Dolly In", (1, 0, 4), lambda x, y: x > 0.25),
    ],
)
def test_signs_agree_with_the_picture(turn, point, expected):
    motions = {
        "Pan Right": ((0, 15, 0), (0, 0, 0)),
        "Tilt Up": ((15, 0, 0), (0, 0, 0)),
        "Roll Clockwise": ((0, 0, 15), (0, 0, 0)),
        "Truck Right": ((0, 0, 0), (1, 0, 0)),
        "Pedestal Down": ((0, 0, 0), (0, 1, 0)),
        "Dolly In": ((0, 0, 0), (0, 0, 1)),
    }
    poses = path(*motions[turn])
    assert camera_labels(poses) == [turn]
    x, y, z = np.linalg.inv(poses[-1])[:3] @ (*point, 1)
    assert expected(x / z, y / z)


def test_still_camera_has_no_label():
    assert camera_labels(path()) == []
    assert camera_labels(path(turn=(0, 2, 0), shift=(0.1, 0, 0))) == []


def test_there_and_back_is_still():
    out = path(turn=(0, 20, 0), shift=(1, 0, 0))
    assert camera_labels(np.concatenate([out, out[::-1]])) == []


def test_two_motions_at_most_and_weak_ones_dropped():
    assert camera_labels(path(turn=(0, 20, 0), shift=(0, 0, 1.2))) == ["Pan Right", "Dolly In"]
    assert camera_labels(path(turn=(0, 20, 0), shift=(0, 0, 0.6))) == ["Pan Right"]
    assert len(camera_labels(path(shift=(1, 1, 1)))) == 2


def test_a_full_turn_is_a_pan():
    assert camera_labels(path(turn=(0, 350, 0), frames=30)) == ["Pan Right"]


def test_an_orbit_is_a_truck_with_a_pan():
    poses = np.tile(np.eye(4), (20, 1, 1))
    for pose, angle in zip(poses, np.linspace(0, 90, 20), strict=True):
        pose[:3, :3] = rotation((0, -angle, 0))
        pose[:3, 3] = pose[:3, :3] @ (0, 0, -4)  # always looks at the origin from 4 m
    assert camera_labels(poses) == ["Pan Left", "Truck Right"]


def test_scale_of_the_scene_cancels():
    for poses in random_paths(20):
        scaled = poses.copy()
        scaled[:, :3, 3] *= 37
        assert camera_labels(scaled, scene_depth=37 * 4.0) == camera_labels(poses, scene_depth=4.0)


def test_labels_do_not_depend_on_the_world_frame():
    world = np.eye(4)
    world[:3, :3] = rotation((40, -110, 75))
    world[:3, 3] = (5, -3, 20)
    named = 0
    for poses in random_paths():
        labels = camera_labels(poses)
        named += bool(labels)
        assert camera_labels(world @ poses) == labels
    assert named > 30


def test_time_reversal_flips_labels():
    for poses in random_paths():
        assert camera_labels(poses[::-1]) == [OPPOSITE[label] for label in camera_labels(poses)]


def test_opposites_never_together():
    for poses in random_paths():
        labels = camera_labels(poses)
        assert not {OPPOSITE[label] for label in labels} & set(labels)


def broken(change) -> np.ndarray:
    poses = path(turn=(0, 10, 0))
    change(poses)
    return poses


def set_entry(index, value):
    return lambda poses: poses.__setitem__(index, value)


@pytest.mark.parametrize(
    ("poses", "words"),
    [
        (broken(set_entry((3, 0, 3), np.nan)), "pose 3 holds NaN"),
        (broken(set_entry((3, 1, 1), np.inf)), "pose 3 holds NaN or infinity"),
        (broken(set_entry((2, 0, 0), 2.0)), "pose 2 has no rotation"),
        (broken(set_entry((4, slice(0, 3), 0), -path(turn=(0, 10, 0))[4, :3, 0])), "pose 4 is mirrored"),
        (broken(set_entry((1, 3, 0), 1.0)), "0 0 0 1"),
        (path()[:, :3], r"shape \(9, 3, 4\)"),
        (path()[0], r"shape \(4, 4\)"),
        (path()[:1], "T > 1"),
        ([["left", "right"]], "not numbers"),
        (path(turn=(0, 170, 0), frames=2), "half a circle after pose 0"),
    ],
)
def test_bad_poses(poses, words):
    with pytest.raises(InputError, match=words):
        camera_labels(poses)


def test_bad_timestamps_and_depth():
    with pytest.raises(InputError, match="9 camera poses for 8 timestamps"):
        camera_labels(path(), timestamps=range(8))
    with pytest.raises(InputError, match="do not increase"):
        camera_labels(path(), timestamps=[0, 1, 2, 3, 3, 5, 6, 7, 8])
    for depth in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="scene_depth"):
            camera_labels(path(), scene_depth=depth)


def test_strengths_are_degrees():
    strengths = camera_strengths(path(turn=(0, 12, 0)))
    assert strengths["Pan Right"] == pytest.approx(12)
    assert len(strengths) == 6
    assert camera_strengths(path(shift=(0, 0, 0.4)))["Dolly In"] == pytest.approx(np.degrees(0.1))


def tum_trajectory(file: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = np.loadtxt(file)
    x, y, z, w = rows[:, 4:].T
    rotations = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3] = rotations
    poses[:, :3, 3] = rows[:, 1:4]
    return rows[:, 0], poses


def test_hand_held_camera_moved_along_its_own_axes(shared_file):
    seconds, poses = tum_trajectory(shared_file("trajectories/tum_freiburg1_xyz.txt"))
    seconds = seconds - seconds[0]
    seen = set()
    for start in np.arange(0, seconds[-1] - 1, 0.5):
        part = poses[(seconds >= start) & (seconds < start + 1)][::10]
        labels = camera_labels(part, scene_depth=1.2)
        seen |= set(labels)
        # The strongest shift of that second, measured plainly: the chord in the first camera's axes.
        chord = part[0, :3, :3].T @ (part[-1, :3, 3] - part[0, :3, 3])
        axis = int(np.argmax(np.abs(chord)))
        if abs(chord[axis]) > 0.15:
            names = (("Truck Right", "Truck Left"), ("Pedestal Down", "Pedestal Up"), ("Dolly In", "Dolly Out"))[axis]
            strength = camera_strengths(part, scene_depth=1.2)[names[int(chord[axis] < 0)]]
            assert strength == pytest.approx(np.degrees(abs(chord[axis]) / 1.2), rel=0.2)
    # The operator moved back and forth along all three axes.
    assert {"Truck Left", "Truck Right", "Pedestal Up", "Pedestal Down", "Dolly In", "Dolly Out"} <= seen


def test_car_drives_forward_and_turns(shared_file):
    file = shared_file("trajectories/kitti_00_first400.txt")
    poses = np.tile(np.eye(4), (400, 1, 1))
    poses[:, :3] = np.loadtxt(file).reshape(-1, 3, 4)
    windows = [camera_labels(poses[start : start + 30], scene_depth=15.0) for start in range(0, 370, 10)]
    assert all("Dolly In" in labels for labels in windows)
    assert any("Pan Left" in labels or "Pan Right" in labels for labels in windows)

"""What is asked about cameras: random paths with the noise of estimated poses, and measured trajectories."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fourdthinker.dataset_builders.clip_record import CameraPoses
from fourdthinker.dataset_builders.geometry.camera_facts import ARC_LABELS, ASKED_LABELS, STAY, camera_facts
from fourdthinker.dataset_builders.geometry.camera_motion import CAMERA_LABELS, OPPOSITE, camera_strengths

SECONDS = np.arange(24) / 6
DEPTH = 5.0  # metres
AXES = {
    "Pan": (0, -1, 0), "Tilt": (1, 0, 0), "Roll": (0, 0, 1),
    "Dolly": (0, 0, 1), "Truck": (-1, 0, 0), "Pedestal": (0, -1, 0),
}  # fmt: skip


def steps_of(labels, degrees, count):
    """Equal steps, `(count, 3)` rotation vectors and `(count, 3)` shifts in scene depths, along the camera's axes."""
    turn, shift = np.zeros(3), np.zeros(3)
    for label, amount in zip(labels, degrees, strict=True):
        sign = 1 if CAMERA_LABELS.index(label) % 2 == 0 else -1
        kind = label.split()[0]
        into = turn if kind in ("Pan", "Tilt", "Roll") else shift
        into += sign * np.radians(amount) * np.array(AXES[kind])
    return np.tile(turn / count, (count, 1)), np.tile(shift / count, (count, 1))


def poses_of(turns, shifts, depth=DEPTH, start=None):
    poses = [np.eye(4) if start is None else start]
    for turn, shift in zip(turns, shifts, strict=True):
        half = Rotation.from_rotvec(turn / 2).as_matrix()
        pose = poses[-1].copy()
        pose[:3, 3] += depth * pose[:3, :3] @ half @ shift
        pose[:3, :3] = pose[:3, :3] @ half @ half
        poses.append(pose)
    return np.stack(poses)


def with_noise(poses, rng, degrees=0.1, share=0.003):
    """The tremor of a hand and the errors of estimated poses."""
    noisy = poses.copy()
    noisy[:, :3, :3] @= Rotation.from_rotvec(np.radians(degrees) * rng.normal(size=(len(poses), 3))).as_matrix()
    noisy[:, :3, 3] += share * DEPTH * rng.normal(size=(len(poses), 3))
    return noisy


def random_path(rng):
    """Poses and what is true of them: the labels of one part, or of what comes first and then."""
    count = len(SECONDS) - 1
    kind = rng.choice(["still", "single", "double", "arc", "back"], p=[0.1, 0.4, 0.2, 0.1, 0.2])
    chosen = [CAMERA_LABELS[2 * axis + rng.integers(2)] for axis in rng.permutation(6)[:2]]
    amount = rng.uniform(8, 35)
    if kind == "still":
        return np.tile(np.eye(4), (count + 1, 1, 1)), ((STAY,),)
    if kind == "arc":
        label = str(rng.choice(ARC_LABELS))
        side = 1 if label == "Arc Right" else -1
        distance, pitch = rng.uniform(0.7, 1.5) * DEPTH, np.radians(rng.uniform(0, 45))
        poses = []
        for angle in np.radians(np.linspace(0, side * rng.uniform(15, 60), count + 1)):
            look = Rotation.from_euler("yx", [-angle, -pitch]).as_matrix()
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = look, look @ (0, 0, -distance)
            poses.append(pose)
        return np.stack(poses), ((label,),)
    if kind == "double":
        while {name.split()[0] for name in chosen} == {"Pan", "Truck"}:  # may be an arc
            chosen = [CAMERA_LABELS[2 * axis + rng.integers(2)] for axis in rng.permutation(6)[:2]]
        parts = (tuple(sorted(chosen, key=CAMERA_LABELS.index)),)
        turns, shifts = steps_of(parts[0], amount * rng.uniform(0.9, 1.1, 2), count)
    else:
        parts = ((chosen[0],),)
        turns, shifts = steps_of(parts[0], [amount], count)
    drift = steps_of([CAMERA_LABELS[2 * a + rng.integers(2)] for a in range(6)], 0.12 * amount * rng.random(6), count)
    if kind == "back":
        parts = (parts[0], (OPPOSITE[chosen[0]],))
        turning = int(rng.integers(count // 3, 2 * count // 3))
        turns[turning:] *= -1
        shifts[turning:] *= -1
    return poses_of(turns + drift[0], shifts + drift[1]), parts


def estimated(poses, rng):
    """Poses as they are estimated: noisy, in a world and a unit of their own; still ones as such."""
    if np.ptp(poses, axis=0).max() == 0:
        return CameraPoses("still", poses, np.eye(3))
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = (
        Rotation.random(random_state=int(rng.integers(2**31))).as_matrix(),
        rng.normal(size=3),
    )
    unit = float(np.exp(rng.normal()))
    noisy, second = (world @ with_noise(poses, rng) for _ in range(2))
    noisy[:, :3, 3] *= unit
    second[:, :3, 3] *= unit
    depth = DEPTH * unit * rng.uniform(0.8, 1.25)
    return CameraPoses("up_to_scale", noisy, np.eye(3), depth, second_path=second)


def judge(count):
    rng = np.random.default_rng(5)
    asked, right, plain, plain_asked, wrong = 0, 0, 0, 0, []
    for _ in range(count):
        poses, parts = random_path(rng)
        facts = camera_facts(estimated(poses, rng), SECONDS)
        allowed = {parts, *((part,) for part in parts)}
        for fact in facts:
            asked += 1
            right += fact.parts in allowed
            if fact.parts not in allowed:
                wrong.append((parts, fact.parts, fact.numbers))
        if len(parts) == 1 and len(parts[0]) == 1:
            plain += 1
            plain_asked += any(fact.parts == parts and fact.span == (SECONDS[0], SECONDS[-1]) for fact in facts)
    return right / asked, plain_asked / plain, wrong


@pytest.mark.medium
@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_random_paths_are_named_right_and_plain_ones_are_asked(count):
    right, plain_asked, wrong = judge(count)
    assert right >= 0.98, wrong[:10]
    assert plain_asked >= 0.8


def asked_of(labels, degrees, kind="up_to_scale", depth=DEPTH, turned_back=0.0, **more):
    """The parts of the fact about a whole window; `turned_back` of the motion is undone at the end."""
    turns, shifts = steps_of(labels, degrees, len(SECONDS) - 1)
    if turned_back:
        there = round((len(turns)) / (1 + turned_back))
        turns[there:] *= -1
        shifts[there:] *= -1
    camera = CameraPoses(kind, poses_of(turns, shifts), np.eye(3), depth, **more)
    found = [fact for fact in camera_facts(camera, SECONDS) if fact.span == (SECONDS[0], SECONDS[-1])]
    return found[0].parts if found else None


@pytest.mark.parametrize("label", CAMERA_LABELS)
def test_each_motion_alone_and_there_and_back(label):
    assert asked_of([label], [15]) == ((label,),)
    assert asked_of([label], [30], turned_back=0.7) == ((label,), (OPPOSITE[label],))
    # One that goes a little back ends where it went: no turning point to ask about.
    assert asked_of([label], [15], turned_back=0.05) == ((label,),)


def test_a_motion_is_asked_only_if_no_depth_would_name_another():
    assert asked_of(["Pan Right", "Dolly In"], [20, 20]) == (("Pan Right", "Dolly In"),)
    # With twice the depth the pan is alone, with half of it the dolly.
    assert asked_of(["Pan Right", "Dolly In"], [20, 11]) is None
    assert asked_of(["Pan Right", "Dolly In"], [20, 3]) == (("Pan Right",),)
    assert asked_of(["Dolly In"], [5]) is None, "half as much is no motion"
    # In metres the depth is better known.
    assert asked_of(["Dolly In"], [5], kind="metric") == (("Dolly In",),)


def test_without_depth_only_turns_and_standing_still_are_asked():
    assert asked_of(["Pan Right", "Tilt Up"], [20, 18], kind="turn_only", depth=None) == (("Pan Right", "Tilt Up"),)
    assert asked_of(["Dolly In"], [20], kind="up_to_scale", depth=None) is None
    assert asked_of(["Pan Right", "Dolly In"], [20, 10], kind="metric", depth=None) is None
    assert asked_of(["Pan Right"], [20], kind="metric", depth=None) == (("Pan Right",),)
    assert asked_of([], [], kind="still", depth=None) == ((STAY,),)


def test_up_to_four_motions_in_one_answer():
    turns = ["Pan Right", "Tilt Up", "Roll Clockwise"]
    assert asked_of(turns, [15, 13, 12]) == (tuple(turns),)
    moves = ["Dolly In", "Truck Left", "Pedestal Up"]
    assert asked_of(moves, [15, 13, 12]) == (tuple(moves),)
    assert asked_of(["Pan Right", "Dolly In", "Truck Right", "Pedestal Up"], [15] * 4) == (
        ("Pan Right", "Dolly In", "Truck Right", "Pedestal Up"),
    )
    assert asked_of(["Pan Right", "Tilt Up", "Roll Clockwise", "Dolly In", "Truck Right"], [15] * 5) is None


def test_what_is_neither_weak_nor_strong_leaves_the_motion_unasked():
    assert asked_of(["Pan Right", "Tilt Up"], [20, 7.5]) is None
    assert asked_of(["Pan Right", "Tilt Up"], [20, 5]) == (("Pan Right",),)


def test_both_paths_must_give_the_same():
    turns, shifts = steps_of(["Truck Right"], [15], len(SECONDS) - 1)
    other = poses_of(turns, -shifts)
    assert asked_of(["Truck Right"], [15], second_path=poses_of(turns, shifts)) == (("Truck Right",),)
    assert asked_of(["Truck Right"], [15], second_path=other) is None
    other[5] = np.nan
    assert asked_of(["Truck Right"], [15], second_path=other) is None


@pytest.mark.parametrize("pitch", [0, 20, 45])
@pytest.mark.parametrize(("label", "sign"), [("Arc Right", 1), ("Arc Left", -1)])
def test_an_orbit_is_an_arc_however_far_it_looks_down(label, sign, pitch):
    poses = []
    for angle in np.radians(np.linspace(0, sign * 40, len(SECONDS))):
        look = Rotation.from_euler("yx", [-angle, -np.radians(pitch)]).as_matrix()
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = look, look @ (0, 0, -DEPTH)  # looks at the origin
        poses.append(pose)
    camera = CameraPoses("up_to_scale", np.stack(poses), np.eye(3), DEPTH)
    fact = camera_facts(camera, SECONDS)[0]
    assert fact.parts == ((label,),)
    # The first camera stands at -z; its right is +x.
    assert np.sign(poses[-1][0, 3]) == sign
    # Round something ten times as far away it is a truck, and on the spot a pan.
    for distance, named in ((10 * DEPTH, "Truck"), (DEPTH / 20, "Pan")):
        moved = np.stack(poses)
        moved[:, :3, 3] *= distance / DEPTH
        for other in camera_facts(CameraPoses("up_to_scale", moved, np.eye(3), DEPTH), SECONDS):
            assert not set(other.parts[0]) & set(ARC_LABELS)
            assert any(named in name for name in other.parts[0])


def test_nothing_crosses_a_gap_or_a_frame_without_a_pose():
    turns, shifts = steps_of(["Pan Right"], [40], len(SECONDS) - 1)
    poses = poses_of(turns, shifts)
    late = SECONDS + 3.0 * (np.arange(len(SECONDS)) >= 12)
    spans = [fact.span for fact in camera_facts(CameraPoses("turn_only", poses, np.eye(3)), late)]
    assert spans and all(end <= late[11] or start >= late[12] for start, end in spans)
    poses[12] = np.nan
    spans = [fact.span for fact in camera_facts(CameraPoses("turn_only", poses, np.eye(3)), SECONDS)]
    assert spans and all(end < SECONDS[12] or start > SECONDS[12] for start, end in spans)


def test_numbers_say_how_much():
    turns, shifts = steps_of(["Pan Right", "Tilt Up"], [20, 3], len(SECONDS) - 1)
    facts = camera_facts(CameraPoses("turn_only", poses_of(turns, shifts), np.eye(3)), SECONDS)
    assert facts[0].numbers == {"Pan Right": pytest.approx(20, abs=0.2), "Tilt Up": pytest.approx(3, abs=0.2)}
    assert all(set(part) <= set(ASKED_LABELS) for fact in facts for part in fact.parts)


def windows(poses, seconds, depth, length, every):
    """Facts about windows of some seconds with half overlap, with the window's frames."""
    for start in np.arange(seconds[0], seconds[-1] - length / 2, length / 2):
        inside = np.flatnonzero((seconds >= start) & (seconds < start + length))[::every]
        camera = CameraPoses("metric", poses[inside], np.eye(3), depth)
        for fact in camera_facts(camera, seconds[inside]):
            shown = poses[inside][(seconds[inside] >= fact.span[0]) & (seconds[inside] <= fact.span[1])]
            yield fact, shown


def test_hand_held_camera_moved_along_its_own_axes(shared_file):
    file = shared_file("trajectories/tum_freiburg1_xyz.txt")
    rows = np.loadtxt(file)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = Rotation.from_quat(rows[:, 4:]).as_matrix(), rows[:, 1:4]
    seen = set()
    for fact, shown in windows(poses, rows[:, 0], 1.2, 4.0, 8):
        assert np.diff(rows[:, 0]).max() > 0.1, "the file has a gap"
        if len(fact.parts) > 1:
            continue
        chord = shown[0, :3, :3].T @ (shown[-1, :3, 3] - shown[0, :3, 3])  # plainly: in the first camera's axes
        names = [("Truck Right", "Truck Left"), ("Pedestal Down", "Pedestal Up"), ("Dolly In", "Dolly Out")]
        for (positive, negative), way in zip(names, chord, strict=True):
            named = {positive: 1, negative: -1}
            assert all(np.sign(way) == named[label] for label in fact.parts[0] if label in named)
        seen |= set(fact.parts[0])
    moves = {"Truck Left", "Truck Right", "Pedestal Up", "Pedestal Down", "Dolly In", "Dolly Out"}
    assert moves <= seen, sorted(moves - seen)


def test_car_drives_forward_and_pans_where_it_turns(shared_file):
    file = shared_file("trajectories/kitti_00_first400.txt")
    poses = np.tile(np.eye(4), (400, 1, 1))
    poses[:, :3] = np.loadtxt(file).reshape(-1, 3, 4)
    found = list(windows(poses, np.arange(400) / 10, 10.0, 4.0, 1))
    assert len(found) > 30
    for fact, shown in found:
        assert len(fact.parts) == 1 and "Dolly In" in fact.parts[0]
        strengths = camera_strengths(shown, scene_depth=10.0)
        pans = {label: degrees for label, degrees in strengths.items() if label.startswith("Pan") and degrees > 20}
        if len(fact.parts[0]) > 1:
            assert set(fact.parts[0]) == {"Dolly In", *pans}
    assert {"Pan Left", "Pan Right"} <= {label for fact, _ in found for label in fact.parts[0]}

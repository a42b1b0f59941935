"""Object labels on drawn masks: random scenes of the rendered world with noise, and cases made by hand."""

from collections import Counter

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fourdthinker.dataset_builders.clip_record import CameraPoses, ObjectTrack
from fourdthinker.dataset_builders.geometry.camera_motion import camera_labels
from fourdthinker.dataset_builders.geometry.masks import encode_mask
from fourdthinker.dataset_builders.geometry.object_directions import main_direction
from fourdthinker.dataset_builders.geometry.object_facts import (
    AT_REST,
    DIRECTIONS,
    DISTANCES,
    FOLLOWED,
    LABELS,
    MAIN_DIRECTIONS,
    SPEEDS,
    object_facts,
)
from fourdthinker.dataset_builders.world.scene import project

from ..near_scenes import sample_near_scene

SIDE, FRAMES, RATE = 192, 24, 8.0
SECONDS = np.arange(FRAMES) / RATE
PACES = {
    "even": lambda x: x,
    "faster": lambda x: 0.15 * x + 0.85 * x**2,
    "slower": lambda x: 1 - 0.15 * (1 - x) - 0.85 * (1 - x) ** 2,
    "stopping": lambda x: np.interp(x, [0, 0.38, 0.62, 1], [0, 0.5, 0.5, 1]),
    "to and fro": lambda x: np.interp(x, [0, 0.5, 1], [0, 1, 0]),
}


def blob(place, radius, rng=None):
    """A disc's mask; with a generator, size and place are off by 4 and 2 % and its edge is rough."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = np.full(40, radius)
    if rng is not None:
        rough = np.convolve(rng.normal(size=40), np.ones(5) / 5, "same")
        radii = radius * (1 + 0.04 * rng.normal()) * (1 + 0.06 * rough)
        place = place + rng.normal(0, 0.02 * radius, 2)
    points = np.column_stack([place[0] + radii * np.cos(angles), place[1] + radii * np.sin(angles)])
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    return encode_mask(mask > 0)


def track_of(masks, sure=None):
    sure = np.ones(len(masks), dtype=bool) if sure is None else sure
    return ObjectTrack("ball", tuple(masks), sure, {"masks": "1"}, {"static_size": 0.01})


def camera_of(kind="still", rotations=None, frames=FRAMES, focal=SIDE):
    poses = np.tile(np.eye(4), (frames, 1, 1))
    if rotations is not None:
        poses[:, :3, :3] = rotations.as_matrix()
    return CameraPoses(kind, poses, np.array([[focal, 0, SIDE / 2], [0, focal, SIDE / 2], [0, 0, 1.0]]))


def facts_of(places, radii=12.0, camera=None, **more):
    """Facts of discs at places `(n, 2)` in pixels, by kind; of several of a kind the first, about the whole clip."""
    masks = [blob(place, radius) for place, radius in zip(places, np.broadcast_to(radii, len(places)), strict=True)]
    camera = camera or camera_of(frames=len(places))
    facts = object_facts(track_of(masks), camera, SECONDS[: len(places)], (SIDE, SIDE), **more)
    return {fact.kind: fact for fact in reversed(facts)}


def line(start, end, frames=FRAMES, pace="even"):
    return np.array(start) + PACES[pace](np.linspace(0, 1, frames))[:, None] * (np.array(end) - start)


# Random scenes of the world.


def world_facts(seed):
    """The facts of every object of a random scene, each with what is needed to judge it."""
    rng = np.random.default_rng(seed)
    scene = sample_near_scene(rng, FRAMES, 8)
    focal, poses = 0.5 / np.tan(scene.field_of_view / 2), scene.camera_to_world
    labels = camera_labels(poses)
    turns = bool(labels) and labels[0].split()[0] in ("Pan", "Tilt", "Roll")
    camera = camera_of("turn_only" if turns else "metric" if labels else "still", focal=focal * SIDE)
    camera.camera_to_world[:] = poses
    if camera.kind == "turn_only":
        camera.camera_to_world[:, :3, 3] = 0
    for thing in scene.objects:
        pace = str(rng.choice(["even", *PACES]))
        gone = PACES[pace](np.linspace(0, 1, FRAMES))[:, None] * (thing.path[-1] - thing.path[0])
        path = thing.path[0] + gone
        seen = project(path, poses, focal)
        radii = thing.size * focal * SIDE / np.linalg.norm(path - poses[:, :3, 3], axis=1)
        masks = [blob(place, radius, rng) for place, radius in zip(seen[:, :2] * SIDE, radii, strict=True)]
        depths = seen[:, 2] * (1 + 0.01 * rng.normal(size=FRAMES)) if camera.kind == "metric" else None
        for fact in object_facts(track_of(masks), camera, SECONDS, (SIDE, SIDE), depths):
            yield fact, path, poses, focal, pace


def true_label(fact, path, poses, focal, pace):
    """What a fact should say, from the exact path within its span."""
    first, last = (round(second * RATE) for second in fact.span)
    part = slice(first, last + 1)
    world = project(path[part], poses[first], focal)[:, :2]
    picture = project(path[part], poses[part], focal)[:, :2]
    if fact.kind == "distance":
        logs = np.log(np.linalg.norm(path[part] - poses[first, :3, 3], axis=1))
        kept = abs(logs[-1] - logs[0]) < 0.06 and np.ptp(logs) < 0.1
        return DISTANCES[2] if kept else DISTANCES[int(logs[-1] > logs[0])]
    if fact.kind == "speed":
        return true_speed(np.linalg.norm(np.diff(path[part], axis=0), axis=1), pace)
    if fact.kind == "followed":
        return true_following(world, picture)
    if fact.kind == "main_direction":
        right, down = world[-1] - world[0]
        return MAIN_DIRECTIONS[round(np.degrees(np.arctan2(-down, right)) / 90) % 4]
    return true_direction(world if fact.kind == "direction" else picture)


def true_direction(places):
    if np.linalg.norm(places - places[0], axis=1).max() < 0.012:
        return AT_REST
    right, down = places[-1] - places[0]
    return DIRECTIONS[round(np.degrees(np.arctan2(-down, right)) / 45) % 8]


def true_speed(steps, pace):
    if steps.max() < 1e-6 or pace == "to and fro":
        return None
    standing = np.flatnonzero(steps < 0.05 * steps.max())
    if len(standing) and standing[0] > 0 and standing[-1] < len(steps) - 1:
        return SPEEDS[3]
    ratio = steps[-len(steps) // 3 :].mean() / steps[: len(steps) // 3].mean()
    return SPEEDS[0] if ratio > 1.3 else SPEEDS[1] if ratio < 1 / 1.3 else SPEEDS[2]


def true_following(world, picture):
    if np.linalg.norm(world - world[0], axis=1).max() < 0.012:
        return FOLLOWED[1]
    gone, seen = world[-1] - world[0], picture[-1] - picture[0]
    if 2 * np.linalg.norm(picture - picture.mean(axis=0), axis=1).max() < 0.3 * np.linalg.norm(gone):
        return FOLLOWED[0]
    cosine = gone @ seen / max(np.linalg.norm(gone) * np.linalg.norm(seen), 1e-9)
    return FOLLOWED[2] if cosine > 0.7 else FOLLOWED[3] if cosine < -0.7 else None


@pytest.mark.medium
@pytest.mark.parametrize("seeds", [range(25), pytest.param(range(25, 500), marks=pytest.mark.slow)], ids=["25", "475"])
def test_labels_of_random_scenes_are_right(seeds):
    right, named, facts, plain = Counter(), Counter(), Counter(), Counter()
    for seed in seeds:
        for fact, *truth in world_facts(seed):
            label = true_label(fact, *truth)
            facts[fact.kind] += 1
            named[fact.kind] += fact.label is not None
            right[fact.kind] += fact.label is not None and fact.label == label
            assert fact.label is None or fact.label in LABELS[fact.kind]
            plain[fact.kind, label, fact.label is not None] += 1
    assert set(facts) == set(LABELS)
    for kind, count in named.items():
        assert right[kind] >= 0.97 * count, (kind, right[kind], count)
    # What a person could name is named: nearly all that rests, and most directions (the rest lie between two).
    for kind, least in (("direction", 0.55), ("apparent_direction", 0.55), ("distance", 0.4), ("followed", 0.5)):
        assert named[kind] >= least * facts[kind], (kind, named[kind], facts[kind])
    assert plain["direction", AT_REST, False] <= 0.1 * plain["direction", AT_REST, True]


# Cases by hand.


@pytest.mark.parametrize(("number", "label"), list(enumerate(DIRECTIONS)))
def test_the_eight_directions_and_between_them_none(number, label):
    def end(degrees):
        return 96 + 60 * np.array([np.cos(np.radians(degrees)), -np.sin(np.radians(degrees))])

    found = facts_of(line((96, 96), end(45 * number)))
    assert found["direction"].label == found["apparent_direction"].label == label
    assert found["direction"].numbers["net_of_path"] > 0.95
    between = facts_of(line((96, 96), end(45 * number + 22.5)))
    assert between["direction"].label is None
    assert between["main_direction"].label == MAIN_DIRECTIONS[(number + 1) // 2 % 4]
    assert "main_direction" not in found


def test_a_camera_that_follows_an_object():
    """The camera turns right by 16 degrees after an object that stays in the middle of its picture."""
    turn = camera_of("turn_only", Rotation.from_euler("y", np.linspace(0, 16, FRAMES)[:, None], degrees=True))
    found = facts_of(np.full((FRAMES, 2), 96.0), camera=turn)
    assert found["direction"].label == "Moving Right"
    assert found["apparent_direction"].label == AT_REST
    assert found["followed"].label == "Followed by the Camera"
    assert found["direction"].numbers["right_side"] == pytest.approx(np.tan(np.radians(16)), abs=0.01)


def test_an_object_at_rest_that_a_turn_shifts():
    """The rays of a resting object go left in the picture of a camera that turns right, and keep their solid angle."""
    degrees = np.linspace(0, 38, FRAMES)
    columns = 96 + 120 * np.tan(np.radians(30 - degrees))
    radii = 12 / np.cos(np.radians(30 - degrees)) ** 1.5
    turn = camera_of("turn_only", Rotation.from_euler("y", degrees[:, None], degrees=True), focal=120)
    found = facts_of(np.column_stack([columns, np.full(FRAMES, 96.0)]), radii, turn)
    assert found["direction"].label == AT_REST and found["apparent_direction"].label == "Moving Left"
    assert found["followed"].label == "Shifted by the Camera Alone"
    assert found["distance"].label == "Keeping Its Distance" and found["speed"].label is None


@pytest.mark.parametrize(
    ("pace", "label"),
    [
        ("even", "Keeping Its Speed"),
        ("faster", "Speeding Up"),
        ("slower", "Slowing Down"),
        ("stopping", "Stopping and Going On"),
        ("to and fro", None),
    ],
)
def test_speed(pace, label):
    assert facts_of(line((30, 96), (160, 96), pace=pace))["speed"].label == label


def test_to_and_fro_is_two_directions():
    masks = [blob(place, 12) for place in line((40, 96), (150, 96), pace="to and fro")]
    facts = object_facts(track_of(masks), camera_of(), SECONDS, (SIDE, SIDE))
    labels = [(fact.label, fact.span) for fact in facts if fact.kind == "direction"]
    assert [label for label, _ in labels] == [None, "Moving Right", "Moving Left"]
    assert labels[1][1][1] == labels[2][1][0] == pytest.approx(1.44, abs=0.15)


def test_round_a_bend_are_two_directions():
    places = np.concatenate([line((30, 40), (120, 40), 12), line((125, 48), (125, 160), 12)])
    masks = [blob(place, 10) for place in places]
    facts = object_facts(track_of(masks), camera_of(), SECONDS, (SIDE, SIDE))
    labels = [(fact.label, fact.span) for fact in facts if fact.kind == "direction"]
    assert [label for label, _ in labels] == [None, "Moving Right", "Moving Down"]
    assert labels[1][1][1] <= labels[2][1][0] and 1.0 <= labels[2][1][0] <= 1.6


def test_what_is_as_much_sideways_as_upright_is_mainly_neither():
    numbers = {"right_side": 0.3, "up_side": 0.27, "extent_side": 0.1, "noise_side": 0.0, "net_of_path": 1.0}
    assert main_direction({**numbers, "angle_degrees": 42.0}) is None
    assert main_direction({**numbers, "angle_degrees": 30.0}) == "Mainly to the Right"
    assert main_direction({**numbers, "angle_degrees": 30.0, "net_of_path": 0.7}) is None


def test_a_path_goes_on_over_two_frames_without_a_sure_mask_but_not_over_three():
    masks = [blob(place, 12) for place in line((30, 96), (160, 96))]
    for gap, end in ((2, SECONDS[-1]), (3, SECONDS[11])):
        sure = np.ones(FRAMES, dtype=bool)
        sure[12 : 12 + gap] = False
        found = object_facts(track_of(masks, sure), camera_of(), SECONDS, (SIDE, SIDE))
        assert found[0].label == "Moving Right" and found[0].span[1] == end


def test_toward_and_away_need_more_than_noise():
    still = np.full((FRAMES, 2), 96.0)
    assert facts_of(still, np.linspace(15, 25, FRAMES))["distance"].label == "Moving Toward the Camera"
    assert facts_of(still, np.linspace(25, 15, FRAMES))["distance"].label == "Moving Away from the Camera"
    assert facts_of(still, np.linspace(20, 22.5, FRAMES))["distance"].label is None
    assert facts_of(still, 20.0)["distance"].label == "Keeping Its Distance"
    masks = [blob(place, radius) for place, radius in zip(still, np.linspace(15, 25, FRAMES), strict=True)]
    # The background seems to grow as well, or the mask wins an arm.
    for errors in ({"static_size": 0.2}, {"static_size": 0.01, "mask_size": 0.4}):
        noisy = ObjectTrack("ball", tuple(masks), np.ones(FRAMES, bool), errors=errors)
        facts = object_facts(noisy, camera_of(), SECONDS, (SIDE, SIDE))
        assert [fact.label for fact in facts if fact.kind == "distance"] == [None]


def test_what_is_not_known_has_no_fact():
    """Without poses, or with a moving camera and no depth, only what the picture shows can be said."""
    masks = [blob(place, 12) for place in line((40, 96), (150, 96))]
    for camera in (None, camera_of("up_to_scale")):
        facts = object_facts(track_of(masks), camera, SECONDS, (SIDE, SIDE))
        assert [(fact.kind, fact.label) for fact in facts] == [("apparent_direction", "Moving Right")]


def test_only_sure_and_whole_masks_count():
    places = line((-30, 96), (150, 96))  # it enters the picture
    masks = [blob(place, 12) for place in places]
    sure = np.arange(FRAMES) < 20
    facts = object_facts(track_of(masks, sure), camera_of(), SECONDS, (SIDE, SIDE))
    entered = SECONDS[np.argmax(places[:, 0] > 10)]
    assert facts[0].span == (pytest.approx(entered, abs=0.25), SECONDS[19])
    assert object_facts(track_of(masks, np.arange(FRAMES) > 20), camera_of(), SECONDS, (SIDE, SIDE)) == []


def test_every_fact_says_what_made_it():
    masks = [blob(place, 12) for place in line((40, 96), (150, 96))]
    for fact in object_facts(track_of(masks), camera_of(), SECONDS, (SIDE, SIDE)):
        assert fact.made_by == {"masks": "1"} and fact.numbers and all(np.isfinite(list(fact.numbers.values())))

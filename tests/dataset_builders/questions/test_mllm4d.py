"""MLLM-4D's seven kinds of question: each quantity by hand-made geometry, and options that betray nothing."""

from collections import Counter

import numpy as np
import pytest

from fourdthinker.dataset_builders.questions.mllm4d import (
    DIRECTIONS,
    KINDS,
    METRES,
    NEARER,
    SIDEWAYS,
    offer_labels,
    offer_metres,
    pick_two_frames,
    word_question,
)
from fourdthinker.dataset_builders.questions.motion import shuffle_options

TURN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # looks along the world's +x


def frames(camera=((0, 0, 0), (0, 0, 0)), object=((0, 0, 4), (0, 0, 4)), rotation=TURN, reach=0.5):
    """Two frames, the places given in the axes of the camera at the first; the object shows its near face."""
    poses = np.tile(np.eye(4), (2, 1, 1))
    origin = np.array([7.0, -3.0, 2.0])
    poses[:, :3, :3] = rotation
    poses[:, :3, 3] = origin + np.array(camera, float) @ rotation.T
    centres = origin + np.array(object, float) @ rotation.T
    # Two points each, of which the one nearer to the camera is `reach` before the centre.
    points = tuple(
        np.stack([centre, centre - reach * (centre - pose[:3, 3]) / np.linalg.norm(centre - pose[:3, 3])])
        for centre, pose in zip(centres, poses, strict=True)
    )
    return pick_two_frames(poses, centres, points, [0.5, 2.0], (0, 1))


def measured(kind, **geometry):
    return KINDS[kind].measure(frames(**geometry))


@pytest.mark.parametrize("rotation", [np.eye(3), TURN], ids=["plain", "turned"])
@pytest.mark.parametrize(
    ("shift", "label"),
    [
        ((0, 0, 1), "Forward"),
        ((0, 0, -1), "Backward"),
        ((1, 0, 0), "To the Right"),
        ((-1, 0, 0), "To the Left"),
        ((0, 1, 0), "Downward"),
        ((0, -1, 0), "Upward"),
        ((0.4, 0, 1), "Forward"),
        ((0.6, 0, 1), None),  # neither the one nor the other
        ((0, 0, 0.4), None),  # hardly any
    ],
)
def test_a_camera_that_moves_along_its_own_axis_is_named_by_it(shift, label, rotation):
    """MLLM-4D's printed formula, taken on world-to-camera poses, calls a step forward a step back."""
    assert measured("camera_direction", camera=((0, 0, 0), shift), rotation=rotation) == label


def test_distances_are_those_of_the_geometry():
    assert measured("camera_distance", camera=((0, 0, 0), (3, 0, 4))) == pytest.approx(5)
    assert measured("camera_distance", camera=((0, 0, 0), (0.3, 0, 0.3))) is None
    assert measured("object_distance", object=((0, 0, 4), (2, 1, 6))) == pytest.approx(3)
    assert measured("object_distance", object=((0, 0, 4), (0.2, 0, 4))) is None
    # Type 4 mixes the object at the end with the camera at the start, whatever the camera does meanwhile.
    moved = {"camera": ((0, 0, 0), (0, 0, -5)), "object": ((0, 0, 4), (0, 0, 6))}
    assert measured("object_camera_distance", **moved) == pytest.approx(5.5)


@pytest.mark.parametrize(
    ("kind", "geometry", "label"),
    [
        ("object_camera_change", {"object": ((0, 0, 4), (0, 0, 5))}, "Farther Away"),
        ("object_camera_change", {"object": ((0, 0, 4), (0, 0, 3))}, "Closer"),
        ("object_camera_change", {"object": ((0, 0, 4), (0, 0, 4.1))}, "Neither of Both"),
        ("object_camera_change", {"object": ((0, 0, 4), (0, 0, 4.25))}, None),
        # The camera follows faster than the object flees: nearer in each frame's own, farther along the first axis.
        ("object_camera_change", {"camera": ((0, 0, 0), (0, 0, 2)), "object": ((0, 0, 4), (0, 0, 5))}, "Closer"),
        (
            "object_camera_forward",
            {"camera": ((0, 0, 0), (0, 0, 2)), "object": ((0, 0, 4), (0, 0, 5))},
            "Farther Away",
        ),
        ("object_camera_forward", {"object": ((0, 0, 4), (2, 0, 3))}, "Closer"),
        ("object_camera_forward", {"object": ((0, 0, 4), (2, 0, 4))}, "Neither of Both"),
        ("object_camera_sideways", {"object": ((0, 0, 4), (1, 0, 5))}, "To the Right"),
        ("object_camera_sideways", {"object": ((0, 0, 4), (-1, 0, 5))}, "To the Left"),
        ("object_camera_sideways", {"object": ((0, 0, 4), (0, 1, 5))}, "Neither of Both"),
        ("object_camera_sideways", {"object": ((0, 0, 4), (0.3, 0, 4))}, None),
    ],
)
def test_changes_are_named_where_they_are_clear(kind, geometry, label):
    assert measured(kind, **geometry) == label


def ask(kind, name, known, answer, rng):
    options = offer_labels(answer, kind.labels, rng) if isinstance(answer, str) else offer_metres(answer, rng)
    return shuffle_options(word_question(kind, name, known.numbers, known.seconds), options, rng)


def draws(kind, answers, count):
    known = frames(camera=((0, 0, 0), (0, 0, 1)), object=((0, 0, 4), (1, 0, 5)))
    for number in range(count):
        rng = np.random.default_rng(number)
        answer = answers[number % len(answers)]
        yield answer, ask(KINDS[kind], "blue ball", known, answer, rng)


def test_distances_on_offer_give_nothing_away():
    places, letters = Counter(), Counter()
    for answer, question in draws("object_distance", [0.5, 1.37, 12.0], 1200):
        values = [float(option.removesuffix(" m")) for option in question["options"]]
        right = values["ABCD".index(question["answer"])]
        assert right == round(answer, 2)
        low_to_high = sorted(values)
        assert all(high >= 1.1 * low for low, high in zip(low_to_high, low_to_high[1:], strict=False))
        places[low_to_high.index(right)] += 1
        letters[question["answer"]] += 1
    for counts in (places, letters):
        assert all(abs(counts[key] - 300) < 60 for key in counts) and len(counts) == 4, counts


@pytest.mark.parametrize(
    ("kind", "labels", "offered"),
    [
        ("camera_direction", DIRECTIONS, 4),
        ("object_camera_change", NEARER, 3),
        ("object_camera_sideways", SIDEWAYS, 3),
    ],
)
def test_labels_on_offer_are_each_right_equally_often(kind, labels, offered):
    right_in = {}
    for answer, question in draws(kind, labels, 1800):
        assert question["options"]["ABCD".index(question["answer"])] == answer
        assert len(set(question["options"])) == offered
        right_in.setdefault(frozenset(question["options"]), Counter())[answer] += 1
    for options, counts in right_in.items():
        expected = counts.total() / len(options)
        assert set(counts) == options and all(abs(count - expected) < 0.25 * expected for count in counts.values())


def test_questions_name_frames_and_times():
    for kind in KINDS.values():
        answer = 1.0 if kind.labels == (METRES,) else kind.labels[0]
        question = ask(kind, "blue ball", frames(), answer, np.random.default_rng(0))
        assert "frame 0 (0.5 s)" in question["question"] and "frame 1 (2.0 s)" in question["question"]
        assert ("blue ball" in question["question"]) == any(kind.object)

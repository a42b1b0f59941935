"""DSR-Bench's kinds by hand-made geometry: signs, perspectives, steps, and what noise forbids to ask."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("pycocotools", reason="masks need the data extra")
from fourdthinker.dataset_builders.geometry.spatial_view import Accuracy, SpatialView, measure_surely  # noqa: E402
from fourdthinker.dataset_builders.questions.dsr import (  # noqa: E402
    CAMERA,
    KINDS,
    ask_dsr,
    count_steps,
    list_answers,
    write_steps,
)

AHEAD = (0.0, 0.0, 5.0)


def view(places=(AHEAD,), camera=((0, 0, 0),), turns=((0, 0, 0),), other=None, base=None):
    """A view in the first camera's axes: `base` puts all of it somewhere else in the world."""
    count = max(map(len, (places, camera, turns)))
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("xyz", np.radians(np.resize(turns, (count, 3)))).as_matrix()
    poses[:, :3, 3] = np.resize(camera, (count, 3))
    base = np.eye(4) if base is None else base
    put = {0: np.resize(places, (count, 3)), **({} if other is None else {1: np.resize(other, (count, 3))})}
    world = {number: centres @ base[:3, :3].T + base[:3, 3] for number, centres in put.items()}
    return SpatialView(np.arange(count), np.arange(count, dtype=float), base @ poses, world)


def steps(task, seen, number=0, other=CAMERA):
    found = KINDS[task].measure(seen, number, other)
    return None if found is None else write_steps(found)


BACK_AND_FORTH = [(0, 0, 4), (0, 0, 6), (0, 0, 4)]
SIDEWAYS = [(-1, 0, 5), (1, 0, 5), (1, 0, 5)]


@pytest.mark.parametrize(
    "base",
    [None, np.array([[0, 0, 1, 3], [1, 0, 0, -2], [0, 1, 0, 7], [0, 0, 0, 1.0]])],
    ids=["plain", "turned world"],
)
@pytest.mark.parametrize(
    ("task", "seen", "answer"),
    [
        ("rel_dis", {"places": BACK_AND_FORTH}, "(1) Becomes larger. (2) Becomes smaller."),
        ("rel_dis", {"places": [AHEAD] * 3}, "(1) Keeps nearly constant."),
        ("rel_dis", {"places": [(0, 0, 5), (0, 0, 5.6), (0, 0, 5.6)]}, None),  # 12 %: neither the one nor the other
        # The camera comes nearer: from where it was at first nothing has changed.
        ("rel_dis", {"camera": [(0, 0, 0), (0, 0, 2)], "places": [AHEAD] * 2}, "(1) Becomes smaller."),
        ("abs_dis", {"camera": [(0, 0, 0), (0, 0, 2)], "places": [AHEAD] * 2}, "(1) Keeps nearly constant."),
        ("abs_dir", {"places": SIDEWAYS}, "(1) Shifts to the right. (2) Keeps nearly constant."),
        ("abs_dir", {"places": [(0, 0, 5), (0, -1.5, 5)]}, "(1) Shifts up."),
        # The camera turns after it, and past it.
        ("rel_dir", {"places": SIDEWAYS[:2], "turns": [(0, 0, 0), (0, 40, 0)]}, "(1) Shifts to the left."),
        ("abs_dir", {"places": SIDEWAYS[:2], "turns": [(0, 0, 0), (0, 40, 0)]}, "(1) Shifts to the right."),
        ("abs_spd", {"places": [(0, 0, 5), (1, 0, 5), (3, 0, 5)]}, "(1) Becomes larger."),
        ("abs_spd", {"places": [(0, 0, 5), (1, 0, 5), (1, 0, 5)]}, "(1) Becomes smaller."),
        # A thing at rest before a camera that speeds up.
        ("rel_spd", {"places": [AHEAD] * 3, "camera": [(0, 0, 0), (1, 0, 0), (3, 0, 0)]}, "(1) Becomes larger."),
        (
            "abs_spd",
            {"places": [AHEAD] * 3, "camera": [(0, 0, 0), (1, 0, 0), (3, 0, 0)]},
            "(1) Keeps nearly constant.",
        ),
        ("abs_dir_pred", {"places": [(0, 0, 5), (1, 0, 5), (2, 0, 5)]}, "(1) To the right."),
        ("abs_dir_pred", {"places": [(0, 0, 5), (0, 0, 4), (0, 0, 3)]}, "(1) Toward the camera."),
        ("abs_dir_pred", {"places": [(0, 0, 5), (1, 0, 5), (0, 0, 5)]}, None),  # it turns round: nobody could foresee
        # Seen from a camera that overtakes it, it falls back.
        (
            "rel_dir_pred",
            {"places": [(0, 0, 5), (0.5, 0, 5), (1, 0, 5)], "camera": [(0, 0, 0), (2, 0, 0), (4, 0, 0)]},
            "(1) To the left.",
        ),
    ],
)
def test_steps_of_one_thing(task, seen, answer, base):
    assert steps(task, view(**seen, base=base)) == answer


@pytest.mark.parametrize(
    ("turn", "answer"),
    [
        ((0, 20, 0), "(1) Turns to the right."),
        ((0, -20, 0), "(1) Turns to the left."),
        ((20, 0, 0), "(1) Tilts up."),
        ((-20, 0, 0), "(1) Tilts down."),
        ((0, 0, 20), "(1) Rolls clockwise."),
        ((0, 0, -20), "(1) Rolls counterclockwise."),
        ((0, 1, 0), "(1) Keeps nearly constant."),
        ((15, 15, 0), None),
    ],
)
def test_the_camera_turns_about_each_axis(turn, answer):
    """With y down, turning about +x looks up and about +y right, as for the camera labels."""
    assert steps("abs_ori", view(places=[AHEAD] * 2, turns=[(0, 0, 0), turn]), CAMERA) == answer


@pytest.mark.parametrize("turn", [65, -70])
def test_turning_goes_on_past_half_a_turn(turn):
    turned = view(places=[AHEAD] * 4, turns=[(0, turn * number, 0) for number in range(4)])
    assert steps("abs_ori", turned, CAMERA) == f"(1) Turns to the {'right' if turn > 0 else 'left'}."


def test_an_object_that_passes_behind_the_camera_goes_on():
    behind = [(5 * np.sin(angle), 0, 5 * np.cos(angle)) for angle in np.radians([140, 160, 181, 201])]
    assert steps("abs_dir", view(places=behind)) == "(1) Shifts to the right."


def test_two_things_are_compared_in_the_order_of_the_question():
    seen = view(places=[(0, 0, 5), (2, 0, 5)], other=[(1, 0, 6), (1.2, 0, 6)])
    assert steps("abs_spd_comp", seen, 0, 1) == "(1) The former is faster."
    assert steps("abs_spd_comp", seen, 1, 0) == "(1) The latter is faster."
    assert steps("abs_spd_comp", seen, 1, CAMERA) == "(1) Nearly the same speed."
    assert steps("rel_dis", view(places=[(0, 0, 5), (2, 0, 5)], other=[(4, 0, 5)]), 0, 1) == "(1) Becomes smaller."


def test_noise_forbids_what_it_could_turn_round():
    seen = view(places=[(0, 0, 5), (0, 0, 6.2)])
    quiet, loud = (Accuracy(noise, pixel=0.002, scene_depth=5.0) for noise in (0.002, 0.1))

    def measure(noisy):
        return KINDS["rel_dis"].measure(noisy, 0, CAMERA)

    assert measure_surely(measure, seen, quiet) == ("Becomes larger",)
    assert measure_surely(measure, seen, loud) is None


def test_a_guessed_focal_length_forbids_distances_across_the_view_alone():
    seen = view(places=[(-1, 0, 5), (1, 0, 5)])
    vague = Accuracy(0.001, pixel=0.0, scene_depth=5.0, focal=0.2)
    rng = np.random.default_rng(0)
    moves = [np.diff(seen.with_noise(vague, rng).places[0], axis=0)[0] for _ in range(200)]
    assert np.std([move[0] for move in moves]) == pytest.approx(0.4, rel=0.3)
    assert measure_surely(lambda noisy: KINDS["abs_dir"].measure(noisy, 0, CAMERA), seen, vague) is not None


def test_words():
    assert write_steps(["Becomes larger", "Becomes larger", "Becomes smaller"]) == (
        "(1) Becomes larger. (2) Becomes smaller."
    )
    words = ask_dsr(KINDS["abs_dis"], "the dog", "the camera", 0.5, 3.0)
    assert words.startswith("Between 0.5 s and 3.0 s, from the perspective of the camera at 0.5 s, ")
    assert ask_dsr(KINDS["rel_dir_pred"], "the dog", "the camera", 0.5, 3.0).startswith("After 3.0 s, following")
    for task, kind in KINDS.items():
        offered = list_answers(kind, 2, np.random.default_rng(0))
        assert len(set(offered)) == len(offered) >= 9, task
        assert count_steps(offered[0]) == 2 and all(label in "".join(offered) for label in kind.labels)

"""Questions whose options betray nothing: counted over many seeds."""

from collections import Counter, defaultdict
from itertools import combinations

import numpy as np
import pytest

from fourdthinker.dataset_builders.geometry.camera_motion import CAMERA_LABELS, OPPOSITE
from fourdthinker.dataset_builders.geometry.object_motion import OBJECT_LABELS
from fourdthinker.dataset_builders.questions.motion import camera_question, object_question
from fourdthinker.modeling.errors import InputError

PAIRS = [pair for pair in combinations(CAMERA_LABELS, 2) if OPPOSITE[pair[0]] != pair[1]]
# 0.001 upper tail of chi-square by degrees of freedom: a fair draw passes with these fixed seeds, a cue does not.
CHI_SQUARE = {1: 10.83, 3: 16.27}


def camera_draws(repeats):
    for number, label in enumerate(CAMERA_LABELS * repeats):
        yield label, camera_question([label], 0.0, 3.5, np.random.default_rng(number))


def object_draws(repeats):
    for number, label in enumerate(OBJECT_LABELS * repeats):
        yield label, object_question("blue ball", label, 0.0, 3.5, np.random.default_rng(number))


def pair_draws(repeats):
    for number, labels in enumerate(PAIRS * repeats):
        yield " and ".join(labels), camera_question(labels, 0.0, 3.5, np.random.default_rng(number))


def assert_even(counts, classes):
    expected = sum(counts.values()) / classes
    statistic = sum((counts.get(key, 0) - expected) ** 2 / expected for key in counts)
    statistic += (classes - len(counts)) * expected
    assert statistic < CHI_SQUARE[classes - 1], counts


@pytest.mark.parametrize("draws", [camera_draws, object_draws, pair_draws])
def test_four_distinct_options_of_which_the_letter_names_the_right_one(draws):
    for right, question in draws(10):
        assert set(question) == {"question", "options", "answer"}
        assert len(question["options"]) == len(set(question["options"])) == 4
        assert question["options"]["ABCD".index(question["answer"])] == right
        assert all(type(option) is str for option in question["options"])
        assert not any(option in question["question"] for option in question["options"])


@pytest.mark.parametrize("draws", [camera_draws, object_draws, pair_draws])
def test_every_letter_is_right_equally_often(draws):
    assert_even(Counter(question["answer"] for _, question in draws(60)), 4)


@pytest.mark.parametrize(
    ("draws", "repeats", "sets"), [(camera_draws, 200, 15), (object_draws, 300, 5), (pair_draws, 20, 15)]
)
def test_of_any_four_options_each_is_right_equally_often(draws, repeats, sets):
    """No cue: who knows every question and how common each label is, but sees no video, has one chance in four."""
    right_ones = defaultdict(Counter)
    for right, question in draws(repeats):
        right_ones[frozenset(question["options"])][right] += 1
    assert len(right_ones) == sets
    for options, counts in right_ones.items():
        assert set(counts) == options  # no option that can only be wrong
        assert_even(counts, 4)


@pytest.mark.parametrize("draws", [camera_draws, object_draws])
def test_no_place_in_the_list_tells_which_option_is_right(draws):
    """Nor does an option's place, given which it is."""
    places = defaultdict(Counter)
    for right, question in draws(100):
        for place, option in enumerate(question["options"]):
            if option == right:
                places[option][place] += 1
    for counts in places.values():
        assert_even(counts, 4)


@pytest.mark.parametrize("draws", [camera_draws, object_draws])
def test_the_wording_tells_nothing(draws):
    wordings = defaultdict(Counter)
    for right, question in draws(100):
        wordings[right][question["question"]] += 1
    shapes = {frozenset(counts) for counts in wordings.values()}
    assert len(shapes) == 1 and len(next(iter(shapes))) == 3


def test_camera_options_are_both_ends_of_two_axes():
    for _, question in camera_draws(5):
        assert {OPPOSITE[option] for option in question["options"]} == set(question["options"])


def test_two_motions_are_named_in_one_option():
    question = camera_question(["Pan Left", "Dolly In"], 0.0, 2.0, np.random.default_rng(0))
    assert set(question["options"]) == {
        "Pan Left and Dolly In", "Pan Left and Dolly Out", "Pan Right and Dolly In", "Pan Right and Dolly Out"
    }  # fmt: skip


def test_the_question_names_its_object_and_its_seconds():
    question = object_question("green can", "Moving Left", 1.25, 4.0, np.random.default_rng(0))
    assert "green can" in question["question"] and "1.2 s" in question["question"] and "4.0 s" in question["question"]


def test_the_same_generator_asks_the_same():
    first, second = (camera_question(["Tilt Up"], 0.0, 1.0, np.random.default_rng(3)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "labels", [[], ["Stay"], ["pan left"], ["Pan Left", "Zoom"], ["Pan Left", "Pan Right"], ["Pan Left"] * 2,
               ["Pan Left", "Tilt Up", "Dolly In"]]
)  # fmt: skip
def test_camera_labels_that_make_no_question(labels):
    with pytest.raises(InputError, match="a camera question needs"):
        camera_question(labels, 0.0, 1.0, np.random.default_rng(0))


@pytest.mark.parametrize("label", ["Pan Left", "moving left", "", None])
def test_object_labels_that_make_no_question(label):
    with pytest.raises(InputError, match="an object question needs"):
        object_question("ball", label, 0.0, 1.0, np.random.default_rng(0))

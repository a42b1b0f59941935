"""Reasoning that follows from the facts, and the check that no response contradicts its key."""

import pytest

from fourdthinker.dataset_builders.questions.motion_reasoning import (
    camera_reasoning,
    describe_camera,
    describe_place,
    format_checked_response,
    object_reasoning,
)
from fourdthinker.modeling.errors import InputError

CAMERA = ["Pan Left", "Tilt Up", "Pan Right", "Tilt Down"]
OBJECT = ["Moving Left", "Staying in Place", "Moving Toward the Camera", "Moving Right"]
MARK = "<output_image>"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((0.1, 0.1, 8.0), "upper left near"),
        ((0.5, 0.5, 12.0), "central middle midway"),
        ((0.9, 0.67, 18.0), "lower right far"),
        ((0.34, 0.34, 10.4), "central middle near"),
    ],
)
def test_places(place, words):
    assert describe_place(*place) == words


def test_a_mark_for_each_time_and_the_answer_at_the_end():
    text = object_reasoning("blue ball", (0.0, 3.5), "left near", "right near", "Moving Right")
    assert text == (
        f"I picture the blue ball at 0.0 s {MARK} and at 3.5 s {MARK}. "
        "The blue ball goes from left near to right near. The blue ball is Moving Right."
    )
    scene = "The red can goes from left far to left far."
    assert (
        object_reasoning("blue ball", (0.0, 3.5), "left near", "right near", "Moving Right", scene)
        == f"{scene} {text}"
    )
    text = camera_reasoning(["Pan Left"], (0.0, 1.0, 2.0), ("red box", "left far", "right far"))
    assert text.count(MARK) == 3
    assert text.endswith(
        "The red box goes from left far to right far. The red box is Staying in Place. The camera motion is Pan Left."
    )
    assert (
        camera_reasoning(["Pan Left"], (0.0,))
        == f"I picture the scene at 0.0 s {MARK}. The camera motion is Pan Left."
    )
    reference = ("red box", "left far", "right far")
    assert camera_reasoning(["Pan Left"], (0.0,), reference, scene) == (
        f"{scene} {camera_reasoning(['Pan Left'], (0.0,), reference)}"
    )
    assert camera_reasoning(["Pan Left"], (0.0,), scene=scene) == f"{scene} {camera_reasoning(['Pan Left'], (0.0,))}"
    assert describe_camera([]) == "The camera stands still."


@pytest.mark.parametrize("letter", "ABCD")
def test_what_agrees_is_passed(letter):
    right = OBJECT["ABCD".index(letter)]
    reasoning = object_reasoning("blue ball", (0.0, 1.0), "left near", "left far", right)
    response = format_checked_response(reasoning, letter, OBJECT, 2)
    assert response == f"<think>{reasoning}</think><answer>{letter}. {right}</answer>"
    in_words = format_checked_response(reasoning, letter, OBJECT, 2, "text")
    assert in_words == f"<think>{reasoning}</think><answer>{right}</answer>"
    right = CAMERA["ABCD".index(letter)]
    reasoning = camera_reasoning([right], (0.0, 1.0), ("red box", "left far", "right far"))
    assert format_checked_response(reasoning, letter, CAMERA, 2).endswith(f"<answer>{letter}. {right}</answer>")


def test_a_scene_may_describe_other_motions_before_the_imagery():
    scene = "The red can goes from left far to left far. The red can is Moving Left."
    reasoning = object_reasoning("blue ball", (0.0, 1.0), "left near", "right near", "Moving Right", scene)
    assert format_checked_response(reasoning, "D", OBJECT, 2).endswith("<answer>D. Moving Right</answer>")


def test_two_motions_in_one_option_are_passed():
    options = ["Pan Left and Dolly In", "Pan Left and Dolly Out", "Pan Right and Dolly In", "Pan Right and Dolly Out"]
    reasoning = camera_reasoning(["Pan Right", "Dolly In"], (0.0,))
    assert format_checked_response(reasoning, "C", options, 1).endswith("<answer>C. Pan Right and Dolly In</answer>")


@pytest.mark.parametrize(
    ("reasoning", "letter"),
    [
        (f"I picture it {MARK}. The camera motion is Pan Right.", "A"),
        (f"I picture it {MARK}. It pans.", "A"),
        (f"The camera motion is Pan Left. I picture it {MARK}.", "A"),  # what comes last is no conclusion
        (f"The camera motion is Pan Left {MARK}", "A"),
        (f"I picture it {MARK}. It is not Pan Right but Pan Left.", "A"),  # names a wrong one
        (f"I picture it {MARK}. The camera motion is Dolly In and Pan Left.", "A"),
        (f"I picture it {MARK}. The camera motion is not Pan Left.", "A"),
        ("", "A"),
    ],
)
def test_what_contradicts_the_key_is_rejected(reasoning, letter):
    with pytest.raises(InputError):
        format_checked_response(reasoning, letter, CAMERA, reasoning.count(MARK))


@pytest.mark.parametrize("imagery", [0, 1, 3])
def test_another_number_of_marks_than_imagery_frames_is_rejected(imagery):
    reasoning = camera_reasoning(["Pan Left"], (0.0, 1.0))
    with pytest.raises(InputError, match=f"2 imagery marks for {imagery} imagery frames"):
        format_checked_response(reasoning, "A", CAMERA, imagery)


@pytest.mark.parametrize("letter", ["", "E", "a", "AB"])
def test_a_letter_of_no_option_is_rejected(letter):
    with pytest.raises(InputError, match="letter"):
        format_checked_response(camera_reasoning(["Pan Left"], ()), letter, CAMERA, 0)

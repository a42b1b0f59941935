"""Questions from records: the answer, the reasoning and the imagery follow from facts and masks."""

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="masks need the data extra")
from fourdthinker.dataset_builders.clip_record import ClipRecord, ObjectTrack, Window  # noqa: E402
from fourdthinker.dataset_builders.geometry.masks import encode_mask  # noqa: E402
from fourdthinker.dataset_builders.questions import clip_reasoning  # noqa: E402
from fourdthinker.dataset_builders.questions.claims import check_claims  # noqa: E402
from fourdthinker.dataset_builders.questions.clip_questions import (  # noqa: E402
    ask_about_clip,
    design_options,
    list_candidates,
)
from fourdthinker.dataset_builders.questions.clip_reasoning import explain_camera, say_shifts  # noqa: E402
from fourdthinker.dataset_builders.questions.clip_rows import show_frames  # noqa: E402
from fourdthinker.dataset_builders.questions.evidence import Change, compare, look_at, seen_size  # noqa: E402
from fourdthinker.dataset_builders.questions.object_questions import name_objects  # noqa: E402
from fourdthinker.modeling.errors import InputError  # noqa: E402
from fourdthinker.modeling.tokens import IMAGERY_MARK, OPTION_LETTERS  # noqa: E402

SIZE = (640, 360)
COUNT = 13


def follow(places, side=60, name="region at rest"):
    """A square whose upper left corner is at each place, `None` where it is not seen."""
    masks = []
    for place in places:
        mask = np.zeros(SIZE[::-1], bool)
        if place is not None:
            column, row = place
            mask[row : row + side, column : column + side] = True
        masks.append(encode_mask(mask) if mask.any() else None)
    return ObjectTrack(name, tuple(masks), np.array([mask is not None for mask in masks]))


def make_record(camera=(), objects=(), resting=(), movers=(), clip="walk-000"):
    seconds = tuple(np.linspace(0.0, 3.0, COUNT).tolist())
    facts = {"camera": list(camera), "objects": list(objects)}
    return ClipRecord(
        clip, "walk.mp4", None, Window(0, 0.0, 3.0, seconds), SIZE, None, list(movers), list(resting), facts
    )


def camera_fact(*parts, span=(0.0, 3.0)):
    return {"span": list(span), "parts": [list(part) for part in parts], "numbers": {"Pan Left": 20.0}}


def ask(record, seed=0, **shape):
    candidates = list_candidates(record.facts)
    counts: dict[str, Counter] = {}
    for candidate in candidates:
        counts.setdefault(candidate.kind, Counter())[candidate.answer] += 1
    return ask_about_clip(record, candidates, design_options(counts), seed=seed, **shape)


def right(question):
    return question["options"][OPTION_LETTERS.index(question["answer"])]


TO_THE_RIGHT = follow([(100 + 20 * number, 200) for number in range(COUNT)])


def test_a_camera_question_shows_a_resting_region_and_says_what_it_does():
    (question,) = ask(make_record([camera_fact(["Pan Left"])], resting=[TO_THE_RIGHT]))
    assert right(question) == "Pan Left" and len(set(question["options"])) == 4
    assert [one["frame"] for one in question["imagined"]] == [0, COUNT - 1]
    assert [one["mask"] for one in question["imagined"]] == [TO_THE_RIGHT.masks[0], TO_THE_RIGHT.masks[-1]]
    facts = json.loads(question["facts"])
    assert facts["imagery"] == "overlay" and facts["seconds"] == [0.0, 3.0]
    # 640 x 360 is seen as 588 x 336: the square's middle goes from (130, 230) by 240 pixels to the right.
    assert question["size"] == [588, 336] and facts["centres"] == [[119, 215], [340, 215]]
    response = question["response"]
    assert response.count(IMAGERY_MARK) == 2
    for said in ("0.0 s", "3.0 s", "(119, 215)", "(340, 215)", "[92, 187, 147, 243]", "221 pixels to the right"):
        assert said in response
    assert "the camera turned left" in response and response.endswith(
        f"<answer>{question['answer']}. Pan Left</answer>"
    )


def test_the_region_that_shows_the_motion_is_preferred():
    still = follow([(300, 100)] * COUNT)
    for regions in ([still, TO_THE_RIGHT], [TO_THE_RIGHT, still]):
        (question,) = ask(make_record([camera_fact(["Pan Left"])], resting=regions))
        assert question["imagined"][0]["mask"] == TO_THE_RIGHT.masks[0]


def test_a_region_that_leaves_the_picture_is_imagined_while_it_is_in_view():
    leaving = follow([(100 + 40 * number, 200) if number < 6 else None for number in range(COUNT)])
    (question,) = ask(make_record([camera_fact(["Pan Left"])], resting=[leaving]))
    assert [one["frame"] for one in question["imagined"]] == [0, 5] and {0, 5, 12} <= set(question["shown"])
    assert "3.0 s" in question["question"] and "at 1.2 s <output_image>" in question["response"]


def test_a_region_that_the_edge_of_the_picture_cuts_off_is_not_imagined():
    leaving = follow([(100, 200 + 10 * number) for number in range(COUNT)])  # 60 high, in a picture of 360
    (question,) = ask(make_record([camera_fact(["Tilt Up"])], resting=[leaving]))
    assert [one["frame"] for one in question["imagined"]] == [0, 9]


def test_the_plain_frame_stands_in_where_no_region_is_seen_for_long_and_the_row_says_so():
    lost = follow([(100, 200)] * 3 + [None] * (COUNT - 3))
    tiny = follow([(100, 200)] * COUNT, side=10)  # less than a thousandth of the picture
    (question,) = ask(make_record([camera_fact(["Pan Left"])], resting=[lost, tiny]))
    assert [one["mask"] for one in question["imagined"]] == [None, None]
    assert json.loads(question["facts"])["imagery"] == "plain frame"
    assert "as a whole" in question["response"]


def test_a_motion_that_turns_round_is_asked_as_first_and_then():
    places = [(100 + 40 * min(number, 12 - number), 200) for number in range(COUNT)]
    fact = camera_fact(["Pan Left"], ["Pan Right"], span=(0.0, 1.5, 3.0))
    (question,) = ask(make_record([fact], resting=[follow(places)]))
    assert (
        right(question) == "first Pan Left, then Pan Right" and "first Pan Right, then Pan Left" in question["options"]
    )
    assert [one["frame"] for one in question["imagined"]] == [0, 6, 12]
    assert "turned left, then" in question["response"] and "turned right" in question["response"]


def test_up_to_four_labels_stand_in_one_option():
    (question,) = ask(make_record([camera_fact(["Pan Left", "Tilt Up", "Roll Clockwise", "Dolly In"])]))
    assert right(question) == "Pan Left, Tilt Up, Roll Clockwise and Dolly In"
    assert len(set(question["options"])) == 4


def test_a_weaker_motion_that_is_there_too_is_no_wrong_answer():
    fact = camera_fact(["Pan Right"]) | {"numbers": {"Pan Right": 20.0, "Roll Clockwise": 4.7, "Tilt Up": 1.0}}
    offered = {option for seed in range(40) for option in ask(make_record([fact]), seed)[0]["options"]}
    assert "Roll Clockwise" not in offered and {"Roll Counterclockwise", "Tilt Up"} <= offered


def test_what_makes_up_an_arc_is_no_wrong_answer_beside_it():
    for seed in range(20):
        (question,) = ask(make_record([camera_fact(["Arc Left"])]), seed)
        assert len(set(question["options"])) == 4
        assert not any(option.startswith(("Pan", "Truck")) for option in question["options"])


DIRECTION = {
    "object": 0,
    "kind": "direction",
    "label": "Moving Right",
    "span": [0.0, 3.0],
    "numbers": {"right_side": 0.25, "up_side": 0.0},
}


def test_an_object_question_compensates_the_background():
    mover = follow([(300, 150)] * COUNT, name="brown dog")  # the camera follows it
    (question,) = ask(make_record(objects=[DIRECTION], movers=[mover]))
    assert right(question) == "Moving Right" and "the brown dog" in question["question"]
    assert len(question["imagined"]) == 3
    # A quarter of 588 pixels, against a background that goes the other way.
    assert "147 pixels to the left" in question["response"] and "147 pixels to the right" in question["response"]


def test_a_thing_that_shares_its_name_is_not_asked_about(caplog):
    movers = [follow([(x, 150)] * COUNT, name=name) for x, name in ((300, "brown dog"), (100, "Brown  dog"))]
    assert ask(make_record(objects=[DIRECTION], movers=movers)) == []
    assert "two objects are called 'brown dog'" in caplog.text
    unseen = [movers[0], follow([None] * COUNT, name="brown dog")]
    assert len(ask(make_record(objects=[DIRECTION], movers=unseen))) == 1


@pytest.mark.parametrize(
    ("before", "chosen", "found", "named"),
    [
        (["moving object", "object 2"], {0: "dog"}, {}, ["dog", "object 2"]),
        (
            ["moving object on the left", "moving object on the right"],
            {0: "dog"},
            {1: "Dog"},
            ["dog on the left", "Dog on the right"],
        ),
        (["object 1", "object 2"], {0: "dog"}, {1: "dog"}, ["dog", "object 2"]),
        (["object 1", "object 2"], {}, {0: "dog", 1: "dog"}, ["object 1", "object 2"]),
        (["object 1", "cat"], {}, {0: "cat"}, ["object 1", "cat"]),
    ],
)
def test_names_of_a_user_and_of_a_model_stay_apart(before, chosen, found, named):
    record = make_record(movers=[follow([(300, 150)] * COUNT, name=name) for name in before])
    assert [track.name for track in name_objects(record, chosen, found).objects] == named


def test_objects_that_are_not_seen_or_not_labelled_are_not_asked_about():
    hidden = follow([None] * COUNT, name="moving object")
    assert ask(make_record(objects=[DIRECTION], movers=[hidden])) == []
    assert list_candidates({"objects": [{**DIRECTION, "label": None}]}) == []


@pytest.mark.medium
def test_every_wording_passes_the_checker_and_letters_are_spread():
    letters, wordings = Counter(), set()
    for number in range(200):
        record = make_record([camera_fact(["Pan Left"])], resting=[TO_THE_RIGHT], clip=f"walk-{number:03d}")
        (question,) = ask(record)
        letters[question["answer"]] += 1
        wordings.add(re.sub(r"<.*", "", question["response"].removeprefix("<think>")))
    assert len(wordings) == len(clip_reasoning.WORDINGS) == 10
    assert sum((letters[letter] - 50) ** 2 / 50 for letter in "ABCD") < 16.3  # chi-squared, p = 0.001


SIGHTS = [look_at(TO_THE_RIGHT.masks[index], time, (588, 336)) for index, time in ((0, 0.0), (12, 3.0))]
TRUE = (
    "From 0.0 s to 3.0 s it is in the left part of the picture, at (119, 215), box [92, 187, 147, 243]. It goes "
    "221 pixels to the right, 0 pixels up, at 1.00 times its size, so the camera turned left."
)


def test_true_claims_pass():
    check_claims(TRUE, SIGHTS, [0.0, 3.0], ["Pan Left"])


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("3.0 s", "2.9 s"),
        ("left part", "upper left part"),
        ("(119, 215)", "(120, 215)"),
        ("[92, 187, 147, 243]", "[92, 187, 147, 244]"),
        ("221 pixels to the right", "221 pixels to the left"),
        ("221 pixels to the right", "212 pixels to the right"),
        ("1.00 times", "1.20 times"),
        ("turned left", "turned right"),
        ("turned left", "came nearer"),
        ("at 1.00 times its size", "7 steps further"),
    ],
)
def test_a_false_claim_is_found(true, false):
    with pytest.raises(InputError, match="the reasoning"):
        check_claims(TRUE.replace(true, false), SIGHTS, [0.0, 3.0], ["Pan Left"])


def test_places_are_measured_in_the_pixels_that_the_model_sees():
    assert seen_size((1920, 1080), 28) == (588, 336) and seen_size((1920, 1080), 32) == (576, 320)
    assert seen_size((64, 48), 28) == (56, 56) and seen_size((20, 9), 28) == (28, 28)
    for width, height in ((1920, 1080), (368, 480), (854, 480), (449, 449), (5, 4000)):
        for token in (28, 32):
            seen = seen_size((width, height), token)
            assert seen[0] % token == seen[1] % token == 0 and seen[0] * seen[1] <= 256 * 28 * 28


def test_shifts_are_said_without_what_does_not_change():
    assert say_shifts(-12, 1) == "12 pixels to the left and 1 pixel down"
    assert (say_shifts(0, -3), say_shifts(2, 0), say_shifts(0, 0)) == (
        "3 pixels up",
        "2 pixels to the right",
        "nowhere",
    )
    still = Change(right=0, down=0, growth=1.0, clockwise=0.0)
    assert explain_camera(["Stay"], still, SIZE) == "its unchanged place shows that the camera stands still"
    rolled = explain_camera(["Roll Clockwise"], replace(still, clockwise=-12.0), SIZE)
    assert rolled == (
        "its turn of 12 degrees counterclockwise about the middle of the picture "
        "shows that the camera rolled clockwise"
    )


def test_growth_and_turn_are_measured():
    before = look_at(follow([(480, 150)], side=40).masks[0], 0.0, SIZE)
    after = look_at(follow([(280, 280)], side=80).masks[0], 1.0, SIZE)
    (change,) = compare([before, after])
    assert change.growth == 2.0 and 80 < change.clockwise < 100  # from the right of the middle to below it


def test_frames_that_the_text_names_are_shown():
    assert show_frames(24, 8, [0, 23]) == [0, 3, 7, 10, 13, 16, 20, 23]
    assert show_frames(24, 8, [4, 9]) == [0, 4, 7, 9, 13, 16, 20, 23]
    assert show_frames(5, 8, [1]) == [0, 1, 2, 3, 4]

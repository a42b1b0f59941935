"""Questions about the future of a clip with masks alone: answered by later frames, which the row does not show."""

import json
from dataclasses import replace

import numpy as np
import pytest

for needed in ("pycocotools", "cv2"):
    pytest.importorskip(needed, reason="needs the extra `data`")
from PIL import Image  # noqa: E402

from fourdthinker.dataset_builders.clip_record import CameraPoses, ClipRecord, ObjectTrack, Window  # noqa: E402
from fourdthinker.dataset_builders.geometry.masks import encode_mask  # noqa: E402
from fourdthinker.dataset_builders.geometry.object_places import ObjectPlaces  # noqa: E402
from fourdthinker.dataset_builders.pipeline.rows import make_rows  # noqa: E402
from fourdthinker.dataset_builders.questions.clip_questions import (  # noqa: E402
    ask_about_clip,
    design_options,
    list_candidates,
)
from fourdthinker.dataset_builders.questions.future_facts import FutureView, future_facts  # noqa: E402
from fourdthinker.modeling.clip import Clip  # noqa: E402
from fourdthinker.modeling.errors import InputError  # noqa: E402

SIZE, FRAMES, RATE = (280, 196), 36, 10


def draw_track(name, start, step, side=24.0, growth=0.0, until=FRAMES):
    """A square from a place, by a step and a growth in pixels a frame, that is seen until a frame."""
    masks = []
    for frame in range(FRAMES):
        mask, half = np.zeros(SIZE[::-1], bool), (side + growth * frame) / 2
        column, row = np.array(start) + frame * np.array(step)
        box = [max(0, round(value)) for value in (row - half, row + half, column - half, column + half)]
        mask[box[0] : box[1], box[2] : box[3]] = True
        masks.append(encode_mask(mask) if frame < until else None)
    return ObjectTrack(name, tuple(masks), np.arange(FRAMES) < until)


def record_of(*tracks):
    times = tuple(frame / RATE for frame in range(FRAMES))
    record = ClipRecord("walk-000", "walk.mp4", None, Window(0, 0.0, times[-1], times), SIZE, objects=list(tracks))
    record.facts = {"future": future_facts(record)}
    return record


def answers(*tracks):
    return {fact["task"]: fact["answer"] for fact in record_of(*tracks).facts["future"]}


def ask(record):
    candidates = list_candidates(record.facts, ["future"])
    counts = {one.kind: {one.answer: 1} for one in candidates}
    return ask_about_clip(record, candidates, design_options(counts))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ((2, 0), "Shifted Right"),
        ((-2, 0), "Shifted Left"),
        ((0, -1.4), "Shifted Up"),
        ((1.4, 1.4), "Shifted to the Lower Right"),
        ((0, 0), "In the Same Place"),
    ],
)
def test_the_place_is_that_of_the_later_mask(step, said):
    start = np.array([140, 98]) - 20 * np.array(step)
    assert answers(draw_track("dog", start, step))["future_place"] == said


def test_what_leaves_or_could_not_have_gone_back_is_not_asked():
    assert answers(draw_track("dog", (60, 98), (3, 0), until=22)) == {}
    # At the upper edge it could not have gone up.
    assert "future_place" in answers(draw_track("dog", (100, 60), (2, 0)))
    assert "future_place" not in answers(draw_track("dog", (100, 14), (2, 0)))


def test_size_tells_the_distance_where_depth_is_unknown():
    assert answers(draw_track("dog", (140, 98), (0, 0), 20, 0.6))["future_distance"] == "Nearer to the Camera"
    assert answers(draw_track("dog", (140, 98), (0, 0), 60, -0.8))["future_distance"] == "Farther from the Camera"
    assert answers(draw_track("dog", (140, 98), (0, 0)))["future_distance"] == "About as Far as Before"


def test_two_objects_meet_or_do_not():
    resting = draw_track("cat", (200, 98), (0, 0))
    meeting = draw_track("dog", (77, 98), (2.85, 0))
    assert answers(meeting, resting)["future_meet"] == "They Will Meet"
    closer = draw_track("dog", (60, 98), (1.9, 0))
    assert answers(closer, resting)["future_meet"] == "They Will Come Closer without Meeting"
    apart = draw_track("dog", (150, 98), (-2.5, 0))
    assert answers(apart, resting)["future_meet"] == "They Will Move Apart"
    assert answers(draw_track("dog", (90, 98), (0, 0)), resting)["future_meet"] == "They Will Keep Their Distance"
    assert "future_nearer" not in answers(meeting, resting)  # it takes depth


@pytest.mark.medium
def test_objects_that_are_not_seen_all_the_time_may_have_touched():
    def hide(track, *frames):
        masks = tuple(None if number in frames else mask for number, mask in enumerate(track.masks))
        return replace(track, masks=masks)

    resting, closer = draw_track("cat", (200, 98), (0, 0)), draw_track("dog", (60, 98), (1.9, 0))
    hidden = [frame for frame in range(FRAMES) if "future_meet" not in answers(hide(closer, frame), resting)]
    assert len(hidden) > 10 and hidden[-1] == FRAMES - 1
    meeting = draw_track("dog", (77, 98), (2.85, 0))
    assert answers(hide(meeting, FRAMES - 3), resting)["future_meet"] == "They Will Meet"


def test_distances_of_one_kind_alone_are_compared():
    tracks = [replace(draw_track(name, (90, 98), (0, 0)), depths=np.full(FRAMES, 4.0)) for name in ("dog", "cat")]
    view = FutureView(record_of(*tracks))
    assert view.distances((0, 1), (3, 9)) == [[4.0, 4.0], [4.0, 4.0]]
    # The camera's distance is known of the dog alone: off the camera's axis it is more than its depth.
    camera = CameraPoses("metric", np.tile(np.eye(4), (FRAMES, 1, 1)), np.eye(3))
    view = FutureView(replace(view.record, camera=camera))
    centres = np.tile([3.0, 0.0, 4.0], (FRAMES, 1))
    view.__dict__["_places"] = {0: ObjectPlaces(centres, (None,) * FRAMES, np.ones(FRAMES))}
    assert view.distances((0, 1), (3, 9)) == [[4.0, 4.0], [4.0, 4.0]] and view.distances((0,), (3,)) == [[5.0]]
    view.record.objects[1].depths[9] = np.nan
    assert view.distances((0, 1), (3, 9)) is None


def test_nearer_is_asked_where_depth_is_known():
    far = np.linspace(8, 8, FRAMES)
    coming = replace(draw_track("dog", (90, 98), (0, 0)), depths=np.linspace(12, 4, FRAMES))
    record = record_of(coming, replace(draw_track("cat", (200, 98), (0, 0)), depths=far))
    (asked,) = [question for question in ask(record) if question["task"] == "future_nearer"]
    assert asked["options"]["ABCD".index(asked["answer"])] == "The dog" and set(asked["options"]) == {
        "The dog",
        "The cat",
    }


def test_the_row_shows_nothing_after_the_cut():
    record = record_of(draw_track("dog", (100, 98), (2, 0)), draw_track("cat", (60, 40), (0, 0)))
    noise = np.random.default_rng(0)
    frames = [Image.fromarray(noise.integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8)) for _ in range(FRAMES)]
    questions = ask(record)
    assert {question["task"] for question in questions} == {"future_place", "future_distance", "future_meet"}
    for question, row in zip(
        questions, make_rows(Clip(frames, list(record.window.timestamps)), questions), strict=True
    ):
        cut, until = json.loads(row["facts"])["seconds"]
        assert len(row["frames"]) == 8 and row["timestamps"][-1] == cut
        assert cut < row["imagery_timestamps"][0] < row["imagery_timestamps"][-1] == until
        assert {frame["bytes"] for frame in row["frames"]}.isdisjoint(frame["bytes"] for frame in row["imagery"])
        assert question["shown"][-1] < min(one["frame"] for one in question["imagined"])
        assert f"{until:.1f} s" in row["question"]
    one = next(question for question in questions if question["task"] == "future_meet")["imagined"][-1]
    painted = record.objects[0].masks[one["frame"]], record.objects[1].masks[one["frame"]]
    assert one["mask"]["counts"] not in [mask["counts"] for mask in painted]  # both objects, not either of them


def test_reasoning_is_checked_against_the_later_masks():
    (question,) = [
        one for one in ask(record_of(draw_track("dog", (100, 98), (2, 0)))) if one["task"] == "future_place"
    ]
    draft = question["draft"]
    assert "pixels to the right" in draft.reasoning and draft.respond(draft.reasoning) == question["response"]
    for true, false in (
        ("to the right", "to the left"),
        ("pixels", "0 pixels"),
        ("At 1.", "At 9."),
        ("At 2.", "At 9."),
    ):
        if true in draft.reasoning:
            with pytest.raises(InputError):
                draft.respond(draft.reasoning.replace(true, false))


def test_other_families_do_not_ask_it():
    record = record_of(draw_track("dog", (100, 98), (2, 0)))
    assert list_candidates(record.facts, ["camera", "object", "mllm4d", "dsr"]) == []

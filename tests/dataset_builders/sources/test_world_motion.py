"""Rows of the rendered world: balanced, true to their facts, apart by split, and the same however they are made."""

import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="needs the extra `world`")

from fourdthinker.dataset_builders.geometry.camera_motion import CAMERA_LABELS
from fourdthinker.dataset_builders.geometry.object_motion import OBJECT_LABELS, object_label
from fourdthinker.dataset_builders.imagery import paint_object
from fourdthinker.dataset_builders.sources.world_motion import SEED_RANGES, world_rows
from fourdthinker.dataset_builders.world import World
from fourdthinker.modeling.errors import InputError

PER_TASK = 12


def right_option(row) -> str:
    return row["options"]["ABCD".index(row["answer"])]


def clip_seed(row) -> int:
    return int(row["id"].split("-")[1])


def plain(row) -> dict:
    """A row with its pictures as bytes."""
    images = {name: [image.tobytes() for image in row[name]] for name in ("frames", "imagery")}
    return {**row, **images}


@pytest.fixture(scope="module")
def rows():
    return list(world_rows("train", PER_TASK))


def of_task(rows, task):
    return [row for row in rows if row["task"] == task]


@pytest.mark.medium
def test_answers_are_spread_evenly(rows):
    camera = Counter(map(right_option, of_task(rows, "camera_motion")))
    assert camera == dict.fromkeys(CAMERA_LABELS, 1)
    moved = Counter(map(right_option, of_task(rows, "object_motion")))
    assert set(moved) == set(OBJECT_LABELS) and set(moved.values()) == {2, 3}
    assert moved.total() == PER_TASK and len(rows) == 2 * PER_TASK
    assert len({row["id"] for row in rows}) == len(rows)


@pytest.mark.medium
def test_facts_give_the_answer(rows):
    for row in of_task(rows, "object_motion"):
        facts = json.loads(row["facts"])
        assert object_label((facts["metres_right"], 0, facts["metres_forward"])) == right_option(row)
        assert facts["object"] in row["question"]
    for row in of_task(rows, "camera_motion"):
        degrees = json.loads(row["facts"])["camera_degrees"]
        assert max(degrees, key=degrees.get) == right_option(row)


@pytest.mark.medium
def test_the_response_concludes_with_the_answer_and_has_a_mark_for_each_imagery_frame(rows):
    for row in rows:
        assert row["response"].endswith(f"<answer>{row['answer']}. {right_option(row)}</answer>")
        assert row["response"].count("<output_image>") == len(row["imagery"]) == len(row["imagery_timestamps"]) == 2
        assert row["imagery_timestamps"] == [row["timestamps"][0], row["timestamps"][-1]]
        assert len(row["frames"]) == len(row["timestamps"]) == 8


@pytest.mark.medium
def test_the_object_in_question_is_described_last_before_it_is_pictured(rows):
    for row in of_task(rows, "object_motion"):
        scene, pictured = (
            row["response"].removeprefix("<think>").split(f"I picture the {json.loads(row['facts'])['object']}")
        )
        *_, places, camera = scene.strip().removesuffix(".").split(". ")
        assert camera.startswith("The camera") and f"{places}. " in pictured


@pytest.mark.slow
def test_answers_in_words_are_the_same_rows_without_the_letter(rows):
    worded = list(world_rows("train", PER_TASK, answer_form="text"))
    assert len(worded) == len(rows)
    for row, other in zip(rows, worded, strict=True):
        with_letter = other["response"].replace("<answer>", f"<answer>{row['answer']}. ")
        assert plain({**other, "response": with_letter}) == plain(row)


@pytest.mark.medium
def test_imagery_is_the_frame_with_the_object_in_question_in_red(rows):
    with World() as world:
        for row in rows[::6]:
            facts = json.loads(row["facts"])
            clip = world.clip(clip_seed(row))
            np.testing.assert_array_equal(np.asarray(row["frames"][-1]), clip.rgb[-1])
            name = facts.get("object") or facts["reference"]
            mask = clip.masks[0] == clip.names.index(name) if name else None
            expected = clip.rgb[0] if mask is None else paint_object(clip.rgb[0], mask)
            np.testing.assert_array_equal(np.asarray(row["imagery"][0]), np.asarray(expected))
            assert mask is None or mask.any()


@pytest.mark.medium
def test_camera_questions_picture_an_object_that_rests_or_the_scene(rows):
    pictured = Counter()
    for row in of_task(rows, "camera_motion"):
        reference = json.loads(row["facts"])["reference"]
        pictured[reference is not None] += 1
        assert f"I picture the {reference or 'scene'} at" in row["response"]
        assert reference is None or f"The {reference} is Staying in Place" in row["response"]
    assert pictured[True] and pictured[False], pictured


@pytest.mark.medium
def test_the_same_seed_gives_the_same_rows(rows):
    again = islice(world_rows("train", PER_TASK), 6)
    assert [plain(row) for row in again] == [plain(row) for row in rows[:6]]


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(rows):
    assert [plain(row) for row in world_rows("train", PER_TASK, workers=2)] == [plain(row) for row in rows]


@pytest.mark.slow
def test_splits_and_seeds_share_no_clip(rows):
    seeds = {
        name: {clip_seed(row) for row in world_rows(split, 2, seed)}
        for name, split, seed in (("other train", "train", 1), ("last train", "train", 2**16 - 1), ("test", "test", 0))
    }
    seeds["train"] = {clip_seed(row) for row in rows}
    assert sum(map(len, seeds.values())) == len(set().union(*seeds.values()))
    assert max(seeds["last train"]) < SEED_RANGES["test"] <= min(seeds["test"])
    assert max(seeds["test"]) < SEED_RANGES["pretrain"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("validation", 2), "'validation'"),
        (("train", 2, 2**16), "65536"),  # its clips would be those of the test split
        (("train", 2, -1), "-1"),
        (("train", -3), "-3"),
    ],
)
def test_what_there_cannot_be_is_rejected(arguments, words):
    with pytest.raises(InputError, match=words):
        next(world_rows(*arguments))


def test_no_questions_are_no_rows():
    assert list(world_rows("train", 0)) == []

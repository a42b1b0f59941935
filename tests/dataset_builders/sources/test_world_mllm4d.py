"""MLLM-4D's rows of the rendered world: balanced, true to the clip, apart by stage, and paid in full by its reward."""

import json
import re
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="needs the extra `world`")

from fourdthinker.dataset_builders.questions.mllm4d import KINDS
from fourdthinker.dataset_builders.sources.world_mllm4d import SLOWEST, STAGES, mllm4d_rows
from fourdthinker.dataset_builders.world import World
from fourdthinker.dataset_builders.world.facts import visible_points
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers.rewards.answer_rewards import format_reward, spatiotemporal_reward

PER_KIND = 6


@pytest.fixture(scope="module")
def rows():
    return {stage: list(mllm4d_rows("train", PER_KIND, stage)) for stage in STAGES}


def right_option(row) -> str:
    return row["options"]["ABCD".index(row["answer"])]


def clip_seed(row) -> int:
    return int(row["id"].split("-")[1])


@pytest.mark.slow
def test_kinds_and_labels_are_spread_evenly(rows):
    for of_stage in rows.values():
        assert Counter(row["task"] for row in of_stage) == dict.fromkeys(KINDS, PER_KIND)
        for task, kind in KINDS.items():
            if len(kind.labels) > 1:
                counts = Counter(right_option(row) for row in of_stage if row["task"] == task)
                assert counts == dict.fromkeys(kind.labels, PER_KIND // len(kind.labels))


@pytest.mark.slow
def test_stages_share_no_clip_and_no_row_of_the_test(rows):
    seeds = [{clip_seed(row) for row in of_stage} for of_stage in rows.values()]
    seeds += [
        {clip_seed(row) for row in mllm4d_rows(*where)} for where in (("train", 1, "sft", 1), ("test", 1, "sft"))
    ]
    assert sum(map(len, seeds)) == len(set().union(*seeds))
    test = [[row["id"] for row in mllm4d_rows("test", 1, stage)] for stage in STAGES]
    assert test[0] == test[1] == test[2]


@pytest.mark.medium
def test_the_reward_pays_the_reasoning_in_full(rows):
    """The blocks are read back, with the true centres in the true frames, and say null where none is asked for."""
    cold = rows["cold_start"]
    columns = {name: [row[name] for row in cold] for name in ("answer", "options", "camera_centers", "object_centers")}
    rewards = spatiotemporal_reward([row["response"] for row in cold], **columns)
    # Centres are said to the centimetre.
    assert min(rewards) > 1 - 0.2 * 0.01 and max(rewards) <= 1
    for row in cold:
        frames = json.loads(row["facts"])["frames"]
        assert [int(number) for number in re.findall(r"Spatial State \(Frame (\d+)\)", row["response"])] == frames
        assert [f"\n{step}. " in row["response"] for step in range(2, 6)] == [True] * 4
        assert "<output_image>" not in row["response"] and row["imagery"] == [] and "-0.00" not in row["response"]


@pytest.mark.medium
def test_centres_are_those_of_the_clip_seen_from_its_start_frame(rows):
    with World(slowest=SLOWEST) as world:
        for row in rows["grpo"][::3]:
            clip, facts = world.clip(clip_seed(row)), json.loads(row["facts"])
            kind, (first, last) = KINDS[row["task"]], facts["frames"]
            assert last - first == len(row["frames"]) - 2
            to_start = np.linalg.inv(clip.camera_to_world[first])
            for place, number in enumerate((first, last)):
                camera = to_start @ clip.camera_to_world[number][:, 3]
                known = row["camera_centers"][place]
                assert (known is not None) == kind.camera[place]
                assert known is None or np.abs(camera[:3] - known).max() < 1e-3
                known = row["object_centers"][place]
                assert (known is not None) == kind.object[place]
                if known is not None:
                    centre = clip.centres[number, clip.names.index(facts["object"])]
                    assert np.abs((to_start @ [*centre, 1])[:3] - known).max() < 1e-3


def test_visible_points_lie_on_the_object():
    with World() as world:
        clip = world.clip(3)
    shown = [index for index in range(len(clip.names)) if (clip.masks[0] == index).sum() >= 8]
    assert len(shown) >= 3
    for index in shown:
        away = np.linalg.norm(visible_points(clip, 0, index) - clip.centres[0, index], axis=1)
        assert away.max() < 3.2 and away.mean() > 0.4, "on its surface, no farther than the corner of a box"


@pytest.mark.medium
def test_short_answers_are_nothing_else(rows):
    for row in rows["sft"]:
        assert row["response"] == f"<answer>{row['answer']}. {right_option(row)}</answer>"
    worded = next(mllm4d_rows("train", 1, "sft", answer_form="text"))
    assert worded["response"] == f"<answer>{right_option(worded)}</answer>"
    assert format_reward([rows["cold_start"][0]["response"], rows["sft"][0]["response"]]) == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "words"), [(("train", 2, "rl"), "'rl'"), (("train", -1, "sft"), "-1"), (("dev", 1, "sft"), "'dev'")]
)
def test_what_there_cannot_be_is_rejected(arguments, words):
    with pytest.raises(InputError, match=words):
        next(mllm4d_rows(*arguments))

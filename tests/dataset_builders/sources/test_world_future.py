"""Rendered rows about the future: true to their scenes, nothing after the cut in the prompt, and usable everywhere."""

import json
from collections import Counter

import numpy as np
import pytest

for needed in ("pybullet", "pycocotools", "cv2"):
    pytest.importorskip(needed, reason="needs the extras `data` and `world`")
from datasets import load_dataset  # noqa: E402

from fourdthinker.cli.main import main  # noqa: E402
from fourdthinker.dataset_builders.fourd_cot import FourDCoT, write_dataset  # noqa: E402
from fourdthinker.dataset_builders.imagery import paint_object  # noqa: E402
from fourdthinker.dataset_builders.schema import DIFT_FEATURES  # noqa: E402
from fourdthinker.dataset_builders.sources.world_future import FutureWorld, future_questions, future_rows  # noqa: E402
from fourdthinker.dataset_builders.world.future_scenes import (  # noqa: E402
    FPS,
    SHOWN_FRAMES,
    TASKS,
    draw_future_scene,
)
from fourdthinker.dataset_builders.world.scene import project  # noqa: E402
from fourdthinker.modeling.processing import decode_image  # noqa: E402
from fourdthinker.modeling.tokens import IMAGERY_MARK  # noqa: E402

PER_TASK = 4
NEARER = "future_nearer"


def right_option(row) -> str:
    return row["options"]["ABCD".index(row["answer"])]


def clip_seed(row) -> int:
    return int(row["id"].split("-")[1])


@pytest.fixture(scope="module")
def rows():
    return list(future_rows("train", PER_TASK))


@pytest.mark.medium
def test_answers_are_spread_evenly(rows):
    for task, labels in TASKS.items():
        found = [json.loads(row["facts"])["label"] for row in rows if row["task"] == task]
        assert len(found) == PER_TASK and set(found) <= set(labels)
        assert all(set(row) == set(DIFT_FEATURES) for row in rows)
        if task != NEARER:  # whose scenes are drawn by another order than that at the cut
            assert max(Counter(found).values()) <= -(-PER_TASK // len(labels))


@pytest.mark.medium
def test_answers_follow_from_the_scene(rows):
    """The answer again, from the objects' true paths and a pinhole camera alone."""
    for row in rows:
        facts, scene = json.loads(row["facts"]), draw_future_scene(clip_seed(row), row["task"])[0]
        paths = {item.name: item.path for item in scene.objects}
        until = round(facts["seconds"][1] * FPS)
        camera = scene.camera_to_world[0]
        things = [paths[facts[role]] for role in ("object", "other") if role in facts]
        assert all(facts[role] in row["question"] for role in ("object", "other") if role in facts)
        before, after = ([path[frame] for path in things] for frame in (SHOWN_FRAMES - 1, until))
        far = [[np.linalg.norm(place - camera[:3, 3]) for place in moment] for moment in (before, after)]
        if row["task"] == "future_place":
            seen = [camera[:3, :3].T @ (moment[0] - camera[:3, 3]) for moment in (before, after)]
            right, down = seen[1][:2] / seen[1][2] - seen[0][:2] / seen[0][2]
            named = {"Right": right, "Left": -right, "Down": down, "Up": -down}
            assert right_option(row) == f"Shifted {max(named, key=named.get)}"
        elif row["task"] == "future_distance":
            ratio = far[1][0] / far[0][0]
            said = "Nearer to the Camera" if ratio < 0.9 else "Farther from the Camera" if ratio > 1.1 else None
            assert right_option(row) == (said or "About as Far as Before")
        elif row["task"] == NEARER:
            nearest = facts[("object", "other")[int(np.argmin(far[1]))]]
            assert right_option(row) == f"The {nearest}"
        else:
            gaps = [np.linalg.norm(moment[0] - moment[1]) for moment in (before, after)]
            sizes = [item.size for item in scene.objects if item.name in (facts["object"], facts["other"])]
            met = gaps[1] <= 1.06 * sum(sizes)
            said = "Come Closer without Meeting" if gaps[1] < 0.8 * gaps[0] else "Keep Their Distance"
            said = "Move Apart" if gaps[1] > 1.25 * gaps[0] else said
            assert right_option(row) == f"They Will {'Meet' if met else said}"


@pytest.mark.medium
def test_the_prompt_ends_where_the_imagery_begins(rows):
    with FutureWorld() as world:
        for row in rows[:8]:
            clip = world.clip(clip_seed(row)).clip
            facts = json.loads(row["facts"])
            shown = [np.asarray(decode_image(frame)) for frame in row["frames"]]
            assert row["timestamps"] == clip.timestamps[:SHOWN_FRAMES]
            assert row["timestamps"][-1] == facts["seconds"][0] < min(row["imagery_timestamps"])
            assert row["imagery_timestamps"][-1] == facts["seconds"][1]
            np.testing.assert_array_equal(shown, clip.rgb[:SHOWN_FRAMES])
            names = [facts[role] for role in ("object", "other") if role in facts]
            for second, picture in zip(row["imagery_timestamps"], row["imagery"], strict=True):
                frame = round(second * FPS)
                mask = np.isin(clip.masks[frame], [clip.names.index(name) for name in names])
                painted = np.asarray(paint_object(clip.rgb[frame], mask))
                np.testing.assert_array_equal(np.asarray(decode_image(picture)), painted)
                assert not any(np.array_equal(painted, frame) for frame in shown)
            assert row["response"].count(IMAGERY_MARK) == len(row["imagery"])


def test_places_come_before_the_motion():
    """Objects rest at first, so the first frames of a clip are one picture, whatever follows."""
    for task in TASKS:
        scene, plan = draw_future_scene(3, task)
        paths = np.stack([item.path for item in scene.objects])
        assert np.ptp(paths[:, :5], axis=1).max() < 1e-9
        assert SHOWN_FRAMES <= plan.until < paths.shape[1] and plan.label in TASKS[task]


@pytest.mark.medium
def test_an_object_could_have_gone_the_other_way():
    """Questions without such room are not asked; dropping scenes for it would make answers depend on places."""
    for seed in range(60):
        scene, plan = draw_future_scene(seed, "future_place")
        path = scene.objects[0].path[[SHOWN_FRAMES - 1, plan.until]]
        before, after = project(path, scene.camera_to_world[0], 0.5 / np.tan(scene.field_of_view / 2))[:, :2]
        assert (np.abs(2 * before - after - 0.5) < 0.5).all()


def test_the_same_seed_gives_the_same_row():
    with FutureWorld() as world:
        first, again = (future_questions(world.clip(1), 1) for _ in range(2))
    assert first == again


@pytest.mark.slow
def test_rows_are_a_configuration_that_loads_plainly(rows, tmp_path):
    write_dataset({"future": {"train": rows}}, tmp_path)
    loaded = load_dataset(str(tmp_path), "future", split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["id"] == [row["id"] for row in rows] and set(loaded["task"]) == set(TASKS)
    builder = FourDCoT(config_name="future", questions=1, held_out=0, cache_dir=str(tmp_path / "built"))
    builder.download_and_prepare()
    assert set(builder.as_dataset(split="train")["task"]) == set(TASKS)


@pytest.mark.slow
def test_a_model_is_scored_on_them(rows, tiny_model_folder, tmp_path, capsys):
    write_dataset({"grpo": {"test": rows}}, tmp_path)
    places = ["--model", str(tiny_model_folder), "--dataset", str(tmp_path), "--max-new-tokens", "2"]
    assert main(["eval", *places]) == 0
    printed = capsys.readouterr().out
    assert all(task in printed for task in TASKS)

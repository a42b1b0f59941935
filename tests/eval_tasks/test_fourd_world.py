"""The benchmark of the rendered world: its rows, its folder, and what is validated before answering."""

import pytest
from datasets import Dataset, load_dataset

from fourdthinker.eval_tasks import fourd_world
from fourdthinker.eval_tasks.tasks import check_rows, task_rows
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.processing import row_clip


def test_rows_come_from_the_named_folder_with_tasks_in_turn(world_folder, monkeypatch):
    monkeypatch.setenv(fourd_world.DATA_VARIABLE, str(world_folder))
    rows = task_rows("fourd_world")
    assert rows["task"] == ["camera_motion", "object_motion"] * 3 + ["camera_motion"] * 2
    assert sorted(rows["id"]) == sorted(load_dataset(str(world_folder), "grpo", split="test")["id"])
    clip = row_clip(rows[1])
    assert clip.frames[0].size == (56, 56) and clip.timestamps == rows[1]["timestamps"]


def test_a_missing_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(fourd_world.DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(
        InputError, match="nowhere: no such folder; set FOURD_WORLD_DATA to a folder with Parquet rows"
    ):
        task_rows("fourd_world")


def test_a_folder_without_rows_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(fourd_world.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=f"{tmp_path.name}: no rows of a configuration 'grpo'"):
        task_rows("fourd_world")


def test_an_unknown_kind_of_question_is_an_error(world_folder):
    with pytest.raises(InputError, match="unknown tasks colour, smell"):
        fourd_world._interleave_tasks(world_folder, ["camera_motion", "smell", "colour"])


def test_an_unknown_benchmark_is_an_error():
    with pytest.raises(InputError, match="unknown task 'fourd_word': choose from fourd_world, dsr_bench"):
        task_rows("fourd_word")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question": "Where is <|video_pad|>?"}, "question has the token <|video_pad|>"),
        ({"options": ["left"]}, "options has 1 entry: give 2 to 10"),
        ({"answer": "E"}, "answer 'E' is not the letter of the 4 options"),
        ({"timestamps": [0.0]}, "timestamps has 1 entry for 4 frames"),
        ({"task": None}, "task is null"),
    ],
)
def test_rows_are_looked_through_before_the_first_is_answered(world_folder, change, words):
    rows = fourd_world.read_rows(world_folder)
    check_rows(rows)
    bad = [{**row, **(change if row["id"] == "camera_motion-2" else {})} for row in rows]
    with pytest.raises(InputError) as caught:
        check_rows(Dataset.from_list(bad, features=rows.features))
    assert str(caught.value).startswith(f"row camera_motion-2: {words}")

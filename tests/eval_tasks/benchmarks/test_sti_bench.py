"""STI-Bench in its published shape: a Parquet table, five candidates as JSON, a time range."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from fourdthinker.eval_tasks.benchmarks.sti_bench import TYPES, prompt, read_rows
from fourdthinker.modeling.errors import InputError

CANDIDATES = {"A": "1.2 m", "B": "2.4 m", "C": "0.6 m", "D": "3.1 m", "E": "4.0 m"}
TITLES = [
    "Dimensional Measurement",
    "Spatial Relation",
    "3D Video Grounding",
    "Displacement & Path Length",
    "Speed & Acceleration",
    "Ego-Centric Orientation",
    "Trajectory Description",
    "Pose Estimation",
]


def published(**columns):
    return {
        "Video": "scene0001_00.mp4",
        "ID": 4,
        "Question": "How long is the table?",
        "Candidates": json.dumps(CANDIDATES),
        "time_start": 0.0,
        "time_end": 7.5,
        "Answer": "C",
        "Task": TITLES[0],
        "Scene": "Indoor",
        "Source": "ScanNet",
        **columns,
    }


@pytest.fixture
def read(tmp_path):
    def read(*rows):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), tmp_path / "qa.parquet")
        return read_rows(tmp_path)

    return read


def test_a_row_in_full(read, tmp_path, make_video):
    (tmp_path / "video").mkdir()
    made = make_video(tmp_path / "video/scene0001_00.mp4", seconds=1)
    assert read(published()) == [
        {
            "id": "scene0001_00.mp4#4",
            "task": "dimensional_measurement",
            "question": "From 0.0 s to 7.5 s. How long is the table?",
            "options": ["1.2 m", "2.4 m", "0.6 m", "3.1 m", "4.0 m"],
            "answer": "C",
            "video": made,
            "scene": "indoor",
        }
    ]


def test_the_eight_types(read):
    assert tuple(row["task"] for row in read(*(published(Task=title) for title in TITLES))) == TYPES


def test_candidates_as_an_object_with_empty_letters(read):
    few, many = read(published(Candidates={"A": "near", "B": "far"}, Answer="B"), published(Candidates=CANDIDATES))
    assert (few["options"], len(many["options"])) == (["near", "far"], 5)


def test_rows_of_one_number_are_told_apart(read):
    rows = read(published(), published(time_start=2), published(ID=5))
    assert [row["id"] for row in rows] == ["scene0001_00.mp4#4", "scene0001_00.mp4#4#2", "scene0001_00.mp4#5"]


def test_without_a_time_range_the_question_stands_alone(read):
    assert read(published(time_start=None, time_end=None))[0]["question"] == "How long is the table?"


@pytest.mark.parametrize(
    ("video", "scene"),
    [("scene1.mp4", "indoor"), ("x_camera_front.mp4", "outdoor"), ("000123.mp4", "desktop"), ("walk.mp4", "unknown")],
)
def test_without_a_scene_the_name_of_the_file_tells(read, video, scene):
    assert read(published(Scene=None, Video=video))[0]["scene"] == scene


def test_rows_of_another_shape_are_named(read, tmp_path):
    with pytest.raises(InputError, match="row scene0001_00.mp4#4: no column Task"):
        read(published(Task=None))
    with pytest.raises(InputError, match="row scene0001_00.mp4#4: answer 'seven' is neither"):
        read(published(Answer="seven"))
    (tmp_path / "qa.parquet").unlink()
    with pytest.raises(InputError, match="holds no qa.parquet"):
        read_rows(tmp_path)


def test_the_prompt_is_the_official_one():
    assert prompt("From 0 s to 2 s. How far?", ["1 m", "2 m"]) == (
        "From 0 s to 2 s. How far?\n(A) 1 m\n(B) 2 m\nPlease output only the option letter!"
    )

"""Dyn-Bench's questions: from its table and from its files, with videos or with the official frames."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from fourdthinker.eval_tasks.benchmarks.dyn_bench import category_of, read_category
from fourdthinker.eval_tasks.lmms.documents import row_media
from fourdthinker.eval_tasks.tasks import find_benchmark, task_rows
from fourdthinker.eval_tasks.videos import has_video, read_row_clip
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.video_decoding import read_frames


def write_frames(folder, count, size=(40, 30), name="frame_{:04d}.png"):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.full((size[1], size[0], 3), 10 * number, np.uint8)
        Image.fromarray(pixels).save(folder / name.format(number))


@pytest.fixture
def table(tmp_path):
    """Writes rows as the published table, into a data folder."""

    def write(*rows):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), tmp_path / "qa_tasks.parquet")
        return tmp_path

    return write


ROW = {
    "dataset": "DAVIS",
    "video_name": "car turn",
    "question": "What does the camera do?",
    "options": "['pans', 'tilts', 'rests', 'rolls']",
    "answer": "C",
    "task": "cameraqa",
}


def test_rows_of_the_table(table, make_video, monkeypatch):
    folder = table(ROW, {**ROW, "task": "qa"}, {**ROW, "task": "Object-Scene", "answer": "rolls"})
    (folder / "videos" / "DAVIS").mkdir(parents=True)
    video = make_video(folder / "videos" / "DAVIS" / "car turn.mp4", seconds=1)
    monkeypatch.setenv("DYN_BENCH_ROOT", str(folder))
    (camera,) = task_rows("dyn_bench_camera")
    assert camera == {
        "id": "dyn_bench-0",
        "task": "camera",
        "question": "What does the camera do?",
        "options": ["pans", "tilts", "rests", "rolls"],
        "answer": "C",
        "video": video,
        "frame_folder": "",
        "video_id": "DAVIS/car turn",
        "source": "DAVIS",
    }
    assert task_rows("dyn_bench_inter")["id"] == ["dyn_bench-1"]
    assert task_rows("dyn_bench_scene")["answer"] == ["D"]


def test_other_names_of_columns(table):
    row = {
        "dataset": "sav",
        "video": "sav/v1.mp4",
        "question": "?",
        "options": ["x", "y"],
        "answer": "(b)",
        "type": "qa",
    }
    (read,) = read_category(table(row), "inter")
    assert read["answer"] == "B" and read["video"].endswith("videos/sav/v1.mp4")


def test_rows_of_the_official_files(tmp_path):
    folder = tmp_path / "multi_json" / "spring"
    folder.mkdir(parents=True)
    question = {"question": "?", "options": ["A. near", "B. far"], "answer": "A"}
    (folder / "a_b_cameraqa.json").write_text(json.dumps([question, question]))
    (folder / "a_b_qa.json").write_text(json.dumps([question]))
    (folder / "a_b_frame_sampling.json").write_text(json.dumps({"video_id": "a_b", "frame_indices": [0, 4]}))
    (folder / "a_b_cameramask.json").write_text(json.dumps({"a_b_1": {"question": "Which?"}}))
    write_frames(tmp_path / "frames" / "spring" / "a_b", 3)
    rows = read_category(tmp_path, "camera")
    assert [row["video_id"] for row in rows] == ["spring/a_b"] * 2 and rows[0]["options"] == ["near", "far"]
    assert has_video(rows[0]) and len(read_category(tmp_path, "scene")) == 0


def test_official_frames_go_out_as_one_video_and_as_images(tmp_path, table, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    folder = table(ROW)
    write_frames(folder / "frames" / "DAVIS" / "car turn", 5)
    (folder / "frames" / "DAVIS" / "car turn" / "notes.txt").write_text("no frame")
    benchmark = find_benchmark("dyn_bench_camera")
    (row,) = benchmark.read(folder)
    (part,) = row_media(benchmark, row)
    assert part["type"] == "video" and Path(part["url"]).is_file()
    clip = read_frames(part["url"])
    assert clip.timestamps == pytest.approx([number / 24 for number in range(5)], abs=1e-3)
    assert [round(np.asarray(frame).mean() / 10) for frame in clip.frames] == [0, 1, 2, 3, 4]
    assert clip.frames[0].size == (40, 30)
    assert row_media(benchmark, row) == [part], "made once"
    images = row_media(benchmark, row, as_frames=True)
    assert [part["type"] for part in images] == ["image"] * 5
    assert len(read_row_clip(row, benchmark.frames).frames) == 5


def test_an_unknown_category_is_an_error(table):
    with pytest.raises(InputError, match="row dyn_bench-1: unknown type of question 'colourqa': dyn_bench has camera"):
        read_category(table(ROW, {**ROW, "task": "colourqa"}), "camera")


def test_a_folder_without_questions_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no qa_tasks.parquet or multi_json"):
        read_category(tmp_path, "camera")


def test_categories_by_their_published_names():
    names = ["Camera-Object", "Inter-Object", "Object-Scene", "cameramask", "objmask", "scenemask"]
    assert [category_of(name) for name in names] == ["camera", "inter", "scene"] * 2


def test_prompt():
    assert find_benchmark("dyn_bench_inter").prompt("Which?", ["near", "far"]) == (
        "Which?\nA. near\nB. far\nAnswer with the option's letter from the given choices directly."
    )

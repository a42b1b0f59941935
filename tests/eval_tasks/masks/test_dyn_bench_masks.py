"""`fourdthinker eval --masks`: Dyn-Bench's mask tasks from folders, faults included."""

import json

import numpy as np
import pytest
from PIL import Image

from fourdthinker.cli.main import main

SHAPE = (24, 32)


def save(path, mask, scale=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((mask * scale).astype(np.uint8)).save(path)


def square(left, shape=SHAPE):
    mask = np.zeros(shape)
    mask[4:8, left : left + 4] = 1
    return mask


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two scenes of three frames; of object 2 the second truth is missing, of the other scene the first."""
    folder = tmp_path / "data"
    for name, objects in {
        "cat_cameramask": ["cat_1", "cat_2"],
        "cat_objmask": ["cat_1"],
        "dog_scenemask": ["d_7"],
    }.items():
        path = folder / "multi_json" / "DAVIS" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({key: {"question": "Which one moves?"} for key in objects}))
    (folder / "multi_json" / "DAVIS" / "cat_cameraqa.json").write_text("[]")
    for index in range(3):
        for scene in ("cat", "dog"):
            save(folder / "frames" / "DAVIS" / scene / f"frame_{index:04d}.jpg", np.zeros(SHAPE))
        save(folder / "masks" / "DAVIS" / "cat" / f"frame_{index:04d}_obj1.png", square(4 + index))
        if index != 1:
            save(folder / "masks" / "DAVIS" / "cat" / f"frame_{index:04d}_obj2.png", square(16))
        if index:
            save(folder / "masks" / "DAVIS" / "dog" / f"frame_{index:04d}_obj7.png", square(16))
    monkeypatch.setenv("DYN_BENCH_ROOT", str(folder))
    return folder


def run(predictions, output, code=0):
    assert main(["eval", "--masks", str(predictions), "--output", str(output)]) == code
    return json.loads(output.read_text()) if output.exists() else None


def test_scores_of_a_folder(data, tmp_path, capsys):
    ours = tmp_path / "masks"
    for index in range(3):
        # Right; the second object also where its truth is missing, so empty; the dog in two frames of three.
        save(ours / "camera" / "DAVIS" / "cat" / f"frame_{index:04d}_obj1.png", square(4 + index))
        save(ours / "camera" / "DAVIS" / "cat" / f"frame_{index:04d}_obj2.png", square(16), scale=1)
    for index in range(2):
        save(ours / "scene" / "DAVIS" / "dog" / f"frame_{index:04d}_obj7.png", square(16))
    result = run(ours, tmp_path / "scores.json")
    scores = result["tasks"]["dyn_bench_masks"]
    camera, inter, scene = (scores["tasks"][name] for name in ("camera", "inter", "scene"))
    # Object 2: right, wrong against an empty truth, right.
    assert camera["n"] == 2 and abs(camera["j"] - (1 + 2 / 3) / 2) < 1e-12 and abs(camera["f"] - 5 / 6) < 1e-12
    assert (inter["n"], inter["missing"], inter["j_and_f"]) == (1, 1, 0)
    # The dog's first truth is missing: an empty mask of 480 x 640.
    assert abs(scene["j_and_f"] - 1 / 2) < 1e-12
    assert abs(scores["j_and_f"] - (5 / 6 + 0 + 1 / 2) / 3) < 1e-12 and scores["n"] == 4 and scores["missing"] == 1
    table = capsys.readouterr().out
    assert "83.3" in table and "1 object without any mask counted as 0" in table


def test_an_empty_prediction_where_the_truth_is_missing_is_right(data, tmp_path):
    ours = tmp_path / "masks" / "scene" / "DAVIS" / "dog"
    save(ours / "frame_0000_obj7.png", np.zeros((12, 16)))
    assert run(tmp_path / "masks", tmp_path / "scores.json")["tasks"]["dyn_bench_masks"]["tasks"]["scene"]["j"] == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "no such folder; --masks takes <category>/<dataset>/<scene>/frame_"),
        (lambda folder: folder.mkdir(), "has no mask of any question, such as camera/DAVIS/cat/frame_0000_obj1.png"),
        (
            lambda folder: (
                save(folder / "camera/DAVIS/cat/frame_0000_obj1.png", square(4))
                or (folder / "camera/DAVIS/cat/frame_0000_obj1.png").write_bytes(b"no image")
            ),
            "frame_0000_obj1.png cannot be decoded",
        ),
    ],
)
def test_faults_take_one_line(data, tmp_path, capsys, make, words):
    make(tmp_path / "masks")
    assert run(tmp_path / "masks", tmp_path / "scores.json", code=2) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_without_data_the_variable_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DYN_BENCH_ROOT", str(tmp_path / "gone"))
    (tmp_path / "masks").mkdir()
    run(tmp_path / "masks", tmp_path / "scores.json", code=2)
    assert "set DYN_BENCH_ROOT to a folder with" in capsys.readouterr().err

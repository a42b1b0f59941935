"""`fourdthinker build-data`: from clips to a folder that `load_dataset` reads, or nothing at all."""

import shutil
from pathlib import Path

import pytest
from datasets import load_dataset

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders.questions.mllm4d import KINDS
from fourdthinker.dataset_builders.schema import MLLM4D_FEATURES
from fourdthinker.modeling.tokens import IMAGERY_MARK

VIDEOS = Path(__file__).parents[2] / "../shared/data/videos"


def test_phone_clip_becomes_a_dataset_and_a_bad_one_is_reported(tmp_path, capsys):
    pytest.importorskip("pycolmap", reason="poses need the data extra")
    if not VIDEOS.exists():
        pytest.skip("the phone clips are not here: they are handed out beside the project, not with it")
    source = tmp_path / "clips"
    source.mkdir()
    shutil.copy(VIDEOS / "backpack.mp4", source)
    (source / "cut.mp4").write_bytes((VIDEOS / "cat.mp4").read_bytes()[:90_000])
    output = tmp_path / "data"
    assert main(["build-data", "--source", str(source), "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "1 videos skipped" in printed and "cut.mp4" in printed

    dift = load_dataset(str(output), "dift", split="train", cache_dir=tmp_path / "cache")
    grpo = load_dataset(str(output), "grpo", split="train", cache_dir=tmp_path / "cache")
    assert len(dift) == len(grpo) > 0 and dift["id"] == grpo["id"]
    assert "response" not in grpo.column_names
    row = dift[0]
    assert row["response"].count(IMAGERY_MARK) == len(row["imagery"]) == 2
    assert len(row["frames"]) == len(row["timestamps"]) == 8
    assert grpo[0]["frames"][0].tobytes() == row["frames"][0].tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "clips", "data"]


def test_world_becomes_a_dataset(tmp_path, capsys):
    pytest.importorskip("pybullet", reason="the rendered world needs the world extra")
    output = tmp_path / "data"
    command = ["build-data", "--source", "world", "--output", str(output), "--clips", "4", "--answer", "text"]
    assert main(command) == 0
    assert "dift, train: 8 rows" in capsys.readouterr().out
    rows = load_dataset(str(output), "dift", split="test", cache_dir=tmp_path / "cache")
    assert set(rows["task"]) == {"camera_motion", "object_motion"}
    rights = [options["ABCD".index(letter)] for options, letter in zip(rows["options"], rows["answer"], strict=True)]
    endings = [f"<answer>{right}</answer>" for right in rights]
    assert all(response.endswith(ending) for response, ending in zip(rows["response"], endings, strict=True))


def test_world_becomes_a_dataset_for_each_stage_of_mllm4d(tmp_path, capsys):
    pytest.importorskip("pybullet", reason="the rendered world needs the world extra")
    output = tmp_path / "data"
    command = ["build-data", "--source", "world", "--questions", "mllm4d", "--output", str(output), "--clips", "1"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    card = (output / "README.md").read_text()
    for name, features in MLLM4D_FEATURES.items():
        assert f"{name}, train: 7 rows" in printed and f"{name}, test: 7 rows" in printed
        rows = load_dataset(str(output), name, split="test", cache_dir=tmp_path / "cache")
        assert rows.features == features and set(rows["task"]) == set(KINDS)
        assert all(f"`{column}`" in card for column in rows.column_names if "imagery" not in column)
        if name != "mllm4d_grpo":
            assert {"Spatial State" in response for response in rows["response"]} == {name == "mllm4d_cold_start"}


def fails(capsys, arguments, words):
    assert main(["build-data", *map(str, arguments)]) == 2
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    assert printed.startswith("fourdthinker: error: ") and words in printed


def test_bad_input_leaves_nothing_behind(tmp_path, capsys):
    pytest.importorskip("pycolmap", reason="poses need the data extra")
    output, empty, bad = tmp_path / "data", tmp_path / "empty", tmp_path / "bad"
    empty.mkdir()
    bad.mkdir()
    (bad / "page.mp4").write_text("<html>404</html>" * 100)
    fails(capsys, ["--source", empty, "--output", output], "holds no video")
    fails(capsys, ["--source", tmp_path / "nowhere", "--output", output], "nowhere does not exist")
    fails(capsys, ["--source", bad, "--output", output], "page.mp4")
    fails(capsys, ["--source", bad, "--output", output, "--frames", 1], "at least 2")
    fails(capsys, ["--source", bad, "--output", output, "--clips", 0], "--clips")
    fails(capsys, ["--source", bad, "--output", output, "--pose-seconds", 0], "--pose-seconds must be positive")
    fails(capsys, ["--source", bad, "--output", output, "--pose-seconds", "inf"], "at most a day (86400), got inf")
    fails(capsys, ["--source", bad, "--output", output, "--seed", 2**31], "--seed must be between 0 and 2147483647")
    fails(capsys, ["--source", bad, "--output", output, "--answer", "text"], "--source world")
    fails(capsys, ["--source", bad, "--output", output, "--questions", "mllm4d"], "--source world")
    fails(capsys, ["--source", empty, "--output", bad], "exists already")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "empty"]

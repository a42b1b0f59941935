"""`fourdthinker build-data`: from clips to a folder that `load_dataset` reads, or nothing at all."""

import json
import shutil

import pytest
from datasets import load_dataset

from fourdthinker.cli.build_data import _print_report
from fourdthinker.cli.main import main
from fourdthinker.dataset_builders.pipeline.video_dataset import BuildReport
from fourdthinker.dataset_builders.questions.mllm4d import KINDS
from fourdthinker.dataset_builders.schema import MLLM4D_FEATURES
from fourdthinker.modeling.tokens import IMAGERY_MARK


@pytest.mark.slow
def test_phone_clip_becomes_a_dataset_and_a_bad_one_is_reported(tmp_path, capsys, shared_file):
    pytest.importorskip("pycolmap", reason="poses need the data extra")
    source = tmp_path / "clips"
    source.mkdir()
    shutil.copy(shared_file("videos/paragliding-launch.mp4"), source)
    (source / "cut.mp4").write_bytes(shared_file("videos/cat.mp4").read_bytes()[:90_000])
    output = tmp_path / "data"
    assert main(["build-data", "--source", str(source), "--output", str(output)]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"2 videos found in {source}\n")
    assert "1 of 2 clips (windows of the videos) gave questions; 1 could not be used, 0 show nothing" in told
    assert "1 damaged, for example cut: " in told and f"listed in {output / 'quarantine.jsonl'}" in told

    dift = load_dataset(str(output), "dift", split="train", cache_dir=tmp_path / "cache")
    grpo = load_dataset(str(output), "grpo", split="train", cache_dir=tmp_path / "cache")
    assert len(dift) == len(grpo) > 0 and dift["id"] == grpo["id"]
    assert "response" not in grpo.column_names
    camera = next(row for row in dift if row["task"] == "camera_motion")
    assert camera["options"]["ABCD".index(camera["answer"])] == "Pan Right"
    assert camera["response"].count(IMAGERY_MARK) == len(camera["imagery"]) == 2
    assert len(camera["frames"]) == len(camera["timestamps"]) == 8
    assert grpo[0]["frames"][0].tobytes() == dift[0]["frames"][0].tobytes()


@pytest.mark.medium
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


@pytest.mark.medium
def test_the_world_asks_for_places_alone(tmp_path, capsys):
    pytest.importorskip("pybullet", reason="the rendered world needs the world extra")
    output = tmp_path / "data"
    command = ["build-data", "--source", "world", "--questions", "places", "--output", str(output), "--clips", "4"]
    assert main([*command, "--grpo-clips", "1"]) == 0
    assert "dift, train: 4 rows" in capsys.readouterr().out
    rows = load_dataset(str(output), "dift", cache_dir=tmp_path / "cache")
    assert len(rows["test"]) == 1 and set(rows["train"]["task"]) == {"future_cell"}
    grpo = load_dataset(str(output), "grpo", split="train", cache_dir=tmp_path / "cache")
    assert len(grpo) == 1 and not set(grpo["id"]) & set(rows["train"]["id"]), "4DRL learns from other clips"
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "one.mp4").write_bytes(b"")
    assert "in which of nine parts of the image" in (output / "README.md").read_text()
    asked = ["--source", str(tmp_path / "clips"), "--questions", "places", "--output", str(tmp_path / "out")]
    assert main(["build-data", *asked]) == 2
    line = "--questions places goes with --source world: of videos ask future"
    assert line in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.slow
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
    output, empty, bad, names = (tmp_path / name for name in ("data", "empty", "bad", "names.json"))
    empty.mkdir()
    bad.mkdir()
    (bad / "page.mp4").write_text("<html>404</html>" * 100)
    names.write_text('["dog"]')
    fails(capsys, ["--source", empty, "--output", output], "holds no video")
    fails(capsys, ["--source", tmp_path / "nowhere", "--output", output], "nowhere does not exist")
    fails(capsys, ["--source", bad, "--output", output, "--frames", 1], "at least 2")
    fails(capsys, ["--source", bad, "--output", output, "--clips", 0], "--clips")
    fails(capsys, ["--source", bad, "--output", output, "--held-out", 100], "--held-out takes at most 99")
    fails(capsys, ["--source", bad, "--output", output, "--time-limit", 0], "--time-limit must be positive")
    fails(capsys, ["--source", bad, "--output", output, "--time-limit", "inf"], "at most a day (86400), got inf")
    fails(capsys, ["--source", bad, "--output", output, "--seed", 2**31], "--seed must be between 0 and 2147483647")
    fails(capsys, ["--source", bad, "--output", output, "--answer", "text"], "--source world")
    fails(capsys, ["--source", bad, "--output", output, "--questions", "camera,size"], "'size': it takes camera, obj")
    fails(capsys, ["--source", bad, "--output", output, "--questions", ""], "--questions ''")
    fails(capsys, ["--source", "world", "--output", output, "--questions", "motion,dsr"], "or mllm4d and dsr")
    fails(capsys, ["--source", "world", "--output", output, "--depth", "x"], "--depth goes with videos")
    fails(
        capsys, ["--source", bad, "--output", output, "--depth", tmp_path / "x"], "is no folder with a model: name one"
    )
    fails(capsys, ["--source", bad, "--output", output, "--names", names], "must hold one object")
    fails(capsys, ["--source", bad, "--output", output, "--names", tmp_path / "no.json"], "no.json cannot be read")
    fails(capsys, ["--source", bad, "--output", output, "--license", "CC BY 4.0"], "--license takes the Hub id")
    fails(capsys, ["--source", "world", "--output", output, "--stage", "poses"], "--stage goes with videos")
    fails(
        capsys,
        ["--source", "world", "--output", output, "--records"],
        "--records goes with --questions dsr, or mllm4d",
    )
    fails(capsys, ["--source", "world", "--output", output, "--license", "mit"], "--license goes with videos")
    fails(capsys, ["--source", "world", "--output", output, "--frames", "16"], "--frames goes with videos")
    world = ["--source", "world", "--output", output]
    fails(capsys, [*world, "--questions", "dsr", "--answer", "text"], "--answer text does not go with --questions dsr")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").touch()
    fails(capsys, ["--source", bad, "--output", tmp_path / "own"], "exists already")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "empty", "names.json", "own"]


@pytest.mark.medium
def test_a_source_that_gives_no_row_ends_in_few_lines_that_say_where_the_list_is(tmp_path, capsys):
    pytest.importorskip("pycolmap", reason="poses need the data extra")
    source, output = tmp_path / "clips", tmp_path / "data"
    source.mkdir()
    for number in range(40):
        (source / f"page{number}.mp4").write_text("<html>404</html>" * 100)
        (source / f"empty{number}.mp4").touch()
    assert main(["build-data", "--source", str(source), "--output", str(output), "--preview", "5"]) == 2
    told = capsys.readouterr()
    lines = (told.out + told.err).strip().splitlines()
    assert len(lines) <= 10 and lines[-1].endswith(f"says why, and {output / 'preview' / 'index.html'} shows it")
    page = (output / "preview" / "index.html").read_text(encoding="utf-8")
    assert "No clip gave a row." in page and page.count("<td>empty</td>") == 40 and "page39" in page
    assert lines[-1].startswith("fourdthinker: error: no clip of")
    assert "40 not_video, for example page0: " in told.out and "40 empty, for example" in told.out
    listed = [json.loads(line) for line in (output / "quarantine.jsonl").read_text().splitlines()]
    assert len(listed) == 80 and {line["code"] for line in listed} == {"empty", "not_video"}


def test_an_output_of_another_build_is_refused_and_stays(tmp_path, capsys):
    pytest.importorskip("pycolmap", reason="poses need the data extra")
    output = tmp_path / "data"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").touch()
    assert main(["build-data", "--source", str(tmp_path / "one"), "--output", str(output)]) == 2
    before = (output / "quarantine.jsonl").read_bytes()
    capsys.readouterr()
    fails(capsys, ["--source", tmp_path / "two", "--output", output], "holds a build from")
    fails(capsys, ["--source", "world", "--output", output], "exists already")
    assert (output / "quarantine.jsonl").read_bytes() == before


def test_a_long_reason_loses_its_measurements_before_its_words(tmp_path, capsys):
    measured = ", ".join(f"error_{number} {number}.5" for number in range(40))
    reason = f"camera: the path does not fit ({measured}); objects: nothing moves"
    fault = {"clip": "a-000", "code": "unclear", "reason": reason, "remedy": "give another clip"}
    _print_report(BuildReport(clips=1, faults=[fault]), tmp_path / "quarantine.jsonl", "rows")
    line = "1 unclear, for example a-000: camera: the path does not fit; objects: nothing moves; give another clip"
    assert line in capsys.readouterr().out

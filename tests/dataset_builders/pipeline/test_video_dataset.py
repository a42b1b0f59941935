"""Builds from videos: work is never lost, output depends on input and settings alone, bad clips cost themselves."""

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets import load_dataset

for needed in ("pycolmap", "cv2", "pycocotools", "scenedetect"):
    pytest.importorskip(needed, reason="rows of videos need the data extra")
from fourdthinker.cli.main import main  # noqa: E402
from fourdthinker.dataset_builders.pipeline.record_json import load_records  # noqa: E402
from fourdthinker.dataset_builders.sources.windows import read_window  # noqa: E402
from fourdthinker.dataset_builders.viewing.build_clips import open_clip  # noqa: E402
from fourdthinker.modeling.errors import InputError  # noqa: E402
from fourdthinker.modeling.tokens import IMAGERY_MARK, OPTION_LETTERS  # noqa: E402

from ...made_clips import draw_masks, film_still_camera  # noqa: E402

COMMAND = [sys.executable, "-m", "fourdthinker.cli", "build-data"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three videos that give rows, in two folders, and three that are none."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "more").mkdir()
    film_still_camera(folder / "still.mp4", seed=1)
    film_still_camera(folder / "mover.mp4", seed=2, step=8)
    film_still_camera(folder / "more" / "mover.mp4", seed=3, step=7)
    film_still_camera(folder / "short.mp4", seed=4, count=3)
    draw_masks(folder / "mover.masks", step=8)
    (folder / "empty.mp4").touch()
    (folder / "page.mp4").write_text("<html>404</html>" * 100)
    return folder


@pytest.fixture(scope="module")
def built(clips, tmp_path_factory):
    """An undisturbed build with one worker."""
    output = tmp_path_factory.mktemp("built") / "data"
    assert main(["build-data", "--source", str(clips), "--output", str(output)]) == 0
    return output


def contents(output: Path) -> dict[str, bytes]:
    """What a build is: everything but the results of its stages."""
    files = (path for path in output.rglob("*") if path.is_file() and ".stages" not in path.parts)
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in files}


def changes(output: Path) -> dict[str, int]:
    """When each result of a stage was written."""
    return {
        path.relative_to(output / ".stages").as_posix(): path.stat().st_mtime_ns
        for path in (output / ".stages").rglob("*.json")
    }


def build_again(clips, output, *arguments):
    """The files of stages that a build wrote."""
    before = changes(output)
    assert main(["build-data", "--source", str(clips), "--output", str(output), *arguments]) == 0
    return {name for name, written in changes(output).items() if before.get(name) != written}


@pytest.mark.slow
def test_rows_are_of_both_kinds_and_load_plainly(built, tmp_path):
    dift = load_dataset(str(built), "dift", split="train", cache_dir=str(tmp_path))
    grpo = load_dataset(str(built), "grpo", split="train", cache_dir=str(tmp_path))
    assert dift["id"] == grpo["id"] and set(dift["task"]) >= {"camera_motion", "object_motion"}
    assert set(dift["source"]) == {"still.mp4", "mover.mp4", "more/mover.mp4"}
    for row in dift:
        right = row["options"][OPTION_LETTERS.index(row["answer"])]
        assert right == ("Stay" if row["task"] == "camera_motion" else "Moving Right")
        assert row["response"].count(IMAGERY_MARK) == len(row["imagery"]) == len(row["imagery_masks"])
        assert set(row["imagery_timestamps"]) <= set(row["timestamps"])
        sizes = {picture.size for name in ("frames", "imagery", "imagery_masks") for picture in row[name]}
        assert sizes == {(252, 196)}, "multiples of 28, which the processor leaves as they are"
        facts = json.loads(row["facts"])
        assert facts["imagery"] == "overlay"
        for mask, box in zip(row["imagery_masks"], facts["boxes"], strict=True):
            assert all(abs(a - b) <= 1 for a, b in zip(mask.getbbox(), box, strict=True))


@pytest.mark.medium
def test_bad_videos_are_listed_with_code_and_remedy(built):
    lines = [json.loads(line) for line in (built / "quarantine.jsonl").read_text().splitlines()]
    found = {line["source"]: (line["stage"], line["code"]) for line in lines}
    assert found == {
        "empty.mp4": ("shots", "empty"),
        "page.mp4": ("shots", "not_video"),
        "short.mp4": ("shots", "too_short"),
    }
    assert all(line["clip"] and line["reason"] and line["remedy"] for line in lines)
    (short,) = (line for line in lines if line["code"] == "too_short")
    assert "--source" in short["remedy"]


@pytest.mark.medium
def test_records_are_read_back(built):
    records = {record.clip: record for record in load_records(built)}
    assert {record.source for record in records.values()} == {"still.mp4", "mover.mp4", "more/mover.mp4"}
    record = records["mover-000"]
    assert set(record.made_by) == {"av", "scenedetect"} and all(record.made_by.values())
    assert record.camera.kind == "still" and len(record.window.timestamps) == len(record.objects[0].masks)
    assert record.size == (256, 192) and record.resting and record.facts["camera"][0]["parts"] == [["Stay"]]


@pytest.mark.slow
def test_a_source_without_write_permission_is_only_read(clips, built, tmp_path):
    source = tmp_path / "clips"
    shutil.copytree(clips, source)
    places = [source, *source.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    before = {place: place.stat().st_mtime_ns for place in places}
    try:
        assert build_again(source, tmp_path / "data")
    finally:
        for place in places:
            place.chmod(0o755)
    assert {place: place.stat().st_mtime_ns for place in [source, *source.rglob("*")]} == before
    rows = {name for name in contents(tmp_path / "data") if name.endswith(".parquet")}
    assert rows == {name for name in contents(built) if name.endswith(".parquet")}


@pytest.mark.medium
def test_the_licence_is_in_records_and_card_and_costs_no_stage(clips, built, tmp_path):
    output = tmp_path / "data"
    shutil.copytree(built, output)
    assert "Licence: the terms of the sources apply." in (output / "README.md").read_text()
    touched = build_again(clips, output, "--license", "cc-by-4.0")
    assert {Path(name).name for name in touched} == {"shots.json", "rows.json"}
    card = (output / "README.md").read_text()
    assert "license: cc-by-4.0" in card and "Licence: cc-by-4.0." in card
    assert {record.licence for record in load_records(output)} == {"cc-by-4.0"}
    build_again(clips, output)
    assert contents(output) == contents(built)


@pytest.mark.medium
def test_an_early_stage_says_nothing_of_questions_and_leaves_the_list_of_a_finished_build(
    clips, built, tmp_path, capsys
):
    output = tmp_path / "data"
    shutil.copytree(built, output)
    capsys.readouterr()
    assert build_again(clips, output, "--stage", "poses") == set()
    printed = capsys.readouterr().out
    assert "stage poses is done for " in printed and "questions" not in printed
    assert contents(output) == contents(built)


@pytest.mark.medium
def test_names_of_videos_that_are_not_there_are_reported(clips, tmp_path, capsys):
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"nosuch.mp4": "cat"}))
    command = ["build-data", "--source", str(clips), "--output", str(tmp_path / "data"), "--names", str(names)]
    assert main(command) == 2
    assert f"names nosuch.mp4, which is no video of {clips}: write paths below it" in capsys.readouterr().err


@pytest.mark.slow
def test_rows_for_another_backbone_are_in_its_pixels_from_the_same_records(clips, built, tmp_path):
    output = tmp_path / "data"
    shutil.copytree(built, output)
    touched = build_again(clips, output, "--backbone", "qwen3_vl")
    assert {Path(name).name for name in touched} == {"questions.json", "rows.json"}
    rows = load_dataset(str(output), "dift", split="train", cache_dir=str(tmp_path / "cache"))
    assert {picture.size for row in rows for picture in row["frames"]} == {(256, 192)}
    assert "multiples of 32 pixels, which the processor of qwen3_vl" in (output / "README.md").read_text()


@pytest.mark.slow
def test_frames_of_a_clip_are_decoded_in_a_worker_as_here(clips, built):
    clip = open_clip(built, "mover-000")
    frames = read_window(clips / "mover.mp4", clip.record.window)
    assert clip.frames.timestamps == frames.timestamps
    assert [a.tobytes() for a in clip.frames.frames] == [b.tobytes() for b in frames.frames]
    with pytest.raises(InputError, match=r"page\.mp4: is no video that can be read"):
        open_clip(built, "mover-000", clips / "page.mp4")


@pytest.mark.slow
def test_a_clip_that_exceeds_the_time_limit_names_it_and_is_tried_again(clips, tmp_path):
    source, output = tmp_path / "clips", tmp_path / "data"
    source.mkdir()
    shutil.copy(clips / "still.mp4", source)
    command = ["build-data", "--source", str(source), "--output", str(output)]
    assert main([*command, "--time-limit", "0.01"]) == 2
    (line,) = [json.loads(line) for line in (output / "quarantine.jsonl").read_text().splitlines()]
    assert (line["source"], line["stage"], line["code"]) == ("still.mp4", "shots", "timeout")
    assert line["reason"] == "took more than 0.01 s" and "--time-limit" in line["remedy"]
    assert main(command) == 0 and not (output / "quarantine.jsonl").read_text()


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(clips, built, tmp_path):
    assert build_again(clips, tmp_path / "data", "--workers", "2")
    assert contents(tmp_path / "data") == contents(built)


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_changed_settings_redo_what_they_touch(clips, built, tmp_path):
    output = tmp_path / "data"
    shutil.copytree(built, output)
    assert build_again(clips, output) == set()
    assert contents(output) == contents(built)
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"mover.mp4": "red square"}))
    assert build_again(clips, output, "--names", str(names)) == {"mover/000/questions.json", "rows.json"}
    assert b"red square" in b"".join(contents(output).values())
    touched = build_again(clips, output, "--objects", "files")
    assert not [name for name in touched if "shots" in name]
    assert [name for name in touched if "poses" in name] == ["mover/000/poses.json"], "which has masks beside it"
    rows = load_dataset(str(output), "dift", split="train", cache_dir=str(tmp_path / "cache"))
    moving = [(row["source"], "the blue square" in row["question"]) for row in rows if row["task"] != "camera_motion"]
    assert set(moving) == {("mover.mp4", True)}, "one video has masks beside it"
    build_again(clips, output)
    build_again(clips, output, "--clips", "1")
    rows = load_dataset(str(output), "dift", split="train", cache_dir=str(tmp_path / "cache"))
    assert set(rows["source"]) == {"more/mover.mp4"}, "the first in the order of names that gives rows"
    build_again(clips, output)
    assert contents(output) == contents(built), "back to the first settings, back to the first bytes"


@pytest.mark.slow
def test_damaged_results_are_made_again(clips, built, tmp_path):
    output = tmp_path / "data"
    shutil.copytree(built, output)
    poses = output / ".stages" / "still" / "000" / "poses.json"
    poses.write_bytes(poses.read_bytes()[:100])
    (parquet,) = (output / "dift").iterdir()
    parquet.unlink()
    assert "still/000/poses.json" in build_again(clips, output)
    assert contents(output) == contents(built)


@pytest.mark.slow
def test_one_stage_alone_ends_there_and_the_next_command_goes_on(clips, built, tmp_path, capsys):
    output = tmp_path / "data"
    made = build_again(clips, output, "--stage", "shots")
    assert {Path(name).name for name in made} == {"build.json", "shots.json"} and not (output / "README.md").exists()
    made = build_again(clips, output, "--stage", "poses")
    assert {Path(name).name for name in made} == {"poses.json"}
    build_again(clips, output)
    assert contents(output) == contents(built)


@pytest.mark.slow
def test_copies_of_a_video_are_in_one_split(clips, tmp_path):
    source, output = tmp_path / "clips", tmp_path / "data"
    source.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clips / "still.mp4", source / name)
    shutil.copy(clips / "mover.mp4", source)
    for share in ("20", "80"):
        build_again(source, output, "--held-out", share)
        splits = load_dataset(str(output), "grpo", cache_dir=str(tmp_path / share))
        places = [[split for split, rows in splits.items() if name in rows["source"]] for name in ("a.mp4", "b.mp4")]
        assert places[0] == places[1] and len(places[0]) == 1


def count_results(output: Path) -> int:
    return sum(name.endswith(".json") for _, _, names in os.walk(output) for name in names)


def kill_often(clips, output, times, draw):
    """Start a build again and again, and kill it and its workers after a random while."""
    for _ in range(times):
        process = subprocess.Popen(
            [*COMMAND, "--source", str(clips), "--output", str(output)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        wait_until = count_results(output) + draw.randrange(4)
        limit = time.monotonic() + 120
        while process.poll() is None and count_results(output) < wait_until and time.monotonic() < limit:
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_killed_builds_end_in_the_same_bytes(clips, built, tmp_path):
    output = tmp_path / "data"
    kill_often(clips, output, 20, random.Random(20))
    build_again(clips, output)
    assert contents(output) == contents(built)
    assert not list(output.rglob("*.tmp")), "nothing is left beside the files"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_leaves_the_earlier_dataset_whole(clips, built, tmp_path):
    output = tmp_path / "data"
    shutil.copytree(built, output)
    limited = (
        f"ulimit -f 300 && exec {shlex.join([*COMMAND, '--source', str(clips), '--output', str(output)])} --seed 1"
    )
    ended = subprocess.run(["bash", "-c", limited], capture_output=True, text=True)
    assert ended.returncode == 2 and "File too large" in ended.stderr.strip().splitlines()[-1]
    assert "Traceback" not in ended.stderr
    for name, content in contents(built).items():
        assert contents(output)[name] == content
    assert load_dataset(str(output), "dift", split="train", cache_dir=str(tmp_path / "cache"))


@pytest.mark.medium
def test_a_build_without_rows_leaves_those_of_an_earlier_one(clips, built, tmp_path, capsys):
    """The command fails, says so, and takes nothing away."""
    source, output = tmp_path / "clips", tmp_path / "data"
    shutil.copytree(clips, source)
    shutil.copytree(built, output)
    (output / ".stages" / "build.json").write_text(json.dumps({"source": str(source)}))
    before = {name: content for name, content in contents(output).items() if name != "quarantine.jsonl"}
    for video in source.rglob("*.mp4"):
        video.write_bytes(b"")
    capsys.readouterr()
    assert main(["build-data", "--source", str(source), "--output", str(output)]) == 2
    assert "gives a row, and the rows of an earlier build stay: " in capsys.readouterr().err
    assert {name: content for name, content in contents(output).items() if name != "quarantine.jsonl"} == before

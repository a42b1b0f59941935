"""Ctrl-C and kills, sent to real processes: what they say, what they leave, and what the next start makes of it."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders.fourd_cot import write_dataset
from fourdthinker.modeling import load_model

COMMAND = str(Path(sys.executable).with_name("fourdthinker"))
LINE = r"fourdthinker: interrupted; (?P<state>.*)\. To (?:go on|start again): (?P<command>.*)"


@pytest.fixture
def interrupt(tmp_path):
    """Runs a command until a file appears, sends a signal to it and its workers, as a terminal does, and gives its
    exit code and its last line."""

    def run(arguments, until, number=signal.SIGINT):
        process = subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "HF_HOME": str(tmp_path / "hf")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        while process.poll() is None and not list(tmp_path.glob(until)):
            time.sleep(0.01)
        os.killpg(process.pid, number)
        error = process.communicate(timeout=120)[1]
        # Python itself notes a signal that falls into a finalizer; no code of a command can catch that one.
        error = re.sub(r"Exception ignored in: .*?\nKeyboardInterrupt: *\n", "", error, flags=re.DOTALL)
        # So does tqdm's, if the signal falls into the constructor of a bar.
        error = re.sub(r"Exception ignored in: .*?\nAttributeError: .* 'disable'\n", "", error, flags=re.DOTALL)
        assert "Traceback" not in error and "Process " not in error, error
        return process.returncode, error.strip().splitlines()[-1] if error.strip() else ""

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_an_interrupted_training_goes_on_by_the_command_that_it_prints(
    interrupt, tmp_path, dift_dataset, tiny_model_folder, monkeypatch, capsys
):
    recipe = {"model": str(tiny_model_folder), "dataset": "data", "output": "out dir", "max_steps": 16}
    recipe |= {"per_device_train_batch_size": 1, "save_steps": 1, "save_total_limit": 2, "dataloader_num_workers": 1}
    recipe |= {"use_cpu": True, "bf16": False, "report_to": "none"}
    (tmp_path / "dift.yaml").write_text(yaml.safe_dump(recipe))
    code, line = interrupt(["dift", "--config", "dift.yaml"], "out dir-checkpoints/checkpoint-2/complete")
    match = re.fullmatch(LINE, line)
    assert code == 130 and match, line
    assert re.fullmatch(r"out dir-checkpoints/checkpoint-\d+ is complete", match["state"])
    assert match["command"] == "fourdthinker dift --config dift.yaml"
    assert not (tmp_path / "out dir").exists()
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(match["command"])[1:]) == 0
    assert "resuming from out dir-checkpoints/checkpoint-" in capsys.readouterr().err
    assert load_model(tmp_path / "out dir")


@pytest.mark.slow
def test_an_interrupted_build_leaves_nothing_and_a_killed_one_nothing_after_the_next_start(interrupt, tmp_path):
    pytest.importorskip("pybullet", reason="needs the extra `world`")
    build = ["build-data", "--source", "world", "--clips", "400", "--workers", "2", "--output", "data"]
    unfinished = ".data.*.tmp/data/tmp*"
    code, line = interrupt(build, unfinished)
    assert code == 130 and re.fullmatch(LINE, line)["state"] == "nothing was kept"
    assert shlex.split(re.fullmatch(LINE, line)["command"]) == ["fourdthinker", *build]
    assert "data" not in str(names(tmp_path))
    code, line = interrupt(build, unfinished, signal.SIGKILL)
    assert code == -signal.SIGKILL and ".data." in str(names(tmp_path))
    # Any command that writes there.
    assert main(["init", "--tiny", "--output", str(tmp_path / "model")]) == 0
    assert [name for name in names(tmp_path) if name != "hf"] == ["model"]


@pytest.mark.slow
def test_an_interrupted_build_from_videos_goes_on_by_the_command_that_it_prints(interrupt, tmp_path, monkeypatch):
    pytest.importorskip("pycolmap", reason="builds from videos need the data extra")
    from ..made_clips import film_still_camera

    (tmp_path / "videos").mkdir()
    for seed in range(3):
        film_still_camera(tmp_path / "videos" / f"{seed}.mp4", seed=seed)
    build = ["build-data", "--source", "videos", "--output", "data"]
    code, line = interrupt(build, "data/.stages/0/000/poses.json")
    match = re.fullmatch(LINE, line)
    assert code == 130 and match["state"] == "what the stages have made is kept in data"
    assert shlex.split(match["command"]) == ["fourdthinker", *build]
    poses = tmp_path / "data" / ".stages" / "0" / "000" / "poses.json"
    kept = poses.stat().st_mtime_ns
    monkeypatch.chdir(tmp_path)
    assert main(build) == 0 and poses.stat().st_mtime_ns == kept
    assert (tmp_path / "data" / "README.md").exists()


@pytest.mark.slow
def test_an_interrupted_evaluation_says_that_it_starts_again(interrupt, tmp_path, tiny_model_folder):
    pytest.importorskip("pybullet", reason="needs the extra `world`")
    arguments = ["eval", "--model", tiny_model_folder, "--output", "scores.json"]
    code, line = interrupt(arguments, "hf/fourdthinker/.fourd_world-*")
    match = re.fullmatch(LINE, line)
    assert code == 130 and match["state"] == "nothing was kept"
    assert shlex.split(match["command"]) == ["fourdthinker", *map(str, arguments)]
    assert not list(tmp_path.glob("hf/fourdthinker/.*")) and not list(tmp_path.glob("*scores*"))


@pytest.mark.slow
def test_an_interrupted_sampling_says_where_its_paths_are(interrupt, tmp_path, tiny_model_folder):
    centers = {"camera_centers": [[0.0, 0.0, 0.0]] * 2, "object_centers": [None, None]}
    row = {"source": "test", "task": "camera_distance", "question": "How far?", "options": ["1", "2", "3", "4"]}
    row |= {"answer": "B", "frames": [Image.new("RGB", (56, 56))] * 2, "timestamps": [0.0, 0.5], "facts": "{}"}
    rows = [{**row, **centers, "id": f"row-{number}"} for number in range(60)]
    (tmp_path / "data").mkdir()
    write_dataset({"mllm4d_grpo": {"train": rows}}, tmp_path / "data")
    places = ["--model", tiny_model_folder, "--dataset", "data", "--output", "best"]
    sampling = ["best-of-n", *places, "--batch-size", "1", "--max-new-tokens", "64"]
    code, line = interrupt(sampling, "best-paths.jsonl")
    match = re.fullmatch(LINE, line)
    assert code == 130 and match["state"] == "the paths sampled so far are in best-paths.jsonl"
    assert match["command"].startswith("fourdthinker best-of-n --model ")

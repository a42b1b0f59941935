"""Rows for the commands, and training commands in two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
TWO_PROCESSES = Path(__file__).resolve().parents[1] / "two_processes.py"

RUN_COMMAND = """
from fourdthinker.cli.main import main

sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def dift_dataset(tmp_path):
    """A folder with four rows of `dift`, two frames and one frame of imagery each."""
    from fourdthinker.dataset_builders.fourd_cot import write_dataset

    shades = [Image.new("RGB", (56, 56), (80 * number, 0, 0)) for number in range(3)]
    row = {"source": "test", "task": "camera_motion", "options": ["left", "right", "up", "down"], "answer": "B"}
    row |= {"frames": shades[:2], "timestamps": [0.0, 0.5], "facts": "{}", "imagery": shades[2:]}
    row |= {"imagery_timestamps": [0.5], "response": "<think><output_image></think><answer>B. right</answer>"}
    rows = [{**row, "id": f"row-{number}", "question": f"Which way, {number}?"} for number in range(4)]
    folder = tmp_path / "data"
    folder.mkdir()
    write_dataset({"dift": {"train": rows}}, folder)
    return folder


@pytest.fixture
def launch(tmp_path, shard_on_cpu):
    """Runs a training command on a recipe in two processes, as users do or in less time, and gives what they said."""

    def run(command, recipe, sharded=False, by_accelerate=False):
        configuration = RECIPES / "accelerate" / ("fsdp2.yaml" if sharded else "two_cpu_processes.yaml")
        if by_accelerate:
            start = ["-m", "accelerate.commands.launch", "--config_file", str(configuration), "--num_processes", "2"]
            start += ["--mixed_precision", "no", "--main_process_port", "0", "-m", "fourdthinker.cli"]
        else:
            script = tmp_path / "script.py"
            script.write_text(shard_on_cpu + RUN_COMMAND if sharded else "import sys\n" + RUN_COMMAND)
            start = [str(TWO_PROCESSES), str(configuration) if sharded else "none", str(script)]
        done = subprocess.run(
            [sys.executable, *start, command, "--config", str(recipe)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    return run

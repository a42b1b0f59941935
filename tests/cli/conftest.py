"""Rows for the commands, and training commands in two processes."""

from pathlib import Path

import pytest
from PIL import Image

CONFIGURATION = Path(__file__).resolve().parents[2] / "recipes/accelerate/two_cpu_processes.yaml"

RUN_COMMAND = """
import sys

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
def launch(run_python, in_two_processes):
    """Runs a training command on a recipe in two processes, as users do or in less time, and gives what they said."""

    def run(command, recipe, sharded=False, by_accelerate=False):
        if not by_accelerate:
            return in_two_processes(RUN_COMMAND, command, "--config", recipe, sharded=sharded)
        launcher = ["-m", "accelerate.commands.launch", "--num_processes", "2", "--mixed_precision", "no"]
        launcher += ["--main_process_port", "0", "--config_file", CONFIGURATION]
        done = run_python(*launcher, "-m", "fourdthinker.cli", command, "--config", recipe)
        return done.stdout + done.stderr

    return run

import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

RUN_COMMAND = """
from fourdthinker.cli.main import main

sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def launch(tmp_path, shard_on_cpu):
    """Runs a training command on a recipe in two processes, and gives what they said."""

    def run(command, recipe, sharded=False):
        entry = ["-m", "fourdthinker.cli"]
        if sharded:
            script = tmp_path / "sharded.py"
            script.write_text(shard_on_cpu + RUN_COMMAND)
            entry = [str(script)]
        accelerate = RECIPES / "accelerate" / ("fsdp2.yaml" if sharded else "two_cpu_processes.yaml")
        launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
        launcher += ["--mixed_precision", "no", "--main_process_port", "0", "--config_file", str(accelerate)]
        done = subprocess.run(
            [*launcher, *entry, command, "--config", str(recipe)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    return run

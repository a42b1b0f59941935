import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

# accelerate shards weights on accelerators only, although torch does it on a CPU as well.
SHARDED = """
import sys

from accelerate import DistributedType
from accelerate.state import AcceleratorState, PartialState

from fourdthinker.cli.main import main

plain = AcceleratorState.__init__


def sharded(self, *args, fsdp_plugin=None, **kwargs):
    plain(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None:
        self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin


AcceleratorState.__init__ = sharded
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def launch(tmp_path):
    """Runs a training command on a recipe in two processes, and gives what they said."""

    def run(command, recipe, sharded=False):
        entry = ["-m", "fourdthinker.cli"]
        if sharded:
            script = tmp_path / "sharded.py"
            script.write_text(SHARDED)
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

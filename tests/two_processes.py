"""Runs a script in two processes on the CPU that import the libraries once, where `accelerate launch` does so thrice.

Its arguments are `whole` or `sharded`, for the weights, the script, and the script's own.
"""

import os
import runpy
import sys
from pathlib import Path

import transformers  # noqa: F401
import trl.trainer.grpo_trainer  # noqa: F401
from accelerate import DistributedType, debug_launcher
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils.launch import prepare_multi_gpu_env

FSDP = Path(__file__).resolve().parents[1] / "recipes/accelerate/fsdp2.yaml"


def shard_weights() -> None:
    """Let each process hold a part of the weights, which accelerate does on accelerators only, torch on a CPU too."""
    # What `accelerate launch` would tell its processes by variables.
    arguments = ["--config_file", str(FSDP), "--num_processes", "2", "--mixed_precision", "no"]
    arguments += ["--main_process_port", "0", "script.py"]
    settings, *_ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    os.environ.update(prepare_multi_gpu_env(settings))
    plain = AcceleratorState.__init__

    def sharded(self, *args, fsdp_plugin=None, **kwargs):
        plain(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin

    AcceleratorState.__init__ = sharded


if __name__ == "__main__":
    weights, script = sys.argv[1:3]
    if weights == "sharded":
        shard_weights()
    del sys.argv[:2]
    debug_launcher(runpy.run_path, (script, None, "__main__"))

"""Runs a script in two processes on the CPU that import the libraries once, where `accelerate launch` does so thrice.

Its arguments are an accelerate configuration or `none`, the script, and the script's own.
"""

import os
import runpy
import sys

import transformers  # noqa: F401
import trl.trainer.grpo_trainer  # noqa: F401
from accelerate import debug_launcher
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env


def set_configuration(path: str) -> None:
    """What `accelerate launch` would tell its processes by variables."""
    arguments = ["--config_file", path, "--num_processes", "2", "--mixed_precision", "no", "--main_process_port", "0"]
    settings, *_ = _validate_launch_command(launch_command_parser().parse_args([*arguments, "script.py"]))
    os.environ.update(prepare_multi_gpu_env(settings))


if __name__ == "__main__":
    configuration, script = sys.argv[1:3]
    if configuration != "none":
        set_configuration(configuration)
    del sys.argv[:2]
    debug_launcher(runpy.run_path, (script, None, "__main__"))

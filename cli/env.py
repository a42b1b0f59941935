"""`fourdthinker env`: print versions and devices for a bug report."""

import argparse
import platform
import sys
from importlib.metadata import version

from ..modeling.errors import first_line
from ..modeling.versions import installed_version, is_tested, read_requirements


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(args: argparse.Namespace) -> None:
    """Print one `- name: value` line for each fact, ready to be pasted into an issue."""
    facts = {
        "fourdthinker": version("fourdthinker"),
        "Python": f"{platform.python_version()} ({sys.implementation.name})",
        "platform": platform.platform(),
        **describe_packages(),
        **describe_devices(),
    }
    for name, value in facts.items():
        print(f"- {name}: {value}")


def describe_packages() -> dict[str, str]:
    """For each requirement its installed version, and the tested range where that is left."""
    described = {}
    for requirement in read_requirements():
        installed = installed_version(requirement.name)
        if installed is None:
            described[requirement.name] = "not installed"
        elif is_tested(requirement, installed):
            described[requirement.name] = installed
        else:
            described[requirement.name] = f"{installed} (outside the tested range {requirement.specifier})"
    return described


def describe_devices() -> dict[str, str]:
    """The accelerators that torch sees, or why it sees none."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return {"devices": f"torch cannot be imported: {first_line(error)}"}
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return {"devices": ", ".join(names), "CUDA": str(torch.version.cuda)}
    if torch.backends.mps.is_available():
        return {"devices": "Apple MPS"}
    return {"devices": f"CPU only ({torch.get_num_threads()} threads)"}

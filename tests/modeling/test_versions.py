"""Library versions outside the tested range are named once."""

import os
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from fourdthinker.modeling.versions import installed_version, is_tested, read_requirements


def metadata(folder, name, version):
    """What an installed package of this version would leave in a folder of the module path."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def python(*arguments, path=""):
    environment = {name: value for name, value in os.environ.items() if name != "FOURDTHINKER_VERSIONS_CHECKED"}
    environment["PYTHONPATH"] = os.pathsep.join(part for part in (str(path), os.environ.get("PYTHONPATH")) if part)
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=True)


@pytest.mark.parametrize(
    ("version", "inside"),
    [
        ("5.2.0", True),
        ("5.24.3", True),
        ("5.24.0+cpu", True),
        ("5.24.0.dev0", True),
        ("5.25.0", False),
        ("5.1", False),
    ],
)
def test_tested_range(version, inside):
    assert is_tested(Requirement("transformers>=5.2,<5.25"), version) is inside


def test_core_and_extras_are_listed_with_what_is_installed():
    ranges = {requirement.name: requirement.specifier for requirement in read_requirements()}
    assert {"transformers", "trl", "datasets", "peft", "torch", "lmms-eval", "filelock"} <= set(ranges)
    assert "fourdthinker" not in ranges
    for name in ("transformers", "trl", "datasets", "peft", "accelerate", "huggingface_hub", "torch"):
        assert any(bound.operator == "<" for bound in ranges[name]), f"{name} has no upper bound"
    assert installed_version("transformers") and installed_version("no-such-package") is None


def test_a_newer_version_is_named_once_in_one_line(tmp_path):
    metadata(tmp_path, "transformers", "5.99.0")
    twice = "import subprocess, sys, fourdthinker.modeling; print('goes on'); "
    twice += "subprocess.run([sys.executable, '-c', 'import fourdthinker.modeling'], check=True)"
    done = python("-c", twice, path=tmp_path)
    assert done.stdout == "goes on\n"
    lines = done.stderr.splitlines()
    assert len([line for line in lines if "not tested with" in line]) == 1
    assert any("transformers 5.99.0 (tested: " in line for line in lines)


@pytest.mark.medium
def test_env_marks_it(tmp_path):
    metadata(tmp_path, "trl", "7.0.0")
    lines = python("-m", "fourdthinker.cli", "env", path=tmp_path).stdout.splitlines()
    found = dict(line.removeprefix("- ").split(": ", 1) for line in lines)
    assert found["trl"].startswith("7.0.0 (outside the tested range ")
    assert found["transformers"].startswith(installed_version("transformers"))
    assert {"fourdthinker", "Python", "platform", "torch", "devices"} <= set(found)

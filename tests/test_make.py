"""The targets of the Makefile, and `.ci/run`."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def plain_environment(**changes: str) -> dict[str, str]:
    """The environment without what an outer make tells its children."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return {**kept, **changes}


def test_make_targets_plan(tmp_path):
    """Each of the four words makes its environment, installs once, and names the file that says so."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    for target in ("demo", "test", "check", "style"):
        plan = subprocess.run(
            ["make", "-n", target, f"VENV={tmp_path}/venv"],
            cwd=ROOT,
            env=plain_environment(),
            capture_output=True,
            text=True,
        )
        assert plan.returncode == 0, plan.stderr
        assert "-m venv" in plan.stdout and f"{tmp_path}/venv/.installed" in plan.stdout
        assert plan.stdout.count("pip install") == 1


def test_make_alone_lists_the_targets():
    if shutil.which("make") is None:
        pytest.skip("needs make")
    done = subprocess.run(["make"], cwd=ROOT, env=plain_environment(), capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)", text, re.MULTILINE)[1].split()
    listed = re.findall(r"^  ([a-z-]+) +\S", done.stdout, re.MULTILINE)
    assert listed and set(listed) == set(phony) - {"help"}


def test_make_says_when_python_is_too_old(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("needs make")
    old = tmp_path / "bin"
    old.mkdir()
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        (old / name).write_text("#!/bin/sh\nexit 1\n")
        (old / name).chmod(0o755)
    environment = plain_environment(PATH=f"{old}:/usr/bin:/bin")
    done = subprocess.run(
        ["make", "install", f"VENV={tmp_path}/venv"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0 and "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


def ci_run(tmp_path: Path, make: str) -> subprocess.CompletedProcess:
    """Run `.ci/run` with a `make` that does what the text says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "make").write_text(f"#!/bin/bash\n{make}\n")
    (folder / "make").chmod(0o755)
    environment = plain_environment(PATH=f"{folder}:{os.environ['PATH']}", TMPDIR=str(tmp_path))
    return subprocess.run([str(ROOT / ".ci" / "run")], env=environment, capture_output=True, text=True, cwd=tmp_path)


def test_ci_prints_the_closing_line_last_and_returns_pytests_code(tmp_path):
    closing = "======= 1 failed, 8 passed, 1 warning in 12.3s (0:00:12) ======="
    done = ci_run(
        tmp_path,
        f"""
        for argument in "$@"; do case "$argument" in STATUS_FILE=*) echo 5 > "${{argument#*=}}";; esac; done
        echo "{closing}"; echo "make: *** [test] Error 5" >&2; exit 2
        """,
    )
    assert done.returncode == 5
    assert done.stdout.splitlines()[-1] == closing
    assert not list(tmp_path.glob("fourdthinker-ci.*")), "its environment is gone when it ends"


def test_ci_fails_when_the_install_fails(tmp_path):
    done = ci_run(tmp_path, 'echo "no network" >&2; exit 2')
    assert done.returncode == 2
    assert "pytest did not run" in done.stdout.splitlines()[-1]


def test_ci_uses_an_environment_of_its_own(tmp_path):
    done = ci_run(tmp_path, 'echo "args: $*"; echo "venv: [$VIRTUAL_ENV]"')
    (arguments,) = (line for line in done.stdout.splitlines() if line.startswith("args: "))
    (path,) = re.findall(r"VENV=(\S+)", arguments)
    assert "test" in arguments.split() and Path(path).parent.parent == tmp_path
    assert "venv: []" in done.stdout

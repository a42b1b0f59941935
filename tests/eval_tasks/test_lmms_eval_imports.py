"""What lmms-eval imports in the middle of a run must be there: it goes on after such an error, and exits with 0."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lmms_eval", reason="needs the extra `eval`")

SETUP = Path(__file__).parents[2] / "setup.cfg"
# What runs in every evaluation, whatever the task and the model.
ON_THE_WAY = ("__main__.py", "evaluator.py", "evaluator_utils.py", "api/task.py", "tasks/__init__.py")


def names_imported(module: ast.Module):
    """Modules that a file imports anywhere, but for those whose absence it handles itself."""
    handled = {
        node
        for block in ast.walk(module)
        if isinstance(block, ast.Try) and any("Import" in ast.dump(handler) for handler in block.handlers)
        for node in ast.walk(block)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Import) and node not in handled:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node not in handled:
            yield node.module


def imported_on_the_way() -> set[str]:
    folder = Path(importlib.util.find_spec("lmms_eval").origin).parent
    sources = [ast.parse((folder / name).read_text(encoding="utf-8")) for name in ON_THE_WAY]
    return {name for source in sources for name in names_imported(source)}


def is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_what_an_evaluation_imports_is_installed():
    names = imported_on_the_way()
    assert "filelock._api" in names, "if lmms-eval does without it, setup.cfg need not hold filelock back"
    assert [name for name in sorted(names) if not is_there(name)] == []


@pytest.mark.slow
def test_a_fresh_resolution_of_the_extra_has_what_an_evaluation_imports(tmp_path):
    """`constraints.txt` apart: what pip would choose today of the packages that the extra names itself."""
    uv = [sys.executable, "-m", "uv", "pip"]
    if not is_there("uv"):
        pytest.skip("needs uv, of the extra `dev`")
    resolved = subprocess.run(
        [*uv, "compile", "--quiet", "--no-annotate", "--no-header", "--extra", "eval", SETUP],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    if resolved.returncode:
        pytest.skip(f"the registry cannot be asked: {resolved.stderr.strip()[-200:]}")
    (pin,) = [line for line in resolved.stdout.splitlines() if line.startswith("filelock==")]
    subprocess.run([*uv, "install", "--quiet", "--no-deps", "--target", tmp_path, pin], check=True)
    modules = sorted(name for name in imported_on_the_way() if name.partition(".")[0] == "filelock")
    code = f"import filelock; assert filelock.__file__.startswith({str(tmp_path)!r}); import {', '.join(modules)}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{pin}: {done.stderr}"

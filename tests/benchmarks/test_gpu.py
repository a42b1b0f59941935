"""The GPU benchmark on a CPU at a tiny shape: it measures, resumes, and says what it could not measure."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run(tmp_path):
    """Runs the script at the tiny shape and returns its process."""

    def start(*argv):
        script = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--shape", "tiny"]
        command = [*script, "--results", str(tmp_path), "--repeats", "1", *argv]
        # Torch would take every core for models that are too small for two.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    return start


@pytest.fixture
def gpu(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("gpu")


@pytest.mark.slow
def test_decoding_is_measured_once_and_kept(run, tmp_path):
    first = run("--only", "decoding")
    assert first.returncode == 0, first.stdout + first.stderr
    result = tmp_path / "gpu_decoding.md"
    text = result.read_text(encoding="utf-8")
    assert text.count("| off |") == text.count("| on |") == 2
    assert "not measured" not in text and "the numbers mean nothing" in text
    again = run("--only", "decoding")
    assert again.returncode == 0 and "new tokens" not in again.stdout
    assert result.read_text(encoding="utf-8") == text


@pytest.mark.slow
def test_out_of_time_is_written_down_and_tried_again(run, tmp_path):
    done = run("--only", "dift", "--minutes", "0.01")
    assert done.returncode == 1 and "Not measured: dift, 1k tokens; dift, 4k tokens" in done.stdout
    text = (tmp_path / "gpu_dift.md").read_text(encoding="utf-8")
    assert text.count("not measured: out of time") == 3


def test_a_report_keeps_what_was_measured_under_the_same_heading(gpu, tmp_path):
    path, parts = tmp_path / "gpu_dift.md", ("1k", "4k", "16k")
    report = gpu.Report(path, "# dift\n\nsome card")
    report.write("1k", "| 1 | 2 |\n\nplain : ours 2")
    report.write("4k", gpu.OUT_OF_TIME)
    again = gpu.Report(path, "# dift\n\nsome card")
    assert again.parts["1k"] == "| 1 | 2 |\n\nplain : ours 2"
    assert again.missing(parts) == ["4k", "16k"]
    assert gpu.Report(path, "# dift\n\nanother card").missing(parts) == list(parts)


def test_no_gpu_and_no_tiny_shape_is_rejected_in_one_line(gpu, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu"])
    with pytest.raises(SystemExit) as stopped:
        gpu.main()
    assert stopped.value.code == 2
    assert "add --shape tiny" in capsys.readouterr().err

"""`fourdthinker check-data` and the gates of `build-data`: exit codes of real processes, the table, the card."""

import subprocess
import sys

import pytest
from PIL import Image

pytest.importorskip("sklearn", reason="the gates need the data extra")
pytest.importorskip("imagehash", reason="the gates need the data extra")

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders.fourd_cot import write_dataset

PROGRAM = [sys.executable, "-m", "fourdthinker.cli"]


def run(*arguments):
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=600)


def write_rows(folder, count, letters):
    """Rows with the same options and plain frames, whose right letters repeat."""
    rows = [
        {
            "id": f"row-{number}",
            "source": f"clip-{number}.mp4",
            "task": "camera_motion",
            "question": "Which way?",
            "options": ["left", "right", "up", "down"],
            "answer": letters[number % len(letters)],
            "frames": [Image.new("RGB", (28, 28), (number % 256, 99, 7))],
            "timestamps": [0.0],
            "facts": "{}",
        }
        for number in range(count)
    ]
    folder.mkdir()
    write_dataset({"grpo": {"train": rows}}, folder)
    return folder


@pytest.mark.slow
def test_a_failed_gate_is_printed_marked_in_the_card_and_gives_code_3(tmp_path):
    folder = write_rows(tmp_path / "data", 120, "AAAB")
    before = sorted(path.name for path in folder.rglob("*"))
    done = run("check-data", folder)
    assert done.returncode == 3 and done.stderr == ""
    assert "balance of letters" in done.stdout and "A is right in 75.0 %" in done.stdout
    card = (folder / "README.md").read_text()
    assert "These rows fail a gate" in card and done.stdout.strip() in card
    assert sorted(path.name for path in folder.rglob("*")) == before, "the rows are kept, nothing else is left"

    allowed = run("check-data", folder, "--allow-failed-gates")
    assert allowed.returncode == 0 and allowed.stdout == done.stdout
    assert (folder / "README.md").read_text() == card


def test_a_small_build_is_told_and_gives_code_0(tmp_path, capsys):
    folder = write_rows(tmp_path / "data", 12, "A")
    assert main(["check-data", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("12 rows are too few to be tested"), "no table of empty lines"
    assert "fail a gate" not in (folder / "README.md").read_text()


def break_row(folder):
    write_rows(folder, 4, "E")


def lose_files(folder):
    for file in write_rows(folder, 4, "AB").rglob("*.parquet"):
        file.unlink()


def damage_files(folder):
    for file in write_rows(folder, 4, "AB").rglob("*.parquet"):
        file.write_bytes(file.read_bytes()[:300])


@pytest.mark.parametrize(
    "make,words",
    [
        (lambda folder: None, "is no folder"),
        (lambda folder: folder.mkdir(), "is no dataset folder"),
        (break_row, "row 'row-0': answer 'E' is not the letter of the 4 options"),
        (lose_files, "parquet"),
        (damage_files, "parquet"),
    ],
)
def test_what_is_no_dataset_ends_in_one_line(tmp_path, capsys, make, words):
    make(tmp_path / "data")
    capsys.readouterr()
    assert main(["check-data", str(tmp_path / "data")]) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1 and words in told.lower().replace("'e'", "'E'"), told


@pytest.mark.slow
def test_a_build_of_the_world_runs_the_gates(tmp_path):
    pytest.importorskip("pybullet", reason="the rendered world needs the world extra")
    done = run("build-data", "--source", "world", "--clips", 26, "--held-out", 4, "--output", tmp_path / "data")
    lines = done.stdout.splitlines()
    assert any(line.strip().startswith("first frame") for line in lines) and "not tested" not in done.stdout
    failed = any(line.endswith("FAIL") for line in lines)
    assert done.returncode == (3 if failed else 0)
    assert "## Gates" in (tmp_path / "data" / "README.md").read_text()
    again = run("check-data", tmp_path / "data")
    assert again.returncode == done.returncode and again.stdout.strip() in done.stdout

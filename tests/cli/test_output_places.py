"""`--output` and its like that cannot be written: one line before any work, and what is in the place stays."""

import os
from pathlib import Path

import pytest

from fourdthinker.cli.main import main
from fourdthinker.modeling.atomic import atomic_dir, atomic_path, check_writable
from fourdthinker.modeling.errors import InputError

COMMANDS = {
    "init": ["init", "--tiny"],
    "build-data": ["build-data", "--source", "world", "--clips", "1"],
    "best-of-n": ["best-of-n", "--paths", "paths.jsonl", "--dataset", "rows"],
    "dift": ["dift", "--model", "model", "--dataset", "rows"],
    "grpo": ["grpo", "--model", "model", "--dataset", "rows"],
    "eval": ["eval", "--model", "model"],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a file of the user's, and nothing that a command could read."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    monkeypatch.chdir(folder)
    return folder


def read_error(capsys, arguments) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    line = capsys.readouterr().err.splitlines()
    assert line[-1].startswith("fourdthinker: error: ") and "Traceback" not in "".join(line)
    return line[-1]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("output", ["notes.txt/out", ".", "..", "/"])
def test_a_place_that_takes_no_files_is_rejected_before_the_work(command, output, place, capsys):
    line = read_error(capsys, [*COMMANDS[command], "--output", output])
    expected = {"init", "build-data", "best-of-n"} if output != "notes.txt/out" else set()
    words = ("exists already",) if command in expected else ("cannot write notes.txt/out", "as a whole", "is a folder")
    assert any(one in line for one in words)
    assert {path.name for path in place.parent.rglob("*")} == {"work", "notes.txt"}


@pytest.mark.parametrize("command", ["dift", "grpo"])
def test_training_replaces_models_only_and_none_that_it_reads(command, place, capsys):
    (place / "backbone").mkdir()
    (place / "backbone" / "config.json").write_text("{}")
    for name in ("rows", "model"):
        (place / name).mkdir()
        (place / name / {"rows": "README.md", "model": "training_log.json"}[name]).write_text("{}")
    for output, words in [
        ("notes.txt", "exists already and holds no model"),
        ("rows", "exists already and holds no model"),
        ("backbone", "exists already and holds no model of an earlier training"),
        ("model", "--output model would replace what the run reads"),
        ("../work/model/", "would replace what the run reads"),
    ]:
        assert words in read_error(capsys, [*COMMANDS[command], "--output", output])
    assert (place / "notes.txt").read_text() == "mine"
    assert (place / "rows" / "README.md").exists() and (place / "model" / "training_log.json").exists()
    assert sorted(path.name for path in place.iterdir()) == ["backbone", "model", "notes.txt", "rows"]


def test_a_check_of_the_place_leaves_nothing(place):
    check_writable("new/deep/out")
    check_writable(place / "notes.txt")
    assert [path.name for path in place.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("writer", [atomic_path, atomic_dir])
def test_a_place_that_is_lost_during_the_work_is_named(writer, place):
    with pytest.raises(InputError, match="cannot write notes.txt/out .*: name another place"):
        with writer("notes.txt/out"):
            pytest.fail("nothing can be written there")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_rejected(place):
    place.chmod(0o500)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            check_writable("out")
    finally:
        place.chmod(0o700)


def test_an_error_of_the_work_itself_is_not_taken_for_one_of_the_place(place):
    with pytest.raises(FileNotFoundError), atomic_dir("out") as folder:
        (Path(folder) / "missing").read_text()
    assert [path.name for path in place.iterdir()] == ["notes.txt"]

"""What a killed process leaves beside its output, and what the next start does with it."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from fourdthinker.modeling import atomic
from fourdthinker.modeling.atomic import atomic_dir, atomic_path, remove_leftovers, scratch_dir

# Each writes a part of its output, says so, and waits.
WRITERS = {
    "folder": "with atomic_dir(sys.argv[1]) as new: (new / 'half').write_text('half'); wait()",
    "file": "with atomic_path(sys.argv[1]) as new: new.write_text('half'); wait()",
    "scratch": "with scratch_dir('test') as new: (new / 'half').write_text('half'); wait()",
    # Killed after the old folder was moved away and before the new one took its place.
    "between renames": "stock = os.replace\n"
    "def replace(old, new):\n"
    "    stock(old, new)\n"
    "    if str(old) == sys.argv[1]: wait()\n"
    "os.replace = replace\n"
    "with atomic_dir(sys.argv[1]) as new: (new / 'half').write_text('half')",
}
HEAD = """
import os, sys, time
from fourdthinker.modeling.atomic import atomic_dir, atomic_path, scratch_dir
def wait():
    print("waiting", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path):
    """Starts a process that is in the middle of writing."""
    started = []

    def start(kind, target=None):
        target = tmp_path / "out" if target is None else target
        command = [sys.executable, "-c", HEAD + WRITERS[kind], str(target)]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        assert process.stdout.readline() == "waiting\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_leftovers_of_a_killed_process_are_removed_and_those_of_a_live_one_stay(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.tempfile, "tempdir", str(tmp_path))
    killed = [writer(kind) for kind in ("folder", "file", "scratch")]
    alive = writer("folder")
    assert len(list(tmp_path.iterdir())) == 4
    for process in killed:
        kill(process)
    assert len(list(tmp_path.iterdir())) == 4
    with scratch_dir("test"):
        (left,) = (path for path in tmp_path.glob(".out.*") if (path / "out" / "half").exists())
    kill(alive)
    with atomic_path(tmp_path / "other") as file:
        assert not left.exists()
        file.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_folder_that_was_about_to_be_replaced_comes_back(writer, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    process = writer("between renames")
    assert not (tmp_path / "out").exists()
    kill(process)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old"]


def test_leftovers_of_another_machine_are_left_alone(writer, tmp_path, monkeypatch):
    """Its locks may not show here."""
    kill(writer("folder"))
    (left,) = tmp_path.iterdir()
    elsewhere = left.rename(left.with_name(left.name.replace(atomic._MACHINE, "0" * 8)))
    (tmp_path / ".out.mine.tmp").mkdir()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {elsewhere.name, ".out.mine.tmp"}
    remove_leftovers(tmp_path / "nothing")


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(RuntimeError), atomic_dir(tmp_path / "out"):
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "file"):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and (tmp_path / "out" / "old").exists()


def test_finished_files_and_folders_have_the_usual_modes(tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain.txt").touch()
    with atomic_dir(tmp_path / "folder") as folder:
        shutil.rmtree(folder)
        folder.mkdir()
    with atomic_path(tmp_path / "file.txt") as file:
        file.touch(0o600)
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes["folder"] == modes["plain"] and modes["file.txt"] == modes["plain.txt"]

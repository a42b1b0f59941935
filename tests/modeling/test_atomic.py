"""What a killed process leaves beside its output, and what the next start does with it."""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from fourdthinker.modeling import atomic
from fourdthinker.modeling.atomic import atomic_dir, atomic_path, remove_leftovers, scratch_dir

# Each writes a part of its output, says so, and waits.
WRITERS = {
    "folder": "with atomic_dir(sys.argv[1]) as new: (new / 'half').write_text('half'); wait()",
    "file": "with atomic_path(sys.argv[1]) as new: new.write_text('half'); wait()",
    "scratch": "with scratch_dir('test') as new: (new / 'half').write_text('half'); wait()",
    # Killed after the old folder was moved away and before the new one took its place.
    "between renames": "atomic._RENAMEAT2 = None\n"
    "stock = os.replace\n"
    "def replace(old, new):\n"
    "    stock(old, new)\n"
    "    if str(old) == sys.argv[1]: wait()\n"
    "os.replace = replace\n"
    "with atomic_dir(sys.argv[1]) as new: (new / 'half').write_text('half')",
}
HEAD = """
import os, sys, time
from fourdthinker.modeling import atomic
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


READER = """
import os, sys
folder, seen = sys.argv[1], 0
print("reading", flush=True)
while not os.path.exists(folder + ".stop"):
    os.stat(folder)
    seen += 1
print(seen)
"""


def write_versions(target, name, count):
    for number in range(count):
        with atomic_dir(target) as new:
            for part in ("one", "two"):
                (new / part).write_text(f"{name} {number}")


@pytest.mark.skipif(atomic._RENAMEAT2 is None, reason="nothing changes places in one step here")
def test_a_reader_always_finds_a_folder_while_threads_replace_it(tmp_path):
    target = tmp_path / "out"
    write_versions(target, "first", 1)
    with subprocess.Popen([sys.executable, "-c", READER, str(target)], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "reading\n"
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda name: write_versions(target, name, 25), "abcd"))
        (tmp_path / "out.stop").touch()
        assert int(reader.stdout.read()) > 100
    assert reader.returncode == 0, "the reader met a moment with nothing there"
    parts = {(target / part).read_text() for part in ("one", "two")}
    assert len(parts) == 1 and parts.pop().endswith(" 24")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.stop"]


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_threads_that_write_one_folder_at_a_time_leave_one_whole(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(atomic, "_RENAMEAT2", None)
    for attempt in range(5):  # from nothing, where all would come first
        target = tmp_path / f"out{attempt}"
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda name, target=target: write_versions(target, name, 3), "abcd"))
        assert len({(target / part).read_text() for part in ("one", "two")}) == 1
    assert len(list(tmp_path.iterdir())) == 5


def test_threads_that_write_files_leave_whole_ones_with_usual_modes(tmp_path):
    def write(name):
        for number in range(10):
            with atomic_path(tmp_path / "file") as file:
                file.write_text(f"{name} {number} " * 1000)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, "abcd"))
    (tmp_path / "plain").touch()
    words = (tmp_path / "file").read_text().split()
    assert len(words) == 2000 and len(set(words)) == 2 and "9" in words
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "plain"]


@pytest.mark.parametrize("old", [False, True])
def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_end(tmp_path, monkeypatch, old):
    target, synced, sync = tmp_path / "out", [], os.fsync
    if old:
        write_versions(target, "old", 1)

    def record(handle):
        there = (target / "in" / "file").exists()
        synced.append((os.path.relpath(os.readlink(f"/proc/self/fd/{handle}"), tmp_path).partition("/")[2], there))
        sync(handle)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("open files have no names here")
    monkeypatch.setattr(atomic.os, "fsync", record)
    with atomic_dir(target) as new:
        (new / "in").mkdir()
        (new / "in" / "file").write_text("new")
        (new / "link").symlink_to("nowhere")
    before = [name for name, there in synced if not there]
    assert sorted(before) == ["out", "out/in", "out/in/file"] and synced[-1] == ("", True)
    synced.clear()
    with atomic_path(target / "in" / "file") as file:
        file.write_text("newer")
    assert len(synced) == 2 and synced[0][0].endswith("/file") and synced[1][0] == "in"


def test_a_folder_takes_the_place_of_a_file(tmp_path):
    (tmp_path / "out").write_text("file")
    write_versions(tmp_path / "out", "new", 1)
    assert (tmp_path / "out" / "one").read_text() == "new 0"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

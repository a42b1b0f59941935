"""`RayPool`: what workers of a Ray cluster do is what processes of this machine do, also when one of them is lost."""

import errno
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="clusters need the ray extra")
from fourdthinker.cli.main import main  # noqa: E402
from fourdthinker.dataset_builders.pipeline import ray_pool  # noqa: E402
from fourdthinker.dataset_builders.pipeline.ray_pool import RayPool  # noqa: E402
from fourdthinker.dataset_builders.pipeline.worker_pool import Ended, Made, WorkerPool  # noqa: E402
from fourdthinker.modeling.errors import InputError  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")]
WORK = """
import errno, os, signal, time


class Broken:
    def __init__(self, limits):
        raise ModuleNotFoundError("No module named 'cv2'")

    def look_around(self, source):
        pass


class Task:
    def __init__(self, kind, folder):
        self.kind, self.folder = kind, folder

    def run(self, report):
        report("begin")
        with open(os.path.join(self.folder, self.kind), "a") as file:
            file.write(f"{os.getppid()}\\n")
        if self.kind == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.kind == "leave":
            os._exit(7)
        if self.kind == "hang":
            time.sleep(600)
        if self.kind == "defect":
            raise KeyError("no such thing")
        if self.kind == "disk full":
            raise OSError(errno.ENOSPC, "No space left on device", "/tmp/frames")
        if self.kind == "kill host":
            time.sleep(1)  # what it has reported is on its way
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        if self.kind.startswith("wait"):
            time.sleep(3)
        report(None, self.kind)
        if self.kind == "made, then lost":
            time.sleep(1)
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
"""


@pytest.fixture(scope="module")
def make_task(tmp_path_factory):
    """A kind of task that workers import by name; and a cluster of this machine with two places."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "ray_work.py").write_text(WORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        task = __import__("ray_work").Task
        yield lambda kind, where: task(kind, str(where))
        ray.shutdown()
    sys.modules.pop("ray_work")


def run(pool, tasks):
    """What was made by each task, and how each ended."""
    waiting = iter(enumerate(tasks))
    made, ends = [], {}
    with pool:
        for event in pool.run(lambda: next(waiting, None)):
            if isinstance(event, Made):
                made.append(event.value)
            elif isinstance(event, Ended):
                assert tasks[event.task].kind not in ends, "each task ends once"
                ends[tasks[event.task].kind] = event.death
    return made, ends


def test_deaths_and_defects_are_those_of_local_workers(make_task, tmp_path):
    tasks = [make_task(kind, tmp_path) for kind in ("a", "crash", "b", "leave", "c", "defect", "d")]
    made, ends = run(RayPool(2, tmp_path), tasks)
    local_made, local_ends = run(WorkerPool(2), tasks)
    assert sorted(made) == sorted(local_made) == ["a", "b", "c", "d"] and ends == local_ends
    assert "SIGSEGV" in ends["crash"].reason and ends["defect"].code == "failed"


def test_a_task_that_hangs_is_ended_after_the_time_limit(make_task, tmp_path):
    made, ends = run(RayPool(1, tmp_path, time_limit=1.0), [make_task(kind, tmp_path) for kind in ("hang", "a")])
    assert made == ["a"] and ends["hang"].code == "timeout" and ends["hang"].step == "begin"


def test_a_full_disk_is_no_fault_of_the_clip(make_task, tmp_path):
    with pytest.raises(OSError, match="No space left") as caught:
        run(RayPool(1, tmp_path), [make_task("disk full", tmp_path)])
    assert caught.value.errno == errno.ENOSPC


def test_the_task_of_a_lost_worker_goes_to_another_and_is_made_once(make_task, tmp_path):
    def lose_one():
        while not (tmp_path / "wait 0").exists():
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(int((tmp_path / "wait 0").read_text()), signal.SIGKILL)

    threading.Thread(target=lose_one, daemon=True).start()
    made, ends = run(RayPool(2, tmp_path), [make_task(f"wait {number}", tmp_path) for number in range(4)])
    assert sorted(made) == ["wait 0", "wait 1", "wait 2", "wait 3"]
    assert list(ends.values()) == [None] * 4
    assert len((tmp_path / "wait 0").read_text().splitlines()) == 2


def test_a_task_that_always_loses_its_worker_is_blamed(make_task, tmp_path):
    made, ends = run(RayPool(1, tmp_path), [make_task(kind, tmp_path) for kind in ("kill host", "a")])
    assert made == ["a"] and ends["a"] is None
    assert (ends["kill host"].code, ends["kill host"].step) == ("crashed", "begin")
    assert len((tmp_path / "kill host").read_text().splitlines()) == 3


def test_what_was_handed_over_before_a_loss_counts(make_task, tmp_path):
    made, ends = run(RayPool(1, tmp_path), [make_task("made, then lost", tmp_path)])
    assert made == ["made, then lost"] and ends == {"made, then lost": None}


def test_more_workers_than_places_do_not_wait_for_ever(make_task, tmp_path, monkeypatch):
    made, _ = run(RayPool(4, tmp_path), [make_task(kind, tmp_path) for kind in "abcdef"])
    assert sorted(made) == list("abcdef")
    monkeypatch.setattr(ray_pool, "_START_LIMIT", 2.0)

    @ray.remote(num_cpus=2)
    class Occupant:
        def sit(self):
            return True

    occupant = Occupant.remote()
    ray.get(occupant.sit.remote())
    with pytest.raises(InputError, match="gave no worker in 2 s"):
        run(RayPool(1, tmp_path), [make_task("a", tmp_path)])
    ray.kill(occupant)


def test_workers_that_cannot_start_end_the_build_in_one_line(make_task, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_pool, "Host", sys.modules["ray_work"].Broken)
    with pytest.raises(InputError, match="3 Ray workers did not start, the last since .*No module named 'cv2'"):
        run(RayPool(1, tmp_path), [make_task("a", tmp_path)])


def test_machines_without_the_source_are_named(make_task, tmp_path):
    with pytest.raises(InputError, match="does not have the source at the same path"):
        run(RayPool(1, tmp_path / "gone"), [make_task("a", tmp_path)])


def test_a_wrong_address_ends_in_one_line(tmp_path, capsys, monkeypatch):
    pytest.importorskip("pycolmap", reason="rows of videos need the data extra")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"no video")
    command = ["build-data", "--source", str(tmp_path / "clips"), "--output", str(tmp_path / "data")]
    assert main([*command, "--address", "127.0.0.1:1"]) == 2
    assert "--address goes with --engine ray" in capsys.readouterr().err
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    assert main([*command, "--engine", "ray", "--address", "ray://127.0.0.1:1"]) == 2
    assert "--address takes HOST:PORT" in capsys.readouterr().err
    assert main([*command, "--engine", "ray", "--address", "127.0.0.1:1"]) == 2
    assert "no Ray cluster at 127.0.0.1:1 (" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*command, "--engine", "ray"]) == 2
    assert "ray is not installed: pip install" in capsys.readouterr().err


def descendants(name):
    """Processes that this one has started, of a title."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
    found = []
    for process, title in titles.items():
        ancestor = process
        while ancestor in parents and ancestor != os.getpid():
            ancestor = parents[ancestor]
        if ancestor == os.getpid() and title.startswith(name):
            found.append(process)
    return found


def test_a_build_of_two_workers_of_which_one_is_killed_is_the_local_build(tmp_path, make_task):
    for needed in ("pycolmap", "cv2", "pycocotools", "scenedetect"):
        pytest.importorskip(needed, reason="rows of videos need the data extra")
    from ...made_clips import film_still_camera

    clips = tmp_path / "clips"
    clips.mkdir()
    film_still_camera(clips / "still.mp4", seed=1)
    film_still_camera(clips / "mover.mp4", seed=2, step=8)
    (clips / "empty.mp4").touch()
    command = ["build-data", "--source", str(clips), "--output"]
    assert main([*command, str(tmp_path / "local")]) == 0
    killed = []

    def kill_one():
        limit = time.monotonic() + 300
        while time.monotonic() < limit and not killed:
            # A stage of one clip is done, the next ones are not.
            if list((tmp_path / "ray").rglob("poses.json")) and (working := descendants("ray::Host.work")):
                os.kill(working[0], signal.SIGKILL)
                killed.append(working[0])
            time.sleep(0.02)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    assert main([*command, str(tmp_path / "ray"), "--engine", "ray", "--workers", "2"]) == 0
    killer.join()
    assert killed, "a worker was at work when it was killed"
    local, far = (
        {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()}
        for output in (tmp_path / "local", tmp_path / "ray")
    )
    rows = {path for path in local if ".stages" not in path.parts}
    assert rows == {path for path in far if ".stages" not in path.parts}
    assert {path: far[path] for path in rows} == {path: local[path] for path in rows}
    for path in local.keys() - rows:
        if path.suffix == ".json" and path.name != "build.json":
            assert json.loads(far[path]) == json.loads(local[path]), "and so are the records"

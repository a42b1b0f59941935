"""`WorkerPool`: a task that crashes, hangs or fills the memory costs itself and nothing else."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from fourdthinker.dataset_builders.pipeline.worker_pool import MEMORY_LIMIT, Ended, Made, WorkerPool

WORK = """
import errno, os, signal, time, weakref

rings = weakref.WeakSet()


class Task:
    def __init__(self, kind):
        self.kind = kind

    def run(self, report):
        run(self.kind, report)


def run(task, report):
    report("begin")
    if task == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == "abort":
        os.abort()
    if task == "leave":
        os._exit(7)
    if task == "hang":
        time.sleep(600)
    if task == "memory":
        held = []
        while True:
            held.append(bytearray(b"x" * 2**22))
            time.sleep(0.001)
    if task == "defect":
        raise KeyError("no such thing")
    if task == "disk full":
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/frames")
    if task == "ring":
        ring = Task(task)
        ring.itself = ring
        rings.add(ring)
        report(None, (task, len(rings)))
        return
    report(None, (task, os.getpid()))
"""
PARENT = """
import sys
sys.path.insert(0, {folder!r})
from busy_work import Task
from fourdthinker.dataset_builders.pipeline.worker_pool import Made, WorkerPool

if __name__ == "__main__":
    tasks = iter([(0, Task("fine")), (1, Task("hang"))])
    with WorkerPool(1, 600) as pool:
        for event in pool.run(lambda: next(tasks, None)):
            if isinstance(event, Made):
                print(event.value[1], flush=True)
"""


@pytest.fixture
def make_task(tmp_path, monkeypatch):
    """A kind of task that worker processes import by name."""
    (tmp_path / "busy_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("busy_work").Task
    sys.modules.pop("busy_work")


def run(make_task, tasks, workers=2, time_limit=60.0, memory_limit=MEMORY_LIMIT):
    """What was made by each task, and how each ended."""
    waiting = iter([(number, make_task(kind)) for number, kind in enumerate(tasks)])
    made, ends = {}, {}
    with WorkerPool(workers, time_limit, memory_limit) as pool:
        for event in pool.run(lambda: next(waiting, None)):
            if isinstance(event, Made):
                made[tasks[event.task]] = event.value[0]
            elif isinstance(event, Ended):
                ends[tasks[event.task]] = event.death
    return made, ends


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_kills_its_worker_is_blamed_and_the_others_are_done(make_task, workers):
    tasks = ["a", "crash", "b", "leave", "c", "defect", "abort", "d"]
    made, ends = run(make_task, tasks, workers)
    assert made == {name: name for name in "abcd"}
    assert [ends[name] for name in "abcd"] == [None] * 4
    assert ends["crash"].code == ends["leave"].code == "crashed" and ends["crash"].step == "begin"
    assert "SIGSEGV" in ends["crash"].reason and "exit code 7" in ends["leave"].reason
    assert ends["abort"].code == "crashed" and "SIGABRT" in ends["abort"].reason
    assert ends["defect"].code == "failed" and "KeyError: 'no such thing' (busy_work.py, line" in ends["defect"].reason


def test_tasks_share_a_worker_that_lives_on(make_task):
    tasks = iter([(number, make_task(str(number))) for number in range(3)])
    with WorkerPool(1) as pool:
        events = [event for event in pool.run(lambda: next(tasks, None)) if isinstance(event, Made)]
    assert [event.value[0] for event in events] == ["0", "1", "2"]
    assert len({event.value[1] for event in events}) == 1 and events[0].value[1] != os.getpid()


def test_what_refers_to_itself_is_gone_before_the_next_task(make_task):
    """As frames of videos do, with all their pixels."""
    tasks = iter([(number, make_task("ring")) for number in range(3)])
    with WorkerPool(1) as pool:
        events = [event for event in pool.run(lambda: next(tasks, None)) if isinstance(event, Made)]
    assert [event.value for event in events] == [("ring", 1)] * 3


@pytest.mark.medium
def test_a_task_that_hangs_is_ended_after_the_time_limit(make_task):
    began = time.monotonic()
    made, ends = run(make_task, ["hang", "a"], workers=1, time_limit=1.0)
    assert ends["hang"].code == "timeout" and "1 s" in ends["hang"].reason
    assert made == {"a": "a"} and time.monotonic() - began < 60


@pytest.mark.skipif(sys.platform != "linux", reason="memory of other processes is read from /proc")
def test_a_task_that_fills_the_memory_is_ended(make_task):
    made, ends = run(make_task, ["memory", "a"], workers=1, memory_limit=300 * 2**20)
    assert ends["memory"].code == "memory" and "GiB" in ends["memory"].reason
    assert made == {"a": "a"}


def test_a_full_disk_is_no_fault_of_the_clip(make_task):
    with pytest.raises(OSError, match="No space left") as caught:
        run(make_task, ["disk full", "a"], workers=1)
    assert caught.value.errno == errno.ENOSPC


def test_an_interruption_ends_the_worker_and_what_it_does(make_task):
    # A shell's background jobs ignore Ctrl-C, and with them the tests that run in one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    tasks = iter([(0, make_task("hang"))])
    try:
        with pytest.raises(KeyboardInterrupt), WorkerPool(1) as pool:
            for _ in pool.run(lambda: next(tasks, None)):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "clip worker" not in {process.name for process in multiprocessing.active_children()}


@pytest.mark.medium
@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_workers_end_when_their_parent_is_killed(make_task, tmp_path):
    (tmp_path / "parent.py").write_text(PARENT.format(folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(300):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived the process that started it")

"""Processes that work through tasks, any of which may crash its process, hang it or fill the memory."""

import contextlib
import errno
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

TIME_LIMIT = 120.0  # seconds a step
MEMORY_LIMIT = 4 * 2**30  # bytes a worker
_POLL_SECONDS = 0.5  # how often time and memory are looked at
_READY = "ready"
# What a full or read-only disk raises: no fault of a clip.
_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Started(NamedTuple):
    """A task has begun a step of this name, to which the time limit applies."""

    task: int
    step: str


class Made(NamedTuple):
    """A task has made something."""

    task: int
    value: Any


class Ended(NamedTuple):
    """A task has come to its end; `death` says how, if not by itself."""

    task: int
    death: "Death | None" = None


class Death(NamedTuple):
    """Why a task did not end by itself: a code of [`ClipError`], and the step during which it happened."""

    code: str
    step: str
    reason: str


class StartError(RuntimeError):
    """A worker process did not start."""


class Task(Protocol):
    """What a worker does: an object that can be pickled."""

    def run(self, report: Callable[..., None]) -> None:
        """Do it; `report(step)` begins a step, `report(None, value)` hands over something made."""
        ...


class WorkerPool:
    """Worker processes for tasks that may kill them. Use it as a context manager.

    A worker that dies, exceeds the time limit in one step, or exceeds the memory limit ends its task and nothing else:
    another worker takes its place. Workers end when the process that started them does, however that ends.

    Args:
        workers (`int`): How many processes.
        time_limit (`float`, *optional*, defaults to 120): Seconds that one step may take.
        memory_limit (`int`, *optional*, defaults to 4 GiB): Bytes of memory that a worker may hold (Linux).
    """

    def __init__(self, workers: int, time_limit: float = TIME_LIMIT, memory_limit: int = MEMORY_LIMIT):
        self._time_limit, self._memory_limit = time_limit, memory_limit
        self._workers: list[_Worker | None] = [None] * workers

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info) -> None:
        for worker in self._workers:
            if worker is not None:
                worker.kill()
        self._workers = [None] * len(self._workers)

    def run(self, next_task: Callable[[], tuple[int, Task] | None]) -> Iterator[Started | Made | Ended]:
        """Work through tasks, in the order in which workers finish.

        Args:
            next_task (`Callable`): Gives a number and a task whenever a worker is free, `None` if there is none now;
                it is asked again when another task has ended.

        Yields:
            [`Started`], [`Made`] and, once for each task, [`Ended`].
        """
        poll = min(_POLL_SECONDS, self._time_limit)
        while True:
            self._hand_out(next_task)
            busy = [worker for worker in self._workers if worker is not None and worker.task is not None]
            if not busy:
                return
            ready = connection.wait([worker.pipe for worker in busy], timeout=poll)
            for worker in busy:
                yield from worker.receive() if worker.pipe in ready else ()
                if worker.task is not None and (death := worker.limit_exceeded(self._time_limit, self._memory_limit)):
                    task = worker.task
                    worker.kill()
                    yield Ended(task, death)
            self._workers = [None if worker is None or worker.is_dead else worker for worker in self._workers]

    def _hand_out(self, next_task: Callable[[], tuple[int, Task] | None]) -> None:
        for place, worker in enumerate(self._workers):
            if worker is not None and worker.task is not None:
                continue
            item = next_task()
            if item is None:
                return
            if worker is None:
                worker = self._workers[place] = _Worker()
            worker.give(*item)


class _Worker:
    """One process and the task that it is at."""

    def __init__(self) -> None:
        # Spawned, not forked: a fork of a process with threads (decoders, torch) can deadlock.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs,), name="clip worker")
        self._process.start()
        theirs.close()  # or the pipe would stay open after the worker's death
        self.task: int | None = None
        self._step, self._began = "", 0.0
        self.is_dead = False
        try:
            self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            self.kill()
            raise StartError("a worker process did not start; its message is above") from error

    def give(self, number: int, task: Any) -> None:
        self.task, self._step, self._began = number, "", time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # it died between two tasks: noticed when its answer is read
            self.pipe.send(task)

    def receive(self) -> Iterator[Started | Made | Ended]:
        """What the worker has sent, and its death."""
        assert self.task is not None
        task = self.task
        try:
            kind, value = self.pipe.recv()
        except (EOFError, ConnectionError):
            death = Death("crashed", self._step, self._cause_of_death())
            self.kill()
            yield Ended(task, death)
            return
        if kind == "step":
            self._step, self._began = value, time.monotonic()
            yield Started(task, value)
        elif kind == "made":
            self._began = time.monotonic()  # the step is over, however long it took
            yield Made(task, value)
        elif kind == "error":
            raise value
        else:
            self.task = None
            yield Ended(task, Death(value[0], self._step, value[1]) if value else None)

    def limit_exceeded(self, time_limit: float, memory_limit: int) -> Death | None:
        """Which limit the current step exceeds."""
        if time.monotonic() - self._began > time_limit:
            return Death("timeout", self._step, f"took more than {time_limit:g} s")
        if (held := _memory_of(self._process.pid)) > memory_limit:
            return Death(
                "memory", self._step, f"held {held / 2**30:.1f} GiB of memory, {memory_limit / 2**30:.1f} allowed"
            )
        return None

    def kill(self) -> None:
        """End the process and what it has started."""
        self.task, self.is_dead = None, True
        pid = self._process.pid
        if pid is not None and hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _cause_of_death(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the process ended with {name}"


def _memory_of(pid: int | None) -> int:
    """Resident bytes of a process; 0 where that cannot be known."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _serve(pipe: connection.Connection) -> None:
    """Work on what comes through the pipe until it is closed (the worker's main function)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # so that what this process starts ends with it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Native code prints about damaged files; what matters goes through the pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no dump of gigabytes
    pipe.send(_READY)

    def report(step: str | None, value: Any = None) -> None:
        pipe.send(("step", step) if step is not None else ("made", value))

    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            task.run(report)
            end = ("ended", None)
        except MemoryError:
            end = ("ended", ("memory", "no memory was left"))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _NO_PLACE:
                pipe.send(("error", error))
                continue
            where = traceback.extract_tb(error.__traceback__)[-1]
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            end = ("ended", ("failed", f"{line} ({Path(where.filename).name}, line {where.lineno})"))
        pipe.send(end)
        # A frame of PyAV whose side data was read refers to itself, and megabytes of pixels are too few objects for
        # Python to look for such cycles by itself.
        gc.collect()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    connection.wait([parent.sentinel])
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)

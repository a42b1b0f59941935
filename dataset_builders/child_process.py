"""Native code in a child process, so that a clip on which it crashes or hangs costs that clip and nothing else."""

import multiprocessing
import os
import resource
import signal
import traceback
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, Self

from ..modeling.errors import InputError
from .clip_error import ClipError

TIME_LIMIT = 120.0  # seconds a call
MEMORY_LIMIT = 4 << 30  # bytes
_MEMORY_MARGIN = 128 << 20  # a frame of 8K and what goes with it
_READY = "ready"


class _Child(NamedTuple):
    process: BaseProcess
    connection: Connection


class ChildProcess:
    """A child process that calls functions, one after another, so that its imports are paid once.

    It starts with the first call, and anew with the next one after a crash or a timeout. Use it as a context manager,
    or call [`close`].

    Args:
        name (`str`): What the child does, for messages (`decoder`).
        time_limit (`float`, *optional*, defaults to 120): Seconds that one call may take.
        memory_limit (`int`, *optional*, defaults to 4 GiB): Bytes of address space that calls may take above what the
            child has when it starts; `None` sets no limit.
        modules (`tuple[str, ...]`, *optional*): What the child imports before that.
    """

    def __init__(
        self,
        name: str,
        time_limit: float = TIME_LIMIT,
        memory_limit: int | None = MEMORY_LIMIT,
        modules: tuple[str, ...] = (),
    ):
        self.name, self.time_limit, self.memory_limit, self.modules = name, time_limit, memory_limit, modules
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child; `None` while there is none."""
        return self._child.process.pid if self._child else None

    def call(self, function: Callable, *args: Any) -> Any:
        """What `function(*args)` gives; function, arguments and result are pickled.

        Raises:
            ClipError: `crashed`, `timeout` or `memory`.
            Exception: What the function raises.
        """
        if self._child is None or not self._child.process.is_alive():
            self.close()
            self._child = self._start()
        connection = self._child.connection
        try:
            connection.send((function, args))
            if not connection.poll(self.time_limit):
                raise ClipError(
                    "timeout",
                    f"the {self.name} took more than {self.time_limit:g} s",
                    "raise --time-limit, or leave the clip out",
                )
            result = connection.recv()
        except (EOFError, ConnectionError) as error:
            reason = f"the {self.name} crashed ({self._cause_of_death()})"
            raise ClipError("crashed", reason, "convert the clip with ffmpeg, or leave it out") from error
        except BaseException:
            self.close()  # after a timeout or Ctrl-C: an answer that comes later belongs to no call
            raise
        if isinstance(result, MemoryError):
            self.close()  # what it holds is unknown
            remedy = "scale the clip down, or leave it out"
            raise ClipError("memory", f"the {self.name} needed more memory than it may take", remedy) from result
        if isinstance(result, Exception):
            raise result
        return result[0]

    def close(self) -> None:
        """End the child, whatever it is doing."""
        if self._child is not None:
            self._child.process.kill()
            self._child.process.join()
            self._child.connection.close()
            self._child = None

    def _cause_of_death(self) -> str:
        assert self._child is not None
        process = self._child.process
        process.join()
        code = process.exitcode or 0
        self.close()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _start(self) -> _Child:
        # Spawned, not forked: a fork of a process with threads (decoders, torch) can deadlock.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self.memory_limit, self.modules)
        process = context.Process(target=_serve, args=arguments, name=self.name, daemon=True)
        process.start()
        theirs.close()  # or the pipe would stay open after the child's death
        try:
            ours.recv()
        except (EOFError, ConnectionError) as error:
            process.join()
            raise RuntimeError(f"the child process ({self.name}) did not start; its message is above") from error
        return _Child(process, ours)


def _serve(connection: Connection, memory_limit: int | None, modules: tuple[str, ...]) -> None:
    """Call what comes through the pipe until it is closed (the child's main function)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    for module in modules:
        import_module(module)
    _limit_memory(memory_limit)
    connection.send(_READY)
    # Results and errors go through the pipe; what native code prints when it crashes tells users nothing.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            function, args = connection.recv()
        except EOFError:
            return
        try:
            connection.send((function(*args),))
        except Exception as error:
            if not isinstance(error, InputError):
                error.add_note(f"in a child process:\n{traceback.format_exc()}")
            connection.send(error)


def _limit_memory(limit: int | None) -> None:
    if limit is not None and (taken := _read_status("VmSize")):
        resource.setrlimit(resource.RLIMIT_AS, (taken + limit, taken + limit))


def memory_ran_out() -> bool:
    """Whether this process has come close to its memory limit: libraries report failed allocations as other errors."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return limit != resource.RLIM_INFINITY and _read_status("VmPeak") > limit - _MEMORY_MARGIN


def _read_status(name: str) -> int:
    """Bytes by one line of the process's status; 0 where there is none, as outside of Linux."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

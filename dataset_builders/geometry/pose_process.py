"""Run COLMAP in a child process, so that a crash or a hang costs one clip only."""

import multiprocessing
import os
import signal
import traceback
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple, Self

from ..clip_error import ClipError
from .structure_from_motion import SolvedPath, solve_paths

TIME_LIMIT = 300.0  # seconds a clip; 24 frames take about 10 on one core
_READY = "ready"


class _Child(NamedTuple):
    process: BaseProcess
    connection: Connection


class PoseProcess:
    """A child process that solves for poses, clip after clip, so that its imports are paid once.

    It starts with the first clip, and anew with the next one after a crash or a timeout. Use it as a context manager,
    or call [`close`]. Native code can end a process in ways that no `except` catches: COLMAP's bundle adjustment
    segfaults on some clips.

    Args:
        time_limit (`float`, *optional*, defaults to 300): Seconds that one clip may take.
    """

    def __init__(self, time_limit: float = TIME_LIMIT):
        self.time_limit = time_limit
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child; `None` while there is none."""
        return self._child.process.pid if self._child else None

    def solve(self, folder: Path, count: int, seed: int = 0, num_threads: int = 1) -> list[SolvedPath]:
        """What [`structure_from_motion.solve_paths`] gives for the same arguments, bit for bit.

        Raises:
            ClipError: If that raises it, or the child crashes or exceeds the time limit.
        """
        if self._child is None or not self._child.process.is_alive():
            self.close()
            self._child = _start()
        connection = self._child.connection
        try:
            connection.send((folder, count, seed, num_threads))
            if not connection.poll(self.time_limit):
                self.close()
                raise ClipError(
                    "timeout", f"the pose solver took more than {self.time_limit:g} s", "allow it more time"
                )
            result = connection.recv()
        except (EOFError, ConnectionError) as error:
            reason = f"the pose solver crashed ({self._cause_of_death()})"
            raise ClipError("crashed", reason, "pick another seed or clip") from error
        if isinstance(result, Exception):
            raise result
        return result

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


def _start() -> _Child:
    # Spawned, not forked: a fork of a process with threads (decoders, torch) can deadlock.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), name="poses", daemon=True)
    process.start()
    theirs.close()  # or the pipe would stay open after the child's death
    try:
        ours.recv()
    except (EOFError, ConnectionError) as error:
        process.join()
        raise RuntimeError("the process for camera poses did not start; its message is above") from error
    return _Child(process, ours)


def _serve(connection: Connection) -> None:
    """Solve what comes through the pipe until it is closed (the child's main function)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    connection.send(_READY)
    # Results and errors go through the pipe; what native code prints when it crashes is of no use to users.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send(solve_paths(*arguments))
        except Exception as error:
            if not isinstance(error, ClipError):
                error.add_note(f"in the process for camera poses:\n{traceback.format_exc()}")
            connection.send(error)

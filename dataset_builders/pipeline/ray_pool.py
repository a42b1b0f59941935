"""Workers on the machines of a Ray cluster, in place of processes of this machine."""

import os
import platform
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ...modeling.errors import InputError, first_line
from .worker_pool import MEMORY_LIMIT, TIME_LIMIT, Death, Ended, Made, Started, Task, WorkerPool

if TYPE_CHECKING:
    from ray import ObjectRef

_POLL_SECONDS = 1.0
_START_LIMIT = 600.0  # seconds in which the first worker must have started: clusters may have to grow
_LOSSES = 3  # workers that a task may lose before it is blamed
_CONNECT_SECONDS, _MAX_PORT = 10.0, 65535
_FIND_CLUSTER = "check --address, or start a cluster with `ray start --head`"
_GPU_NAME = "GPU"
_PACKAGE = "fourdthinker"


class RayPool:
    """Worker processes on the machines of a Ray cluster, with the interface of [`WorkerPool`].

    Each worker is an actor that holds one process of a [`WorkerPool`], which keeps what it has loaded and may crash,
    hang or fill the memory as there. Results travel to this process, which alone writes files, so a task that is done
    twice is kept once. A task whose worker is lost with its machine goes to another one.

    Ray is started, or connected to, when there is a first task.

    Args:
        workers (`int`): How many.
        source (`Path`): What must lie at the same path on every machine.
        time_limit (`float`, *optional*, defaults to 120): Seconds that one step may take.
        memory_limit (`int`, *optional*, defaults to 4 GiB): Bytes of memory that a worker may hold (Linux).
        address (`str`, *optional*): Of the cluster; by default `RAY_ADDRESS`, or a cluster of this machine alone that
            ends with the build.
        needs_gpu (`bool`, *optional*): Whether each worker takes a GPU where the cluster has some.

    Raises:
        InputError: If the cluster cannot be reached, gives no worker, or its machines do not have the same version of
            this package or the source.
    """

    def __init__(
        self,
        workers: int,
        source: Path,
        time_limit: float = TIME_LIMIT,
        memory_limit: int = MEMORY_LIMIT,
        address: str | None = None,
        needs_gpu: bool = False,
    ):
        self._limits, self._source = (time_limit, memory_limit), source.absolute()
        self._address, self._needs_gpu = address or os.environ.get("RAY_ADDRESS"), needs_gpu
        self._actors: list[_Actor | None] = [None] * workers
        self._connected = self._owns_ray = False
        self._starting_since: float | None = None
        self._failed_starts = 0

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._actors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info) -> None:
        for actor in self._actors:
            if actor is not None:
                actor.kill()
        self._actors = [None] * len(self._actors)
        if self._owns_ray:
            import ray

            ray.shutdown()

    def run(self, next_task: Callable[[], tuple[int, Task] | None]) -> Iterator[Started | Made | Ended]:
        """Work through tasks, in the order in which workers finish.

        Args:
            next_task (`Callable`): As of [`WorkerPool.run`].

        Yields:
            [`Started`], [`Made`] and, once for each task, [`Ended`].
        """
        waiting: deque[tuple[int, Task]] = deque()  # lost ones, and the next
        losses: Counter[int] = Counter()
        while True:
            while waiting or (item := next_task()) is not None:
                if not waiting:
                    waiting.append(item)
                actor = self._free_actor()
                if actor is None:
                    break
                actor.give(*waiting.popleft())
            busy = [actor for actor in self._actors if actor is not None and actor.task is not None]
            if not busy and not waiting:
                return
            for actor in self._wait():
                number, task = actor.number, actor.task
                yield from actor.receive()
                self._failed_starts = 0 if actor.is_ready else self._failed_starts + actor.is_lost
                if self._failed_starts == _LOSSES:
                    raise InputError(f"{_LOSSES} Ray workers did not start, the last since {actor.reason}")
                if not actor.is_lost or task is None:
                    continue
                if actor.has_made:  # what is left of it is asked for again by who gave it
                    yield Ended(number)
                elif losses[number] + 1 == _LOSSES:
                    yield Ended(number, Death("crashed", actor.step, f"{_LOSSES} Ray workers were lost on it"))
                else:
                    losses[number] += 1
                    waiting.appendleft((number, task))
            self._actors = [None if actor is None or actor.is_lost else actor for actor in self._actors]

    def _free_actor(self) -> "_Actor | None":
        """A worker that has started and has no task. Those that are missing are started."""
        if not self._connected:
            self._connect()
        for place, actor in enumerate(self._actors):
            if actor is None:
                self._actors[place] = _Actor(self._limits, self._gpus(), self._source)
        return next((actor for actor in self._actors if actor is not None and actor.is_free), None)

    def _wait(self) -> "list[_Actor]":
        """The workers that have started, sent something or been lost; none after a while."""
        import ray

        actors = {actor.expected: actor for actor in self._actors if actor is not None and actor.expected is not None}
        if any(actor.is_ready for actor in actors.values()):
            self._starting_since = None
        elif self._starting_since is None:
            self._starting_since = time.monotonic()
        elif time.monotonic() - self._starting_since > _START_LIMIT:
            raise InputError(f"the Ray cluster gave no worker in {_START_LIMIT:g} s: give it CPUs, or fewer --workers")
        ready, _ = ray.wait(list(actors), num_returns=1, timeout=_POLL_SECONDS)
        return [actors[one] for one in ready]

    def _connect(self) -> None:
        import ray

        self._connected = ray.is_initialized()
        if self._connected:  # by the program that builds
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
        if self._address is None:
            # A CPU is a place for a worker here: two cores may be given to eight of them.
            ray.init(address="local", num_cpus=self.size, **quiet)
        else:
            _check_address(self._address)
            try:
                ray.init(address=self._address, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise InputError(
                    f"no Ray cluster at {self._address} ({first_line(error)}): {_FIND_CLUSTER}"
                ) from error
        self._connected = self._owns_ray = True

    def _gpus(self) -> int:
        import ray

        return int(self._needs_gpu and ray.cluster_resources().get(_GPU_NAME, 0) >= 1)


def _check_address(address: str) -> None:
    """See that something listens there: Ray itself tries for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if "//" in address or not host or not port.isdecimal() or int(port) > _MAX_PORT:
        raise InputError("--address takes HOST:PORT of the cluster's head: run the command on one of its machines")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise InputError(f"no Ray cluster at {address} ({first_line(error)}): {_FIND_CLUSTER}") from error


class Host:
    """What runs in an actor: one worker process and what it sends."""

    def __init__(self, limits: tuple[float, int]):
        self._pool = WorkerPool(1, *limits)

    def look_around(self, source: Path) -> tuple[str, str, bool]:
        """Name of the machine, version of this package there, and whether the source is to be seen."""
        return platform.node(), installed_version(_PACKAGE), source.exists()

    def work(self, task: Task) -> Iterator[Started | Made | Ended]:
        """Do a task."""
        tasks = iter([(0, task)])
        yield from self._pool.run(lambda: next(tasks, None))


class _Actor:
    """An actor and the task that it is at."""

    def __init__(self, limits: tuple[float, int], gpus: int, source: Path):
        import ray

        # Not restarted by Ray: another one takes its place, on a machine that is there.
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        self._actor = ray.remote(Host).options(**options).remote(limits)
        # What is waited for: first that it starts, then what its task sends.
        self.expected: ObjectRef | Any | None = self._actor.look_around.remote(source)
        self.is_ready = self.is_lost = self.has_made = False
        self.number, self.step, self.reason = 0, "", ""
        self.task: Task | None = None

    @property
    def is_free(self) -> bool:
        """Whether it can take a task."""
        return self.is_ready and not self.is_lost and self.task is None

    def give(self, number: int, task: Task) -> None:
        self.number, self.task, self.step, self.has_made = number, task, "", False
        self.expected = self._actor.work.options(num_returns="streaming").remote(task)

    def receive(self) -> Iterator[Started | Made | Ended]:
        """What it has sent, if anything."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        try:
            if not self.is_ready:
                self._check(*ray.get(self.expected))
                return
            event = ray.get(next(self.expected))
        except RayTaskError as error:  # no place on a disk, or a package that is missing there
            if isinstance(error.cause, OSError):
                raise error.cause from error
            raise InputError(f"a Ray worker failed: {_last_line(error)}") from error
        except RayActorError as error:
            self.reason = _last_line(error)
            self.kill()
            return
        if isinstance(event, Started):
            self.step = event.step
        elif isinstance(event, Made):
            self.has_made = True
        else:
            self.task, self.expected = None, None
        yield event._replace(task=self.number)

    def kill(self) -> None:
        import ray

        self.is_lost, self.expected = True, None
        ray.kill(self._actor)

    def _check(self, machine: str, version: str, sees_source: bool) -> None:
        if version != (here := installed_version(_PACKAGE)):
            raise InputError(f"{_PACKAGE} is {version} on {machine} and {here} here: install the same everywhere")
        if not sees_source:
            raise InputError(
                f"{machine} does not have the source at the same path: put it on a disk that all machines share"
            )
        self.is_ready, self.expected = True, None


def _last_line(error: Exception) -> str:
    """What a remote traceback ends with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

"""Serve an app by uvicorn, and stop without cutting answers off."""

import asyncio
import contextlib
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...modeling.errors import InputError
from .engine import Engine

_LAST_SECONDS = 3  # for the last bytes to get out
_HEAD_SECONDS = 20  # for the head of a request


class GracefulServer(uvicorn.Server):
    """A server that, when told to stop, turns new requests away and lets running answers end.

    Args:
        app (`FastAPI`): Of [`create_app`].
        engine ([`Engine`]): Whose answers are waited for.
        grace (`float`): Seconds for them; a second signal ends them at once.
    """

    def __init__(self, app: FastAPI, engine: Engine, grace: float):
        super().__init__(_configure(app))
        self._engine, self._grace = engine, grace
        self._close_page: Callable[[], object] = getattr(app.state, "close_page", lambda: None)
        self._end: float | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals while serving; unlike uvicorn's own, does not raise them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in previous.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop; at the second signal stop."""
        now = monotonic()
        self._end = now + self._grace if self._end is None else now

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to end."""
        if self._end is None:
            return await super().on_tick(counter)
        if not self._engine.stopping:
            self._engine.stop()
        if self._engine.running and monotonic() < self._end:
            return False
        self._engine.close()
        self._close_page()
        return True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; clients that connect wait until the app is served.

    Args:
        host (`str`): Address or name of an interface.
        port (`int`): Port, or 0 for any.

    Raises:
        InputError: If there is no such interface, or the port is in use.
    """
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listening = socket.socket(family)
    except OSError as error:
        raise InputError(f"--host {host} is no address of this machine ({error.strerror})") from error
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise InputError(f"{host} port {port} cannot be used ({error.strerror}); name another with --port") from error
    return listening


def serve(app: FastAPI, engine: Engine, listening: socket.socket, grace: float) -> None:
    """Serve until SIGINT or SIGTERM; running answers then have `grace` seconds.

    Args:
        app (`FastAPI`): Of [`create_app`].
        engine ([`Engine`]): Of the app; it is closed in the end.
        listening (`socket.socket`): Of [`listen`].
        grace (`float`): Seconds.
    """
    _allow_many_connections()
    try:
        GracefulServer(app, engine, grace).run(sockets=[listening])
    finally:
        engine.close()


def _configure(app: FastAPI) -> uvicorn.Config:
    """The settings of the server for an app."""
    return uvicorn.Config(
        app,
        http=_TimedProtocol,
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )


class _TimedProtocol(H11Protocol):
    """Ends a connection that begins a request and does not send its whole head in time, the first or a later one.

    Between requests uvicorn's own limit holds, which ends with the first byte.
    """

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(transport)
        self._time_head()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        super().data_received(data)
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._stop_limit()

    def _time_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:  # the head is there
            self._stop_limit()
        elif self._limit is None:
            self._limit = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _stop_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def _allow_many_connections() -> None:
    """Raise the number of open files, which each connection counts to, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

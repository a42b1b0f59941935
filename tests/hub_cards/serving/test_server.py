"""Connections as the server takes them, without a model: who sends too slowly, and from which page."""

import http.client
import socket
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")
import uvicorn

from fourdthinker.hub_cards.serving import server as serving
from fourdthinker.hub_cards.serving.app import create_app
from fourdthinker.hub_cards.serving.settings import Limits

HEAD = b"GET /health HTTP/1.1\r\nhost: localhost\r\n"


class IdleEngine:
    """What `/health` asks of an engine."""

    limits, stopping, running, waiting = Limits(), False, 0, 0


@contextmanager
def run_app(app):
    """Serve an app with our settings; yields the port."""
    with serving.listen("127.0.0.1", 0) as listening:
        running = uvicorn.Server(serving._configure(app))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            running.should_exit = True
            thread.join()


def read_answer(connection):
    """One answer with its body of JSON."""
    received = b""
    while not received.endswith(b"}"):
        piece = connection.recv(4096)
        assert piece, received
        received += piece
    return received


def read_to_end(connection):
    """All that comes until the server closes."""
    received = b""
    while piece := connection.recv(4096):
        received += piece
    return received


@pytest.mark.medium
@pytest.mark.parametrize("earlier", [0, 1], ids=["first", "kept alive"])
def test_a_head_that_is_never_whole_ends_the_connection(monkeypatch, earlier):
    monkeypatch.setattr(serving, "_HEAD_SECONDS", 0.5)
    with run_app(create_app(IdleEngine(), "tiny")) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            for _ in range(earlier):
                connection.sendall(HEAD + b"\r\n")
                assert read_answer(connection).startswith(b"HTTP/1.1 200")
            started = time.monotonic()
            connection.sendall(HEAD[:9])
            assert b"200 OK" not in read_to_end(connection)
            assert 0.3 < time.monotonic() - started < 15


@pytest.mark.medium
def test_a_connection_with_whole_heads_stays(monkeypatch):
    """Longer than a head may take, and after a head that came in two pieces."""
    monkeypatch.setattr(serving, "_HEAD_SECONDS", 3)
    with run_app(create_app(IdleEngine(), "tiny")) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            for _ in range(4):
                connection.sendall(HEAD)
                time.sleep(0.9)
                connection.sendall(b"\r\n")
                assert read_answer(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.medium
@pytest.mark.parametrize(
    "origin,key,status",
    [
        (None, None, 200),
        ("http://MACHINE:1234", None, 200),
        ("http://machine", None, 400),
        ("https://evil.example", None, 400),
        ("null", None, 400),
        ("https://evil.example", "secret", 200),
    ],
)
def test_without_a_key_only_its_own_pages_call_a_server_of_any_name(origin, key, status):
    headers = {"host": "machine:1234", **({"origin": origin} if origin else {})}
    with run_app(create_app(IdleEngine(), "tiny", key, hosts=None)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/health", headers=headers)
        assert connection.getresponse().status == status

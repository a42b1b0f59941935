"""Rerun's own web viewer and one recording, served on this machine alone, with nothing sent elsewhere."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

from ...modeling.errors import InputError

HOST = "127.0.0.1"
RECORDING = "/clip.rrd"
# The viewer sends statistics about its use from the browser, which no setting of a server turns off, and takes a font
# from elsewhere. With this policy the browser connects to nothing but this server.
POLICY = "; ".join(
    [
        "default-src 'self' 'unsafe-inline' data: blob:",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob:",
        "connect-src 'self' data: blob:",
        "frame-ancestors 'none'",
    ]
)
_FILES = {
    "/": "text/html; charset=utf-8",
    "/re_viewer.js": "text/javascript",
    "/re_viewer_bg.wasm": "application/wasm",
    "/favicon.ico": "image/x-icon",
}
_START_SECONDS = 30.0


def viewer_files() -> dict[str, bytes]:
    """The files of the web viewer that rerun ships inside its program.

    The program is asked for them over the loopback interface, with its own statistics turned off, and ended.

    Raises:
        InputError: If it does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        page, data = _free_port(), _free_port()
        command = [sys.executable, "-m", "rerun_cli", "--serve-web", "--bind", HOST]
        command += ["--port", str(data), "--web-viewer-port", str(page)]
        with open(Path(folder) / "log", "w+", encoding="utf-8") as log:
            process = subprocess.Popen(
                command, env=_without_statistics(Path(folder)), stdout=log, stderr=log, start_new_session=True
            )
            try:
                return _fetch(f"http://{HOST}:{page}", process)
            except TimeoutError as error:
                log.seek(0)
                last = (log.read().strip().splitlines() or ["it printed nothing"])[-1]
                raise InputError(f"rerun's web viewer did not start ({last}); try `python -m rerun_cli`") from error
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait()


class ViewerServer(ThreadingHTTPServer):
    """Serves the web viewer and one recording to browsers of this machine.

    Args:
        recording (`Path`): The `.rrd` file.
        files (`Mapping[str, bytes]`): Of [`viewer_files`].
        port (`int`): Port on the loopback interface; 0 takes a free one.

    Raises:
        InputError: If the port is in use.
    """

    daemon_threads = True

    def __init__(self, recording: Path, files: Mapping[str, bytes], port: int):
        self.recording, self.files = recording, files
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error.strerror}); name another with --port") from error

    @property
    def url(self) -> str:
        """Where a browser finds the recording."""
        place = f"http://{HOST}:{self.server_port}"
        return f"{place}/?url={quote(place + RECORDING, safe='')}"


class _Handler(BaseHTTPRequestHandler):
    server: ViewerServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait 40 ms

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        if self.headers.get("Host") not in (
            f"{HOST}:{self.server.server_port}",
            f"localhost:{self.server.server_port}",
        ):
            self.send_error(HTTPStatus.FORBIDDEN)  # a page from elsewhere whose name leads here
        elif path == RECORDING:
            self._send(self.server.recording.read_bytes(), "application/octet-stream")
        elif path == "/" and "?" not in self.path:
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", self.server.url)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path in self.server.files:
            self._send(self.server.files[path], _FILES[path])
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a line for each request helps nobody."""


def _without_statistics(folder: Path) -> dict[str, str]:
    """An environment in which rerun reads a configuration of ours, which turns its statistics off."""
    settings = folder / "rerun" / "analytics.json"
    settings.parent.mkdir()
    text = {"analytics_enabled": False, "analytics_id": "", "metadata": {}}
    text |= {"config_file_path": str(settings), "data_dir_path": str(folder / "statistics")}
    settings.write_text(json.dumps(text), encoding="utf-8")
    return {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}


def _fetch(place: str, process: subprocess.Popen) -> dict[str, bytes]:
    opener = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return {name: opener.open(place + name, timeout=_START_SECONDS).read() for name in _FILES}
        except (URLError, ConnectionError) as error:
            if time.monotonic() > deadline or process.poll() is not None:
                raise TimeoutError(str(error)) from error
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]

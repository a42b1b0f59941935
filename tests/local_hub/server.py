"""The local Hub's server: connections, tokens, and faults on demand."""

import json
import re
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .repository import Repository
from .routes import HubError, Routes

# A status, one of "drop", "lost", "cut", "slow" and "corrupt", or a function that is called as the request comes in
# and gives one of them or `None`.
Fault = int | str | Callable[[], Any]


class LocalHub:
    """A Hub in a thread of this process.

    Args:
        tokens (`dict`, *optional*): `"write"` or `"read"` for each token; by default of `hf_write` and
            `hf_read`.
        user (`str`): Whose tokens they are.
        page (`int`): Entries on one page of a listing.
    """

    def __init__(self, tokens: dict[str, str] | None = None, user: str = "me", page: int = 1000):
        self.tokens = {"hf_write": "write", "hf_read": "read"} if tokens is None else tokens
        self.user, self.page = user, page
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, int]] = []
        self.received: list[str] = []  # hashes of the large files that came, one for each time
        self.lock = threading.RLock()
        self._faults: list[dict] = []

    def start(self, port: int = 0) -> "LocalHub":
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        # By another name, as clients follow a redirect on the same host before they have read its headers.
        self.store_url = self.url.replace("127.0.0.1", "localhost")
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path | str, token: str | None = "hf_write") -> dict[str, str]:
        """Variables with which a client process sees this Hub and no other.

        Args:
            home (`Path`): Where it keeps its cache.
            token (`str`, *optional*): Who it is; `None` for nobody.
        """
        values = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        values |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0", "HF_DATASETS_OFFLINE": "0"}
        values |= {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}
        return values | ({"HF_TOKEN": token} if token else {"HF_TOKEN": "", "HF_TOKEN_PATH": "/nonexistent"})

    def repo(self, kind: str, name: str) -> Repository:
        return self.repositories[kind, name]

    def fail(self, method: str, path: str, how: Fault = "drop", times: int = 1, after: int = 0) -> None:
        """Break the next `times` requests whose path matches, after letting `after` of them pass.

        Args:
            method (`str`): `"GET"`, ..., or `"ANY"`.
            path (`str`): A regular expression.
            how (`int`, `str` or `Callable`): A status; `"drop"`: the connection is closed and nothing is done;
                `"lost"`: it is done, and the connection closed before the answer; `"cut"`: half of the answer's body;
                `"slow"`: three seconds later; `"corrupt"`: a byte of the answer changed; or what a function returns.
        """
        with self.lock:
            self._faults.append({"method": method, "path": path, "how": how, "times": times, "after": after})

    def fail_request(self, number: int, how: Fault = "drop") -> None:
        """Break the request of this number, from 1, counted from now."""
        self.fail("ANY", "", how, after=number - 1)

    def heal(self) -> None:
        """Forget the faults that have not come yet."""
        with self.lock:
            self._faults.clear()

    def take_fault(self, method: str, path: str) -> int | str | None:
        with self.lock:
            for fault in self._faults:
                if not fault["times"] or fault["method"] not in (method, "ANY") or not re.search(fault["path"], path):
                    continue
                if fault["after"]:
                    fault["after"] -= 1
                    continue
                fault["times"] -= 1
                return fault["how"]() if callable(fault["how"]) else fault["how"]
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients that were killed leave broken connections, which are no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(Routes, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes, of which the second would wait 40 ms

    def log_message(self, *args):
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        self.path_only, self.query = unquote(url.path), parse_qs(url.query)
        body = self._read()
        how = self.hub.take_fault(self.command, self.path_only)
        self.fault = how
        if how == "drop":
            return self._close()
        if isinstance(how, int):
            return self._refuse(HubError(how, f"Injected{how}", "injected by the test"))
        if how == "slow":
            time.sleep(3)
        try:
            with self.hub.lock:
                self.route(body)
        except HubError as error:
            self._refuse(error)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _close(self) -> None:
        self.hub.requests.append((self.command, self.path_only, 0))
        self.close_connection = True
        self.connection.close()

    def send(self, content: Any = b"", status: int = 200, headers: Any = (), kind: str = "application/json") -> None:
        if self.fault == "lost":
            return self._close()
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.hub.requests.append((self.command, self.path_only, status))
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault == "corrupt" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        if self.fault == "cut":
            body, self.close_connection = body[: len(body) // 2], True
        self.wfile.write(body)

    def _refuse(self, error: HubError) -> None:
        headers = {"X-Error-Code": error.code, "X-Error-Message": error.message}
        self.send({"error": error.message}, error.status, headers)

    def role(self) -> str | None:
        """`"read"`, `"write"`, or none for a request without a token."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise HubError(401, "InvalidToken", "Invalid credentials in Authorization header")
        return self.hub.tokens.get(token)

"""Refuse page requests that name a file by an address: gradio would download it, and this server fetches nothing."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

_MOST_BYTES = 1_000_000  # of a request that is no upload: a question with its options
_ADDRESSES = ("http:", "https:")


class UploadsOnlyMiddleware:
    """An ASGI middleware that answers 400 where the JSON of a request holds an address as the `path` of a file.

    The browser names what it has uploaded by its place on the server.

    Args:
        app (`Callable`): The application behind it.
        skip (`tuple[str, ...]`): Starts of paths that are not looked at.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], skip: tuple[str, ...] = ()):
        self._app, self._skip = app, skip

    async def __call__(self, scope: Any, receive: Callable, send: Callable) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"].startswith(self._skip):
            await self._app(scope, receive, send)
            return
        if dict(scope["headers"]).get(b"content-type", b"").startswith(b"multipart/form-data"):
            await self._app(scope, receive, send)
            return
        body = await _read_body(receive)
        if body is None:
            await _refuse(send, 413, f"at most {_MOST_BYTES} bytes are taken")
        elif _names_address(body):
            await _refuse(send, 400, "files are taken as uploads only, not by an address")
        else:
            await self._app(scope, _replay(body, receive), send)


async def _read_body(receive: Callable) -> bytes | None:
    """The body of a request, or nothing if it is too long."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _MOST_BYTES:
            return None
    return body


def _names_address(body: bytes) -> bool:
    try:
        parts = [json.loads(body)]
    except (ValueError, RecursionError):  # the page's own handlers say what is wrong with it
        return False
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        elif isinstance(part, dict):
            path = part.get("path")
            if isinstance(path, str) and path.strip().lower().startswith(_ADDRESSES):
                return True
            parts += part.values()
    return False


def _replay(body: bytes, receive: Callable) -> Callable:
    """A `receive` that gives the body again, and then what comes after it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Any:
        return messages.pop() if messages else await receive()

    return give


async def _refuse(send: Callable, status: int, reason: str) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

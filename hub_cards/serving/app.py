"""The endpoint as an ASGI app: its paths, who may call it, and errors in OpenAI's shape."""

import hmac
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from .endpoint import Endpoint, to_response
from .engine import Engine
from .events import InvalidRequest, ModelFailure, NotAuthenticated, ServingError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def create_app(
    engine: Engine,
    model: str,
    api_key: str | None = None,
    hosts: tuple[str, ...] | None = LOOPBACK_NAMES,
    page: Callable[[FastAPI, Engine], object] | None = None,
) -> FastAPI:
    """The endpoint as an ASGI app.

    Args:
        engine ([`Engine`]): Answers the requests.
        model (`str`): The name under which clients know the model.
        api_key (`str`, *optional*): What clients must send as bearer token.
        hosts (`tuple[str, ...]`, *optional*): Names by which clients may call this server, so that a page from
            elsewhere whose name leads here is refused; `None` for any. Without a key, pages of another host than the
            one that they call are refused then.
        page (`Callable`, *optional*): Mounts a page at `/`, given the app and the engine; called last, so that the
            paths of the endpoint win.
    """
    app = FastAPI(title="fourdthinker", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    endpoint = Endpoint(engine, model)
    app.state.endpoint = endpoint
    app.add_exception_handler(ServingError, _describe_error)
    app.add_exception_handler(HTTPException, _describe_http_error)
    app.add_exception_handler(Exception, _describe_defect)
    app.add_api_route("/health", endpoint.health, methods=["GET"])
    app.add_api_route("/metrics", endpoint.describe_metrics, methods=["GET"])
    app.add_api_route("/v1/models", endpoint.list_models, methods=["GET"])
    app.add_api_route("/v1/models/{name:path}", endpoint.describe_model, methods=["GET"])
    app.add_api_route("/v1/chat/completions", endpoint.complete, methods=["POST"])
    if page is not None:
        page(app, engine)
    app.add_middleware(_Guard, endpoint=endpoint, api_key=api_key, hosts=hosts)
    return app


class _Guard:
    """Refuses calls under another name than the server's, from pages of other sites, and without the key."""

    def __init__(self, app: Callable, endpoint: Endpoint, api_key: str | None, hosts: tuple[str, ...] | None):
        self._app, self._endpoint, self._hosts = app, endpoint, hosts
        self._expected = None if api_key is None else f"Bearer {api_key}".encode()

    async def __call__(self, scope: Any, receive: Callable, send: Callable) -> None:
        """Pass a call on, or answer it with an error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._endpoint.metrics.count(scope["path"], message["status"])
            await send(message)

        if error := self._find_fault(scope):
            await to_response(error.to_dict(), error.status)(scope, receive, send_counted)
            return
        await self._app(scope, receive, send_counted)

    def _find_fault(self, scope: Any) -> ServingError | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_own(host):
            return InvalidRequest(f"this server is not called {host!r:.80}")
        # A browser names the page that sends; of another site it could not read the answer, but fill the disk.
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and not self._may_send(origin.partition("://")[2], host):
            return InvalidRequest(f"pages of {origin!r:.80} may not call this server")
        if self._expected is None or scope["path"] == "/health":
            return None
        if hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
            return None
        return NotAuthenticated("give the key of this server as bearer token")

    def _may_send(self, page: str, host: str) -> bool:
        """Whether a page of one host may call this server by another name; a key says more than the page."""
        if self._hosts is None:
            return self._expected is not None or page.lower() == host.lower()
        return self._is_own(page)

    def _is_own(self, host: str) -> bool:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        return self._hosts is None or name.lower() in self._hosts


async def _describe_error(_: Request, error: Any) -> Response:
    return to_response(error.to_dict(), error.status)


async def _describe_http_error(_: Request, error: Any) -> Response:
    described = ServingError(str(error.detail))
    described.status = error.status_code
    return to_response(described.to_dict(), error.status_code)


async def _describe_defect(_: Request, error: Exception) -> Response:
    failure = ModelFailure("internal error")
    return to_response(failure.to_dict(), failure.status)

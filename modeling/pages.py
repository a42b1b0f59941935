"""HTML pages: templates, and what a browser may connect to."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

_POLICY = "; ".join(
    [
        "default-src 'self' 'unsafe-inline' data: blob:",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "connect-src 'self' data: blob:",
        "frame-ancestors 'none'",
    ]
)


def load_page_template(folder: Path, name: str) -> jinja2.Template:
    """A template of an HTML page: texts are escaped, and a value that is missing is an error.

    Args:
        folder (`Path`): Where the template is, and those that it includes.
        name (`str`): Its file.
    """
    return _environment(folder, escape=True).get_template(name)


def load_text_template(folder: Path, name: str, filters: Mapping[str, Callable] | None = None) -> jinja2.Template:
    """A template of plain text.

    Args:
        folder, name: As of [`load_page_template`].
        filters (`Mapping[str, Callable]`, *optional*): Of the template, beside jinja's own.
    """
    environment = _environment(folder, escape=False)
    environment.filters.update(filters or {})
    return environment.get_template(name)


def _environment(folder: Path, escape: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        autoescape=escape,
        keep_trailing_newline=not escape,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class PolicyMiddleware:
    """Of an ASGI app: the browser connects to nothing but this server, whatever a page asks for."""

    def __init__(self, app: Callable):
        self._app = app

    async def __call__(self, scope: Any, receive: Callable, send: Callable) -> None:
        """Pass a call on, and add the policy to its answer."""

        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"content-security-policy", _POLICY.encode())]
            await send(message)

        await self._app(scope, receive, send_with_policy if scope["type"] == "http" else send)

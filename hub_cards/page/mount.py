"""The page beside the endpoint, in one process."""

from typing import Any

from ...modeling.pages import PolicyMiddleware
from ..serving.engine import Engine
from .layout import build_page, page_settings
from .limits import PageLimits
from .shipped_examples import read_examples
from .uploads_only import UploadsOnlyMiddleware

_PATH = "/"


def mount_page(app: Any, engine: Engine, model: str) -> None:
    """Serve the page at `/`, for an engine that answers there too.

    Args:
        app (`fastapi.FastAPI`): Of the endpoint.
        engine ([`Engine`]): Answers the questions, those of the endpoint's clients among them.
        model (`str`): What the page calls the model.
    """
    import gradio

    limits = PageLimits(running=engine.limits.batch, tokens=min(PageLimits.tokens, engine.limits.max_tokens))
    app.add_middleware(PolicyMiddleware)
    app.add_middleware(UploadsOnlyMiddleware, skip=("/v1/",))
    gradio.mount_gradio_app(
        app,
        build_page(engine.ask, model, read_examples(), limits),
        _PATH,
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        **page_settings(limits),
    )
    # Each open page keeps a connection, which would hold a server that ends.
    mounted = next(route.app for route in app.routes if getattr(route, "path", None) == _PATH.rstrip("/"))
    app.state.close_page = mounted.stop_event.set

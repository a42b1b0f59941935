"""`fourdthinker serve`: an OpenAI-compatible endpoint."""

import argparse
import ipaddress
import os
from functools import partial

from ..modeling.errors import InputError
from .device import choose_device
from .input_checks import check_model
from .models import add_model_arguments, open_model

_PORT = 8000
_HOST = "127.0.0.1"
_KEY = "FOURDTHINKER_API_KEY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_model_arguments(parser)
    parser.add_argument("--name", help="what clients call the model (default: the last part of --model)")
    parser.add_argument("--port", type=int, default=_PORT, help=f"port; 0: any (default: {_PORT})")
    parser.add_argument(
        "--host", default=_HOST, help=f"address to listen on; any but loopback needs a key (default: {_HOST})"
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"what clients must send as bearer token; better given as {_KEY}, since others see a command line",
    )
    parser.add_argument("--no-auth", action="store_true", help="serve to other machines without a key")
    parser.add_argument(
        "--no-page",
        action="store_true",
        help="serve the endpoint alone, without the page at /, which is also left out where a key is needed",
    )
    parser.add_argument("--batch-size", type=int, default=16, help="answers written at once (default: 16)")
    parser.add_argument("--queue", type=int, default=64, help="requests that wait; more are refused (default: 64)")
    parser.add_argument(
        "--grace", type=float, default=30.0, help="seconds for running answers at the end (default: 30)"
    )
    parser.add_argument("--dtype", help="number format of the weights (default: float32 on a CPU, else their own)")
    parser.add_argument("--device", help="where to run (default: the first GPU if there is one, else cpu)")


def run(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    _check_numbers(args)
    key = args.api_key or os.environ.get(_KEY) or None
    is_local = _is_loopback(args.host)
    if not is_local and not key and not args.no_auth:
        raise InputError(
            f"--host {args.host} lets other machines in: give a key (--api-key or {_KEY}), or say --no-auth"
        )
    if key and args.no_auth:
        raise InputError("--no-auth and a key exclude each other: leave one out")
    check_model(args.model, revision=args.revision)
    has_page = not args.no_page and not key  # a browser cannot send the key
    import uvicorn  # noqa: F401 - before the weights are read, not after

    if has_page:
        # Before gradio is imported, which reads them: no statistics.
        os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
        from ..hub_cards.page.mount import mount_page

    from ..eval_tasks.precision import DTYPES, choose_dtype
    from ..hub_cards.serving.app import LOOPBACK_NAMES, create_app
    from ..hub_cards.serving.engine import Engine
    from ..hub_cards.serving.server import listen, serve
    from ..hub_cards.serving.settings import Limits

    if args.dtype not in (None, *DTYPES):
        raise InputError(f"--dtype must be one of {', '.join(DTYPES)}, got {args.dtype}")
    device = choose_device(args.device)
    with listen(args.host, args.port) as listening:
        model, processor = open_model(args.model, device, args.revision, dtype=choose_dtype(args.dtype, device))
        engine = Engine(model, processor, Limits(batch=args.batch_size, waiting=args.queue))
        name = args.name or os.path.basename(os.path.normpath(args.model))
        page = partial(mount_page, model=name) if has_page else None
        app = create_app(engine, name, key, (*LOOPBACK_NAMES, args.host) if is_local else None, page)
        host = f"[{args.host}]" if ":" in args.host else args.host
        address = f"http://{host}:{listening.getsockname()[1]}"
        shown = f"page at {address}/\n" if has_page else ""
        # In one piece with its line end: a signal may come between two.
        print(f"{name} at {address}/v1\n{shown}Ctrl-C ends it\n", end="", flush=True)
        serve(app, engine, listening, args.grace)
    print("ended")


def _check_numbers(args: argparse.Namespace) -> None:
    if not 0 <= args.port <= 65535:
        raise InputError(f"--port must be between 0 and 65535, got {args.port}")
    for name in ("batch_size", "queue"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    if not 0 <= args.grace < float("inf"):
        raise InputError(f"--grace must be at least 0, got {args.grace}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Arguments of `build-data` about the language model that words names and reasoning, and what it cost."""

import argparse
import re
import textwrap
import urllib.parse
from typing import TYPE_CHECKING

from ..dataset_builders.writer.settings import CONCURRENCY, TIMEOUT, WriterSettings
from ..modeling.errors import InputError, count_noun

if TYPE_CHECKING:
    from ..dataset_builders.writer.write_texts import WritingReport

TEMPLATE, OPENAI = "template", "openai"
# Options that go with a model, and their defaults.
_OF_MODEL = {
    "writer_url": None,
    "writer_model": None,
    "writer_concurrency": CONCURRENCY,
    "writer_timeout": TIMEOUT,
    "writer_price": None,
}
_A_DAY = 86400  # seconds
_A_MILLION = 1_000_000  # tokens
_REASON = 160  # characters of a refusal that are printed
_MAX_CONCURRENCY = 1000
_MODEL = re.compile(r"[\w.:/@+-][\w.:/@+ -]{0,199}")  # it goes into rows and the card


def add_writer_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--writer",
        choices=(TEMPLATE, OPENAI),
        default=TEMPLATE,
        help="videos: what names moving objects and words reasoning: templates (default), or a language model behind "
        "an OpenAI-compatible endpoint, whose texts must pass the checks of the template's; its key is read from "
        "OPENAI_API_KEY",
    )
    parser.add_argument("--writer-model", metavar="NAME", help="the model, as the endpoint knows it")
    parser.add_argument(
        "--writer-url",
        metavar="URL",
        help="the endpoint, such as http://127.0.0.1:8000/v1 (default: OPENAI_BASE_URL, or OpenAI's own)",
    )
    parser.add_argument(
        "--writer-concurrency", type=int, default=CONCURRENCY, help=f"requests at a time (default: {CONCURRENCY})"
    )
    parser.add_argument(
        "--writer-timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"longest time for one request, which is then repeated (default: {TIMEOUT:g})",
    )
    parser.add_argument(
        "--writer-price",
        type=_prices,
        metavar="IN,OUT",
        help="dollars for a million tokens read and written, to print what the build cost, such as 0.15,0.60",
    )


def check_writer(args: argparse.Namespace) -> None:
    """Find options that do not go together.

    Raises:
        InputError: Naming the option.
    """
    if args.writer == TEMPLATE:
        for name, default in _OF_MODEL.items():
            if getattr(args, name) != default:
                raise InputError(f"--{name.replace('_', '-')} goes with --writer openai")
        return
    if not args.writer_model:
        raise InputError("--writer openai needs --writer-model: the model's name, as the endpoint knows it")
    if not _MODEL.fullmatch(args.writer_model):
        raise InputError(f"--writer-model must be a name such as Qwen/Qwen3-VL-8B-Instruct, got {args.writer_model!r}")
    if not 1 <= args.writer_concurrency <= _MAX_CONCURRENCY:
        raise InputError(f"--writer-concurrency must be 1 to {_MAX_CONCURRENCY}, got {args.writer_concurrency}")
    if not 0 < args.writer_timeout <= _A_DAY:
        raise InputError(
            f"--writer-timeout must be positive and at most a day ({_A_DAY}), got {args.writer_timeout:g}"
        )
    if args.writer_url is not None:
        _check_url(args.writer_url)


def read_writer(args: argparse.Namespace) -> WriterSettings | None:
    """The model that the arguments name, or `None` for templates."""
    if args.writer == TEMPLATE:
        return None
    return WriterSettings(args.writer_model, args.writer_url, args.writer_concurrency, args.writer_timeout)


def describe_writing(report: "WritingReport", prices: tuple[float, float] | None) -> list[str]:
    """What a model wrote and what it cost, in one to three lines.

    Args:
        report ([`WritingReport`]): Of the build.
        prices (`tuple[float, float]`, *optional*): Dollars for a million tokens read and written.
    """
    usage = report.usage
    if not (report.written or report.refused or report.failed):
        return [f"writer {report.model}: nothing asked, since no text is new or out of date"]
    asked = f"{count_noun(usage.requests, 'request')}, {count_noun(usage.kept, 'kept answer')}"
    lines = [
        f"writer {report.model}: {count_noun(report.written, 'text')} written ({asked}); the template stays for "
        f"{report.refused} whose answers were refused"
        + (
            f", for example: {textwrap.shorten(report.last_refusal, _REASON, placeholder='…')}"
            if report.refused
            else ""
        )
    ]
    if report.failed:
        lines.append(
            f"the endpoint failed for {count_noun(report.failed, 'text')} ({usage.last_failure}), where the template "
            "stands for now: the same command asks again"
        )
    cost = usage.cost
    if cost is None and prices is not None:
        cost = (usage.read_tokens * prices[0] + usage.written_tokens * prices[1]) / _A_MILLION
    said = "unknown; --writer-price IN,OUT gives it" if cost is None else f"${cost:.4f}"
    lines.append(f"tokens: {usage.read_tokens:,} read, {usage.written_tokens:,} written; cost: {said}")
    return lines


def _check_url(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known:
        raise InputError("--writer-url must be an address such as http://127.0.0.1:8000/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InputError("--writer-url must hold no key, query or fragment: the key is read from OPENAI_API_KEY")


def _prices(text: str) -> tuple[float, float]:
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two numbers such as 0.15,0.60, got {text!r}") from None
    if not (0 <= read < float("inf") and 0 <= written < float("inf")):
        raise argparse.ArgumentTypeError(f"prices must be 0 or more, got {text!r}")
    return read, written

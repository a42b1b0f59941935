"""Counters of the endpoint, in the text format that Prometheus reads."""

from collections import Counter

from .engine import Engine

_PREFIX = "fourdthinker"
# What is counted, by the engine's name for it.
_COUNTED = {
    "requests": ("requests_total", "Requests that were queued."),
    "finished": ("answers_total", "Answers that came to their end."),
    "cancelled": ("cancelled_total", "Requests whose client went away."),
    "failed": ("failures_total", "Requests that the model failed on."),
    "prompt_tokens": ("prompt_tokens_total", "Tokens of prompts, visual ones included."),
    "tokens": ("completion_tokens_total", "Tokens of answers, latents included."),
    "steps": ("decoding_steps_total", "Steps of the batch; tokens by steps is the mean batch size."),
    "queue_seconds": ("queue_seconds_total", "Seconds that requests waited for a place."),
    "first_token_seconds": ("first_token_seconds_total", "Seconds from a request to its first token."),
}


class Metrics:
    """Counts answers by path and status, and shows the engine's counters.

    Args:
        engine ([`Engine`]): What is counted.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self._answers: Counter[tuple[str, int]] = Counter()

    def count(self, path: str, status: int) -> None:
        """Count an HTTP answer."""
        known = path if path in ("/v1/chat/completions", "/v1/models", "/health", "/metrics") else "other"
        self._answers[known, status] += 1

    def to_text(self, waiting: int) -> str:
        """All counters.

        Args:
            waiting (`int`): Requests that are not being answered yet.
        """
        lines = []
        for field, (name, help_text) in _COUNTED.items():
            value = getattr(self._engine.counters, field)
            lines += _describe(name, "counter", help_text, f" {value:g}" if isinstance(value, float) else f" {value}")
        lines += _describe("waiting", "gauge", "Requests that wait.", f" {waiting}")
        lines += _describe("running", "gauge", "Requests that are being answered.", f" {self._engine.running}")
        samples = [f'{{path="{path}",status="{status}"}} {n}' for (path, status), n in sorted(self._answers.items())]
        lines += _describe("http_answers_total", "counter", "HTTP answers.", *samples)
        return "\n".join(lines) + "\n"


def _describe(name: str, kind: str, help_text: str, *samples: str) -> list[str]:
    full = f"{_PREFIX}_{name}"
    return [f"# HELP {full} {help_text}", f"# TYPE {full} {kind}", *(full + sample for sample in samples)]

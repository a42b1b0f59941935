"""Answers one question at a time in the thread that asks: for a Space, whose GPU is lent to one call."""

from collections import deque
from collections.abc import Iterator, Sequence
from time import perf_counter

import torch

from ...modeling.clip import Clip
from ..serving.batch import Batch, Job
from ..serving.events import Event, ServingError
from ..serving.prefill import Prefill
from ..serving.prompt import encode_question
from ..serving.settings import GenerationSettings, Limits

_CHUNK = 2048  # tokens of a prompt that are read at once


class SingleAnswers:
    """What [`Engine`] answers, without its queue and its thread.

    Args:
        model: A model with latents; the code that a checkpoint brings does as well as ours.
        processor: Its processor.
        limits ([`Limits`], *optional*): What it takes at most.
    """

    def __init__(self, model, processor, limits: Limits | None = None):
        self.model, self.processor, self.limits = model.eval(), processor, limits or Limits()

    def ask(
        self, clip: Clip, question: str, options: Sequence[str] = (), settings: GenerationSettings | None = None
    ) -> Iterator[Event]:
        """Ask about a clip and yield events; arguments and errors as of [`Engine.ask`]."""
        prompt = encode_question(self.processor, clip, question, options, self.limits)
        events: deque[Event | ServingError] = deque()
        with torch.inference_mode():
            job = Job(prompt, settings or GenerationSettings(), events.append)
            job.started = job.came
            prefill = Prefill(self.model, prompt, _CHUNK)
            while not prefill.done:
                prefill.advance()
            job.prefilled = perf_counter()
            batch = Batch(self.model, self.processor)
            batch.join([(job, prefill)])
        yield from _drain(events)
        while batch.rows:
            with torch.inference_mode():
                batch.step()
            yield from _drain(events)


def _drain(events: deque[Event | ServingError]) -> Iterator[Event]:
    while events:
        event = events.popleft()
        if isinstance(event, ServingError):
            raise event
        yield event

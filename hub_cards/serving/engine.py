"""Answer requests by one model: a bounded queue, and a thread that decodes what waits as one batch."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic, perf_counter
from typing import Any

import torch

from ...modeling.clip import Clip
from .batch import Batch, Job
from .events import Busy, Event, Finish, ModelFailure, ServingError, Stopping
from .prefill import Prefill
from .prompt import Prompt, encode_prompt, encode_question
from .settings import GenerationSettings, Limits

logger = logging.getLogger(__name__)

_CHUNK = 512  # tokens of a prompt that are read between two steps of the running answers
_RETRY = "try again later"


@dataclass
class Counters:
    """What the engine has done since it started."""

    requests: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    steps: int = 0
    first_token_seconds: float = 0.0
    queue_seconds: float = 0.0


class Engine:
    """Answers requests, those that come at about the same time in one batch.

    Its thread goes in slices: some tokens of waiting prompts, then a few tokens for every running answer. So a
    newcomer waits for one slice where a place is free, and each answer is the one that it would be alone.

    Args:
        model: A model with latents; it is put in eval mode.
        processor: Its processor.
        limits ([`Limits`], *optional*): What it takes at most.

    Example:
        ```python
        engine = Engine(*load_model("models/trained"))
        for event in engine.ask(clip, "Which way does the camera move?", settings=GenerationSettings(imagery=True)):
            print(event)
        engine.close()
        ```
    """

    def __init__(self, model, processor, limits: Limits | None = None):
        self.model, self.processor, self.limits = model.eval(), processor, limits or Limits()
        self.counters = Counters()
        self._batch = Batch(model, processor)
        self._waiting: deque[Job] = deque()
        self._reading: tuple[Job, Prefill] | None = None
        self._active: list[Job] = []  # taken from the queue and not ended
        self._changed = threading.Condition()
        self._encoding = threading.Lock()  # a tokenizer is set up anew for each use
        self._stopping = self._ending = False
        self._thread = threading.Thread(target=self._run, name="fourdthinker-engine", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests that wait for a place in the batch."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return len(self._active)

    @property
    def stopping(self) -> bool:
        """Whether new requests are turned away."""
        return self._stopping

    def encode(self, messages: Sequence[Mapping[str, Any]]) -> Prompt:
        """Encode a conversation; see [`encode_prompt`]. Takes time: call it outside of an event loop."""
        with self._encoding:
            return encode_prompt(self.processor, messages, self.limits)

    def submit(
        self, prompt: Prompt, settings: GenerationSettings, deliver: Callable[[Event | ServingError], object]
    ) -> Job:
        """Queue a request.

        Args:
            prompt ([`Prompt`]): Of [`~Engine.encode`].
            settings ([`GenerationSettings`]): How to decode.
            deliver (`Callable`): Is called with each event by the engine's thread, so it must not wait. The last one
                is a [`Finish`] or a [`ServingError`]; none comes after `cancel()`.

        Returns:
            [`Job`]: To `cancel()` it.

        Raises:
            Busy: If the queue is full.
            Stopping: If the engine ends.
        """
        job = Job(prompt, settings, deliver)
        with self._changed:
            if self._stopping:
                raise Stopping("the server is stopping")
            if len(self._waiting) >= self.limits.waiting:
                raise Busy(f"{len(self._waiting)} requests are waiting already: {_RETRY}")
            self._waiting.append(job)
            self.counters.requests += 1
            self._changed.notify_all()
        return job

    def stream(self, prompt: Prompt, settings: GenerationSettings) -> Iterator[Event]:
        """Answer a request and yield its events; closing the iterator cancels it.

        Raises:
            ServingError: As in [`~Engine.submit`], or if the model fails.
        """
        events: SimpleQueue[Event | ServingError] = SimpleQueue()
        job = self.submit(prompt, settings, events.put)
        try:
            while True:
                event = events.get()
                if isinstance(event, ServingError):
                    raise event
                yield event
                if isinstance(event, Finish):
                    return
        finally:
            job.cancel()

    def ask(
        self,
        clip: Clip,
        question: str,
        options: Sequence[str] = (),
        settings: GenerationSettings | None = None,
    ) -> Iterator[Event]:
        """Ask about a clip and yield events: text, blocks of imagery in their place, and the end.

        Raises:
            InputError: If question or options are no texts for a prompt.
            ServingError: As in [`~Engine.stream`].
        """
        with self._encoding:
            prompt = encode_question(self.processor, clip, question, options, self.limits)
        yield from self.stream(prompt, settings or GenerationSettings())

    def stop(self) -> None:
        """Turn new and waiting requests away; running answers go on."""
        with self._changed:
            self._stopping = True
            waiting, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        for job in waiting:
            job.tell(Stopping("the server is stopping"))

    def close(self, grace: float = 0.0) -> None:
        """Stop, give running answers `grace` seconds to end, and end the thread."""
        self.stop()
        end = monotonic() + grace
        with self._changed:
            self._changed.wait_for(
                lambda: not self.running or not self._thread.is_alive(), max(0.0, end - monotonic())
            )
            self._ending = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        with torch.inference_mode():
            while self._wait_for_work():
                try:
                    self._slice()
                except Exception as error:  # a defect or a full device: the next requests may go well
                    logger.exception("a batch failed")
                    self._end_all(ModelFailure(f"the model failed ({type(error).__name__})"))
                self._count_ended()
        self._end_all(Stopping("the server has stopped"))
        self._count_ended()

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ending or self._waiting or self._active)
            return not self._ending

    def _slice(self) -> None:
        """Read pieces of prompts, let those that are read join, and give every running answer a few tokens."""
        self._batch.drop_cancelled()
        self._read_prompts()
        for _ in range(self.limits.slice_steps):
            if rows := len(self._batch.rows):
                self._batch.step()
                self.counters.steps += 1
                self.counters.tokens += rows

    def _read_prompts(self) -> None:
        room = _CHUNK
        joining: list[tuple[Job, Prefill]] = []
        while room > 0 and (job := self._start_reading(len(joining))):
            try:
                room -= self._read_piece(job, joining)
            except Exception as error:
                logger.exception("a prompt failed")
                self._reading = None
                job.tell(ModelFailure(f"the model failed ({type(error).__name__})"))
        if joining:
            self._batch.join(joining)
            self.counters.tokens += len(joining)

    def _start_reading(self, joining: int) -> Job | None:
        """The request whose prompt is being read, or the next that waits if the batch has a place for it."""
        if self._reading:
            return self._reading[0]
        with self._changed:
            while self._waiting and len(self._batch.rows) + joining < self.limits.batch:
                job = self._waiting.popleft()
                self._active.append(job)
                if not job.cancelled:
                    job.started = perf_counter()
                    return job
        return None

    def _read_piece(self, job: Job, joining: list[tuple[Job, Prefill]]) -> int:
        """Read one piece of a prompt; gives its tokens."""
        if self._reading is None:
            self._reading = (job, Prefill(self.model, job.prompt, _CHUNK))
            job.prompt = job.prompt.without_pixels()
        prefill = self._reading[1]
        if job.cancelled:
            self._reading = None
            return 0
        tokens = prefill.advance()
        if prefill.done:
            self._reading = None
            job.prefilled = perf_counter()
            joining.append((job, prefill))
        return tokens

    def _end_all(self, error: ServingError) -> None:
        for job in self._active:
            job.tell(error)
        self._batch.clear()
        self._reading = None

    def _count_ended(self) -> None:
        for job in self._active:
            if job.cancelled and job.outcome is None:
                job.outcome = "cancelled"
            if job.outcome is None:
                continue
            counters = self.counters
            setattr(counters, job.outcome, getattr(counters, job.outcome) + 1)
            if job.first_token:
                counters.prompt_tokens += job.prompt.length
                counters.queue_seconds += job.started - job.came
                counters.first_token_seconds += job.first_token - job.came
        self._active = [job for job in self._active if job.outcome is None]

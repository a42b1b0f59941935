"""The handlers of the endpoint: a request from its body to its answer."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from .answers import DONE, Completion, error_chunk
from .body import BodyReader
from .chat_request import ChatRequest, read_chat_request
from .engine import Engine
from .events import (
    Busy,
    ClientGone,
    Event,
    Finish,
    ImageryBlock,
    InvalidRequest,
    ModelFailure,
    NotFound,
    ServingError,
    Stopping,
    TextDelta,
)
from .metrics import Metrics
from .prompt import Prompt

_DECODED_AHEAD = 4  # requests whose media are decoded before there is a place for them


class Endpoint:
    """The handlers of the paths.

    Args:
        engine ([`Engine`]): Answers the requests.
        model (`str`): Its name.
    """

    def __init__(self, engine: Engine, model: str):
        self.engine, self.model, self.metrics = engine, model, Metrics(engine)
        self.bodies = BodyReader(engine.limits)
        self._decoders = ThreadPoolExecutor(engine.limits.decoders, thread_name_prefix="fourdthinker-media")
        self.places = asyncio.Semaphore(engine.limits.batch + _DECODED_AHEAD)
        self.admitted = 0

    async def health(self) -> Response:
        """Whether requests are taken, and how many there are."""
        state = {"status": "stopping" if self.engine.stopping else "ok", "waiting": self.waiting}
        return to_response({**state, "running": self.engine.running}, 503 if self.engine.stopping else 200)

    @property
    def waiting(self) -> int:
        """Requests that came and are not being answered yet."""
        return max(self.admitted - self.engine.running, self.engine.waiting)

    async def describe_metrics(self) -> Response:
        """Counters, in the text format of Prometheus."""
        return PlainTextResponse(self.metrics.to_text(self.waiting), media_type="text/plain; version=0.0.4")

    async def list_models(self) -> Response:
        """The one model."""
        return to_response({"object": "list", "data": [self._describe()]})

    async def describe_model(self, name: str) -> Response:
        """The one model, by its name."""
        if name != self.model:
            raise NotFound(f"the model {name!r:.80} is not served here, {self.model!r} is", "model", "model_not_found")
        return to_response(self._describe())

    def _describe(self) -> dict[str, Any]:
        return {"id": self.model, "object": "model", "created": 0, "owned_by": "fourdthinker"}

    async def complete(self, request: Request) -> Response:
        """Answer a conversation, whole or in a stream."""
        if self._is_full():
            await self.bodies.skip(request)
            self._check_stopping()
            raise self._busy()  # even if there is a place by now: the body is gone
        self._check_stopping()
        # Who is still sending has no place yet, or slow clients could take them all.
        place = _Place(self, await self.bodies.read(request))
        try:
            self._check_room()
            place.enter()
            return await _until_disconnect(request, self._respond(place))
        except BaseException:
            place.give_back()
            raise

    def _is_full(self) -> bool:
        return self.admitted >= self.engine.limits.batch + self.engine.limits.waiting

    def _check_room(self) -> None:
        self._check_stopping()
        if self._is_full():
            raise self._busy()

    def _busy(self) -> Busy:
        return Busy(f"{self.admitted} requests are waiting or being answered already: try again later")

    def _check_stopping(self) -> None:
        if self.engine.stopping:
            raise Stopping("the server is stopping")

    async def _respond(self, place: "_Place") -> Response:
        await place.wait_to_decode()
        self._check_stopping()
        loop = asyncio.get_running_loop()
        asked, prompt = await loop.run_in_executor(self._decoders, self._prepare, place.body)
        place.drop_body()
        completion = Completion(self.model, asked.settings.imagery)
        events = self._answer(asked, prompt, place)
        if asked.stream:
            # The first event before the answer starts: what goes wrong until then has a status of its own.
            chunks = _to_chunks(completion, await anext(events), events, asked.include_usage)
            return StreamingResponse(chunks, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        async for event in events:
            if isinstance(event, Finish):
                return to_response(completion.whole(event))
            await _add(completion, event)
        raise ModelFailure("the answer has no end")

    def _prepare(self, body: bytes) -> tuple[ChatRequest, Prompt]:
        asked = read_chat_request(body, self.model, self.engine.limits)
        try:
            return asked, self.engine.encode(asked.messages)
        except ValueError as error:  # InputError among them: what media and texts can do to the processor
            raise InvalidRequest(f"the messages cannot be encoded: {error}", "messages") from error

    async def _answer(self, asked: ChatRequest, prompt: Prompt, place: "_Place") -> AsyncGenerator[Event, None]:
        """The events of one answer; leaving it ends the answer."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | ServingError] = asyncio.Queue()

        def receive(event: Event | ServingError) -> None:
            events.put_nowait(event)
            if isinstance(event, (Finish, ServingError)):
                place.give_back()  # here, since a client may take its time to read

        def deliver(event: Event | ServingError) -> None:
            loop.call_soon_threadsafe(receive, event)

        job = self.engine.submit(prompt, asked.settings, deliver)
        try:
            while True:
                event = await events.get()
                if isinstance(event, ServingError):
                    raise event
                yield event
                if isinstance(event, Finish):
                    return
        finally:
            job.cancel()
            place.give_back()


class _Place:
    """One request's share of the queue, of memory, and of what is decoded; all is given back once."""

    def __init__(self, endpoint: Endpoint, body: bytes):
        self.body = body
        self._endpoint = endpoint
        self._is_queued = self._is_decoded = False

    def enter(self) -> None:
        """Stand in the queue."""
        self._endpoint.admitted += 1
        self._is_queued = True

    async def wait_to_decode(self) -> None:
        """Wait until media may be decoded."""
        await self._endpoint.places.acquire()
        self._is_decoded = True

    def drop_body(self) -> None:
        """Let go of the body."""
        self._endpoint.bodies.release(self.body)
        self.body = b""

    def give_back(self) -> None:
        """Give all back."""
        self.drop_body()
        self._endpoint.admitted -= self._is_queued
        if self._is_decoded:
            self._endpoint.places.release()
        self._is_queued = self._is_decoded = False


async def _until_disconnect(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """Run `work` until it ends or the client goes away, which cancels it."""
    task, watcher = asyncio.create_task(work), asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone("the client went away")
        return task.result()
    finally:
        task.cancel()
        watcher.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _add(completion: Completion, event: TextDelta | ImageryBlock) -> dict[str, Any]:
    """Add an event to a completion, in a thread where pictures are drawn."""
    if isinstance(event, ImageryBlock) and event.maps:
        return await asyncio.to_thread(completion.add, event)
    return completion.add(event)


async def _to_chunks(
    completion: Completion, first: Event, events: AsyncGenerator[Event, None], include_usage: bool
) -> AsyncIterator[str]:
    yield completion.chunk({"role": "assistant", "content": ""})
    event: Event = first
    try:
        while not isinstance(event, Finish):
            yield completion.chunk(await _add(completion, event))
            event = await anext(events)
        yield completion.chunk({}, event)
        if include_usage:
            yield completion.usage_chunk(event)
        yield DONE
    except ServingError as error:
        yield error_chunk(error.to_dict())
    finally:
        await events.aclose()


def to_response(value: dict[str, Any], status: int = 200) -> Response:
    """An HTTP answer of JSON; one that asks to come again says when."""
    headers = {"retry-after": "1"} if status in (429, 503) else None
    return Response(json.dumps(value), status, headers, "application/json")

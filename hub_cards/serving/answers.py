"""Events of an answer as OpenAI's chat completions, whole and in chunks."""

import json
import time
import uuid
from typing import Any

from .events import Finish, ImageryBlock, TextDelta


class Completion:
    """The answer to one request.

    Args:
        model (`str`): Name of the model.
        imagery (`bool`): Whether the client asked for the latent blocks.
    """

    def __init__(self, model: str, imagery: bool):
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._imagery = imagery
        self._message: dict[str, Any] = {"role": "assistant", "content": "", "reasoning_content": ""}
        if imagery:
            self._message["imagery"] = []

    def add(self, event: TextDelta | ImageryBlock) -> dict[str, Any]:
        """Take an event; gives what it adds to the message. Draws the maps of a block, which takes time."""
        delta: dict[str, Any] = {event.field: event.text if isinstance(event, TextDelta) else event.note}
        if self._imagery and isinstance(event, ImageryBlock):
            delta["imagery"] = [_describe_block(event)]
        for name, value in delta.items():
            self._message[name] += value
        return delta

    def chunk(self, delta: dict[str, Any], finish: Finish | None = None) -> str:
        """An event of the stream."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish.reason if finish else None}
        return _to_event({**self._head, "object": "chat.completion.chunk", "choices": [choice]})

    def usage_chunk(self, finish: Finish) -> str:
        """The event that tells how long the answer was."""
        return _to_event({**self._head, "object": "chat.completion.chunk", "choices": [], **_describe_end(finish)})

    def whole(self, finish: Finish) -> dict[str, Any]:
        """The answer in one piece."""
        choice = {"index": 0, "message": self._message, "finish_reason": finish.reason}
        return {**self._head, "object": "chat.completion", "choices": [choice], **_describe_end(finish)}


DONE = "data: [DONE]\n\n"


def error_chunk(error: dict[str, Any]) -> str:
    """The event that ends a stream with an error."""
    return _to_event(error)


def _to_event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _describe_end(finish: Finish) -> dict[str, Any]:
    counts = {"prompt_tokens": finish.prompt_tokens, "completion_tokens": finish.completion_tokens}
    usage = {**counts, "total_tokens": sum(counts.values())}
    return {"usage": usage, "seconds": {name: round(value, 4) for name, value in finish.seconds.items()}}


def _describe_block(block: ImageryBlock) -> dict[str, Any]:
    maps = [
        {
            "latent": one.latent,
            "kind": one.kind,
            "medium": one.medium,
            "start": one.start,
            "end": one.end,
            "cosine": round(one.cosine, 4),
            "image": one.data_uri(),
        }
        for one in block.maps
    ]
    place = {"number": block.number, "field": block.field, "start": block.start, "end": block.start + len(block.note)}
    return {**place, "latents": block.latents, "maps": maps}

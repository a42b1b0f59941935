"""Read the body of a request for a chat completion, and reject what would be ignored."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...modeling.row_rules import text_fault
from .events import InvalidRequest, NotFound
from .media import read_data_uri, read_image, read_video
from .settings import GenerationSettings, Limits

_DEFAULT_TOKENS = 512
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_MOST_STOPS, _LONGEST_STOP = 4, 64
# Fields that change nothing here as long as they have one of these values.
_NEUTRAL: dict[str, tuple] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "response_format": ({"type": "text"},),
    "store": (False,),
}
_IGNORED = ("user", "metadata", "safety_identifier")
_KNOWN = {
    *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p"),
    *("seed", "stop", "imagery"),
    *_NEUTRAL,
    *_IGNORED,
}
# Of an earlier answer that a client sends back; the reasoning is not read again, as the models were trained.
_ASSISTANT_FIELDS = {"role", "content", "reasoning_content", "imagery"}


@dataclass(frozen=True)
class ChatRequest:
    """What a client asks for.

    Attributes:
        messages (`list[dict]`): As the processor takes them, media decoded.
        settings ([`GenerationSettings`]): How to decode.
        stream, include_usage (`bool`): How to answer.
    """

    messages: list[dict]
    settings: GenerationSettings
    stream: bool
    include_usage: bool


def read_chat_request(body: bytes, model: str, limits: Limits) -> ChatRequest:
    """Parse and validate a body, and decode its media. Takes time: call it outside of an event loop.

    Args:
        body (`bytes`): The JSON.
        model (`str`): The name of the model that is served.
        limits ([`Limits`]): What is taken at most.

    Raises:
        InvalidRequest: For anything that is wrong, missing, unknown or would be ignored.
        NotFound: If another model is asked for.
    """
    fields = _read_json(body)
    for name, value in list(fields.items()):
        if name not in _KNOWN:
            raise InvalidRequest(f"unknown field {name!r:.80}; known are {', '.join(sorted(_KNOWN))}", name[:80])
        if value is None:
            del fields[name]
        elif name in _NEUTRAL and value not in _NEUTRAL[name]:
            raise InvalidRequest(f"{name} {value!r:.80} is not supported: leave it out", name)
    if fields.get("model", model) != model:
        raise NotFound(
            f"the model {fields['model']!r:.80} is not served here, {model!r} is", "model", "model_not_found"
        )
    stream = _take(fields, "stream", bool, False)
    settings = _read_settings(fields, limits)
    options = _take(fields, "stream_options", dict, {})
    if unknown := set(options) - {"include_usage", "include_obfuscation"}:
        raise InvalidRequest(f"unknown field {min(unknown)!r:.80} in stream_options", "stream_options")
    if options and not stream:
        raise InvalidRequest("stream_options need stream: true", "stream_options")
    include_usage = _take(options, "include_usage", bool, False, "stream_options.include_usage")
    return ChatRequest(_Messages(limits).read(fields.get("messages")), settings, stream, include_usage)


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is no valid JSON") from None
    if not isinstance(fields, dict):
        raise InvalidRequest("the body must be a JSON object")
    return fields


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _take(fields: Mapping, name: str, kind: type | tuple, default: Any, param: str | None = None) -> Any:
    """A field of a type; a truth value is no number."""
    value = fields.get(name, default)
    is_number = kind in (int, (int, float))
    if not isinstance(value, kind) or (is_number and isinstance(value, bool)):
        names = {
            int: "a whole number",
            (int, float): "a number",
            bool: "true or false",
            dict: "an object",
            str: "a text",
        }
        raise InvalidRequest(f"{param or name} must be {names[kind]}, got {value!r:.80}", param or name)
    return value


def _take_number(fields: Mapping, name: str, default: float, fits: Callable[[float], bool], range_: str) -> float:
    value = _take(fields, name, (int, float), default)
    if not fits(value):
        raise InvalidRequest(f"{name} must be {range_}, got {value!r:.80}", name)
    return float(value)


def _read_settings(fields: Mapping, limits: Limits) -> GenerationSettings:
    name = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    most = _take(fields, name, int, min(_DEFAULT_TOKENS, limits.max_tokens))
    if not 1 <= most <= limits.max_tokens:
        raise InvalidRequest(f"{name} must be between 1 and {limits.max_tokens}, got {most!r:.80}", name)
    seed = _take(fields, "seed", int, secrets.randbits(31))
    if not -(2**63) <= seed < 2**63:
        raise InvalidRequest("seed must fit 64 bits", "seed")
    stops = fields.get("stop", [])
    stops = [stops] if isinstance(stops, str) else stops
    good = isinstance(stops, list) and len(stops) <= _MOST_STOPS
    if not good or not all(isinstance(stop, str) and 0 < len(stop) <= _LONGEST_STOP for stop in stops):
        raise InvalidRequest(
            f"stop must be a text or up to {_MOST_STOPS}, each of 1 to {_LONGEST_STOP} characters", "stop"
        )
    return GenerationSettings(
        max_tokens=most,
        temperature=_take_number(fields, "temperature", 0.0, lambda value: 0 <= value <= 2, "between 0 and 2"),
        top_p=_take_number(fields, "top_p", 1.0, lambda value: 0 < value <= 1, "above 0 and at most 1"),
        seed=seed,
        stop=tuple(stops),
        imagery=_take(fields, "imagery", bool, False),
    )


class _Messages:
    """Reads the messages of one request."""

    def __init__(self, limits: Limits):
        self._limits, self._media = limits, 0

    def read(self, messages: Any) -> list[dict]:
        """The messages with decoded media."""
        if not isinstance(messages, list) or not messages:
            raise InvalidRequest("messages must be a list with at least one message", "messages")
        read = [self._message(message, f"messages[{number}]") for number, message in enumerate(messages)]
        if read[-1]["role"] != "user":
            raise InvalidRequest("the last message must be the user's", "messages")
        if not any(part["type"] == "text" for part in read[-1]["content"]):
            raise InvalidRequest("the last message has no text: ask something", "messages")
        return read

    def _message(self, message: Any, param: str) -> dict:
        if not isinstance(message, dict):
            raise InvalidRequest(f"{param} must be an object with role and content", param)
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise InvalidRequest(f"{param}.role must be one of {', '.join(_ROLES)}, got {role!r:.80}", f"{param}.role")
        known = _ASSISTANT_FIELDS if role == "assistant" else {"role", "content"}
        _check_fields(message, known, param)
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(parts, list) or not parts:
            raise InvalidRequest(f"{param}.content must be a text or a list of parts", f"{param}.content")
        places = [f"{param}.content[{number}]" for number in range(len(parts))]
        read = [self._part(part, place) for part, place in zip(parts, places, strict=True)]
        if role != "user" and any(part["type"] != "text" for part in read):
            raise InvalidRequest(f"{param}: only the user's messages can have images and videos", param)
        return {"role": _ROLES[role], "content": read}

    def _part(self, part: Any, param: str) -> dict:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            return self._text(part, param)
        if kind not in ("image_url", "video_url"):
            raise InvalidRequest(f"{param} must be of type text, image_url or video_url, got {kind!r:.80}", param)
        self._media += 1
        if self._media > self._limits.media:
            raise InvalidRequest(f"more than {self._limits.media} images and videos: give fewer", param)
        kind = kind.removesuffix("_url")
        source = part.get(f"{kind}_url")
        source = source if isinstance(source, dict) else {"url": source}
        data = read_data_uri(source.get("url"), kind, f"{param}.{kind}_url.url")
        if kind == "video":
            _check_fields(source, {"url"}, f"{param}.video_url")
            return self._video(part, data, param)
        _check_fields(source, {"url", "detail"}, f"{param}.image_url")
        if source.get("detail") not in (None, "auto"):
            raise InvalidRequest(f"{param}.image_url.detail can only be auto", f"{param}.image_url.detail")
        _check_fields(part, {"type", "image_url"}, param)
        return {"type": "image", "image": read_image(data, self._limits, f"{param}.image_url")}

    def _video(self, part: dict, data: bytes, param: str) -> dict:
        _check_fields(part, {"type", "video_url", "frames", "fps"}, param)
        frames = _take(part, "frames", int, 0, f"{param}.frames") if part.get("frames") is not None else None
        if frames is not None and not 1 <= frames <= self._limits.frames:
            raise InvalidRequest(f"{param}.frames must be between 1 and {self._limits.frames}", f"{param}.frames")
        fps = _take(part, "fps", (int, float), 0, f"{param}.fps") if part.get("fps") is not None else None
        if fps is not None and not 0 < fps <= 1000:
            raise InvalidRequest(f"{param}.fps must be above 0 and at most 1000", f"{param}.fps")
        return {"type": "video", "video": read_video(data, frames, fps, self._limits, f"{param}.video_url")}

    def _text(self, part: dict, param: str) -> dict:
        _check_fields(part, {"type", "text"}, param)
        if fault := text_fault(f"{param}.text", part.get("text"), marks=True):
            raise InvalidRequest(fault, f"{param}.text")
        return {"type": "text", "text": part["text"]}


def _check_fields(fields: Mapping, known: set[str], param: str) -> None:
    if unknown := {name for name, value in fields.items() if value is not None} - known:
        names = ", ".join(sorted(known))
        raise InvalidRequest(f"unknown field {min(unknown)!r:.80} in {param}; known are {names}", param)

"""Read a question and its response from a conversation (LLaVA, LLaMA-Factory, ms-swift). Pure Python."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import InputError

_USER, _ASSISTANT = frozenset({"user", "human"}), frozenset({"assistant", "gpt"})
_MEDIA_TAG = re.compile(r"<(?:video|image)>[ \t]*\n?")


@dataclass
class Exchange:
    """The first question of a conversation.

    Attributes:
        question (`str`, *optional*): What the user says first.
        response (`str`, *optional*): What the assistant says to it.
        videos, images (`list`): Files that the user's message itself names.
        left_out (`int`): Messages that are neither: system prompts, tools, later turns.
    """

    question: str | None = None
    response: str | None = None
    videos: list[Any] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    left_out: int = 0


def first_exchange(messages: Any, where: str) -> Exchange:
    """Read a conversation.

    Args:
        messages (`Sequence[Mapping]`): Messages with `from` and `value` (LLaVA, ShareGPT) or `role` and `content`,
            which is a text or a list of parts such as `{"type": "text", "text": …}` and
            `{"type": "video", "video": …}`.
        where (`str`): File and place, for the error.

    Raises:
        InputError: If it is no list of such messages.
    """
    exchange = Exchange()
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise InputError(f"{where}: the conversation is {messages!r:.80}, no list: write a list of messages")
    for message in messages:
        if not isinstance(message, Mapping):
            raise InputError(f"{where}: the conversation has {message!r:.80}, no message: write role and content")
        role = message.get("role") or message.get("from")
        content = message.get("content") if message.get("content") is not None else message.get("value")
        if role in _USER and exchange.question is None:
            exchange.question = _read_content(content, exchange)
        elif role in _ASSISTANT and exchange.question is not None and exchange.response is None:
            exchange.response = _read_content(content, exchange)
        else:
            exchange.left_out += 1
    return exchange


def strip_media_tags(text: str) -> str:
    """Remove the `<video>` and `<image>` tags from a text."""
    return _MEDIA_TAG.sub("", text).strip()


def _read_content(content: Any, exchange: Exchange) -> str | None:
    """The text of a message; files that it names go to the exchange."""
    if isinstance(content, str) or not isinstance(content, Sequence):
        return content if isinstance(content, str) else None
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "video" and part.get("video"):
            exchange.videos.append(part["video"])
        elif kind == "image" and part.get("image"):
            exchange.images.append(part["image"])
    return "\n".join(texts)

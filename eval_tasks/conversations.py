"""Conversations as the model is asked them: which one it is, told by a digest, and its media, decoded when due."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..modeling.prompts import question_text
from ..modeling.row_rules import name_row
from .benchmark import FramePolicy
from .videos import shown_part, video_path

if TYPE_CHECKING:
    from PIL import Image

    from ..modeling.clip import Clip
    from .benchmark import Benchmark

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Prompt:
    """One conversation to be answered.

    Attributes:
        messages (`Callable[[], Messages]`): Gives the conversation, as the processor takes it, when its batch is due.
        length (`tuple[int, int]`): Frames and characters as far as they are known before, to sort by.
        name (`str`): Of the row, for messages.
        scope (`str`): Task and version: answers of another one are never reused.
        sample (`int`): Which of several answers to the same question this is.
        options (`tuple[str, ...]`): What it offers, for a restricted choice.
    """

    messages: Callable[[], Messages]
    length: tuple[int, int] = (0, 0)
    name: str = ""
    scope: str = ""
    sample: int = 0
    options: tuple[str, ...] = ()


@dataclass
class Conversation:
    """A decoded conversation.

    Attributes:
        text (`str`): The chat template's, up to where the model speaks, with a placeholder for each medium.
        clips (`list[Clip]`): Its videos, in order.
        images (`list[PIL.Image.Image]`): Its images, in order.
        videos (`list[str]`): For each clip the digest of its source: equal ones show the same.
        options (`tuple[str, ...]`): Of its prompt.
    """

    text: str
    clips: list["Clip"] = field(default_factory=list)
    images: list["Image.Image"] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    options: tuple[str, ...] = ()


def row_prompt(row: Mapping[str, Any], benchmark: "Benchmark | None" = None) -> Prompt:
    """The prompt of a row: one user turn with its video, not decoded yet, and its text.

    Args:
        row (`Mapping`): With `question`, `options`, and either `frames` with `timestamps` (seconds), a `video` file
            with the part that is shown, or nothing to see.
        benchmark (`Benchmark`, *optional*): Whose row it is, for wording and frame policy; by default both are those
            of training.

    Raises:
        InputError: If its question or options are no texts for a prompt; the line names the row.
    """
    with name_row(row):
        text = benchmark.text(row) if benchmark else question_text(row["question"], row["options"])
    policy = benchmark.frames if benchmark else FramePolicy()
    words = {"type": "text", "text": text}

    def messages() -> list[dict]:
        media = _row_video(row, policy)
        content = [words, *media] if benchmark and benchmark.text_first else [*media, words]
        return [{"role": "user", "content": content}]

    scope = f"{benchmark.name} {benchmark.version}" if benchmark else ""
    length = (len(row.get("frames") or ()), len(text))
    return Prompt(messages, length, str(row.get("id", "")), scope, options=tuple(row.get("options") or ()))


def _row_video(row: Mapping[str, Any], policy: FramePolicy) -> list[dict]:
    if row.get("video"):
        start, end = shown_part(row)
        part = {"start_time": start, "end_time": end}
        settings = {"fps": policy.fps, "num_frames": policy.max_frames, **part}
        return [{"type": "video", "video": video_path(row), **settings}]
    if not row.get("frames"):
        return []
    times = row["timestamps"]
    return [{"type": "video", "video": list(row["frames"]), "timestamps": [] if times is None else list(times)}]


def decode(processor, messages: Messages, cache: dict[str, "Clip"]) -> Conversation:
    """Decode the media of a conversation.

    Args:
        processor: The model's processor.
        messages (`Messages`): The conversation.
        cache (`dict[str, Clip]`): Clips of this batch by the digest of their source; each is decoded once.

    Raises:
        InputError: If a video or image cannot be decoded, or words have a special token in them.
        OSError: If a file cannot be read.
    """
    from ..modeling.video_messages import check_words, drop_videos, read_clip, read_images, video_blocks

    check_words(messages)
    blocks = video_blocks(messages)
    videos = [_digest_block(block) for block in blocks]
    for video, block in zip(videos, blocks, strict=True):
        if video not in cache:
            cache[video] = read_clip(block)
    # Without videos of their own the messages get no prompt suffix: tasks word their prompts themselves.
    text = processor.apply_chat_template(drop_videos(messages), tokenize=False, add_generation_prompt=True)
    return Conversation(text, [cache[video] for video in videos], read_images(messages), videos)


def digest_messages(messages: Messages) -> str:
    """A digest of what a conversation says and shows: files by their content, images by their pixels.

    Raises:
        InputError: If a medium is named by an address on the network.
        OSError: If a file that is named cannot be read.
    """
    described = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, (list, tuple)):
            content = [_digest_block(block) if _medium(block) else block for block in content]
        described.append([message.get("role"), content])
    return digest(described)


def digest(value: Any) -> str:
    """A digest of what JSON can hold."""
    return _hash(json.dumps(value, sort_keys=True, default=str).encode())


def _digest_block(block: Mapping[str, Any]) -> str:
    key = _medium(block)
    settings = {name: value for name, value in block.items() if name not in (key, "type") and value is not None}
    return digest([block.get("type", key), _identify(block[key]), settings])


def _medium(block: Mapping[str, Any]) -> str | None:
    """The key under which a content block has its video or image."""
    return next((key for key in ("video", "image", "path", "url") if block.get(key) is not None), None)


def _identify(source: Any) -> Any:
    """What stands for a video or image in a digest."""
    if isinstance(source, (str, os.PathLike)):
        from ..modeling.video_messages import local_path

        path = Path(local_path(source))
        status = path.stat()
        return _hash_file(str(path), status.st_size, status.st_mtime_ns)
    if isinstance(source, Mapping):  # as `datasets` stores an image
        return _hash(source["bytes"]) if source.get("bytes") else _identify(source["path"])
    if hasattr(source, "timestamps"):
        return [_identify(source.frames), list(source.timestamps)]
    if isinstance(source, (list, tuple)):
        return [_identify(one) for one in source]
    import numpy as np
    from PIL import Image

    from ..modeling.images import decode_image

    # An image as it is shown: the pixels of one with a palette or lying on its side say little by themselves.
    pixels = np.ascontiguousarray(decode_image(source) if isinstance(source, Image.Image) else source)
    return [list(pixels.shape), str(pixels.dtype), _hash(pixels.tobytes())]


@lru_cache(maxsize=4096)
def _hash_file(path: str, size: int, modified: int) -> str:
    """Of a file's content; its size and time say whether it is still the file that was read before."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _new_hash).hexdigest()


def _hash(content: bytes) -> str:
    return _new_hash(content).hexdigest()


def _new_hash(content: bytes = b"") -> Any:
    return hashlib.blake2b(content, digest_size=16)

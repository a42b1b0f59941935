"""Chat messages with videos: read their clips, and add the prompt suffix."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
from PIL import Image

from .errors import InputError
from .processing import FRAMES_PER_SECOND, MAX_FRAMES, UNREADABLE, Clip, decode_image
from .prompts import PROMPT_SUFFIX
from .row_rules import special_token
from .video_decoding import read_frames

Messages = Sequence[Mapping[str, Any]]

_VIDEO_KEYS = ("video", "path", "url")
_IMAGE_KEYS = ("image", "path", "url")
# By which Qwen's own utilities and processors size a video; stock processors do not declare all of them.
QWEN_SIZES = ("max_pixels", "min_pixels", "total_pixels", "resized_height", "resized_width", "nframes")
_ROLES_IN_WORDS = ("system", "user")  # what the assistant said may have latent blocks in it


def content_blocks(messages: Messages) -> Iterator[Mapping[str, Any]]:
    """The content blocks of all messages, those aside whose content is one text."""
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, (list, tuple)):
            yield from (block for block in content if isinstance(block, Mapping))


def video_blocks(messages: Messages) -> list[Mapping[str, Any]]:
    """The blocks of a video, in order, placeholders without a video of their own included."""
    return [block for block in content_blocks(messages) if _is_video(block)]


def shows_video(messages: Messages) -> bool:
    """Whether a block holds a video itself (a file or frames), and not only the place for one."""
    return any(_source(block) is not None for block in video_blocks(messages))


def drop_none(messages: Messages) -> list[Any]:
    """Copies of messages whose blocks have no keys of nothing, which `datasets` gives every block of a column."""
    return _change_blocks(
        messages,
        lambda block: (
            {key: value for key, value in block.items() if value is not None} if isinstance(block, Mapping) else block
        ),
    )


def append_prompt_suffix(messages: Messages) -> list[Mapping[str, Any]]:
    """Copies of messages whose last user text ends in the prompt suffix; as they are if it is there already."""
    changed = list(messages)
    for place in reversed(range(len(changed))):
        if isinstance(changed[place], Mapping) and changed[place].get("role") == "user":
            changed[place] = {**changed[place], "content": _append_suffix(changed[place].get("content"))}
            break
    return changed


def _append_suffix(content: Any) -> Any:
    if isinstance(content, str):
        return content if PROMPT_SUFFIX.strip() in content else content + PROMPT_SUFFIX
    blocks = list(content or ())
    texts = [place for place, block in enumerate(blocks) if isinstance(block, Mapping) and "text" in block]
    if texts and not any(PROMPT_SUFFIX.strip() in blocks[place]["text"] for place in texts):
        blocks[texts[-1]] = {**blocks[texts[-1]], "text": blocks[texts[-1]]["text"] + PROMPT_SUFFIX}
    return blocks


def read_clips(messages: Messages, fps: float | None = None, num_frames: int | None = None) -> list[Clip]:
    """The clips of all videos in a conversation, in order.

    Args:
        messages (`Sequence[Mapping]`): The conversation; for its blocks see [`read_clip`].
        fps, num_frames: Of [`read_clip`], for the blocks that say nothing of their own.

    Raises:
        InputError: If a block names no video, words have a special token in them, or a video cannot be read.
    """
    check_words(messages)
    return [read_clip(block, fps, num_frames) for block in video_blocks(messages)]


def check_words(messages: Messages) -> None:
    """Raise an `InputError` if somebody but the assistant has a special token in their words."""
    for message in messages:
        for text in _texts(message):
            if token := special_token(text):
                raise InputError(f"a message has the token {token} in its words: take it out")


def read_images(messages: Messages) -> list[Image.Image]:
    """The RGB images of all image blocks in a conversation, in order.

    Raises:
        InputError: If a block names no image, or it cannot be decoded.
    """
    return [
        _read_frame(_required(block, _IMAGE_KEYS, "image"), number, "images")
        for number, block in enumerate(filter(_is_image, content_blocks(messages)), start=1)
    ]


def read_clip(block: Mapping[str, Any], fps: float | None = None, num_frames: int | None = None) -> Clip:
    """The clip of one content block.

    Args:
        block (`Mapping`): Its `video` (or `path`, or `url`) is the path of a file, frames in order (images, arrays of
            `uint8`, paths of images, records `{"bytes", "path"}` as of `datasets`), or a [`Clip`]. With frames,
            `timestamps` (seconds, one a frame) or `fps` say when they were taken, by default one a second. With a
            file, `timestamps` are the times to show, or `fps` and `num_frames` sample it; by default one frame a
            second and 50 at most, as in the published evaluation. Of a file, `start_time` and `end_time` (seconds)
            name the part that is shown.
        fps (`float`, *optional*): Frames a second to take from a file whose block does not say it.
        num_frames (`int`, *optional*): Frames at most, spread evenly over a file whose block does not say it.

    Raises:
        InputError: If there is no video, it cannot be read, the sampling makes no sense, or a size is named.
    """
    video = _required(block, _VIDEO_KEYS, "video")
    for name in QWEN_SIZES:
        if block.get(name) is not None:
            raise InputError(f"a video block has {name}, and a video is encoded as in training: leave it out")
    if isinstance(video, Clip):
        return video
    timestamps = block.get("timestamps")
    if hasattr(timestamps, "tolist"):
        timestamps = timestamps.tolist()
    if not isinstance(video, (str, os.PathLike)):
        frames = [_read_frame(frame, number) for number, frame in enumerate(video, start=1)]
        rate = _number("fps", block.get("fps")) or FRAMES_PER_SECOND
        return Clip(frames, [number / rate for number in range(len(frames))] if timestamps is None else timestamps)
    path = local_path(video)
    if timestamps is not None:
        return read_frames(path, times=timestamps)
    fps = _number("fps", block.get("fps", fps))
    num_frames = _number("num_frames", block.get("num_frames", num_frames))
    part = {"start": block.get("start_time"), "end": block.get("end_time")}
    if num_frames is None:
        return read_frames(path, fps=FRAMES_PER_SECOND if fps is None else fps, max_frames=MAX_FRAMES, **part)
    return read_frames(path, fps=fps, max_frames=int(num_frames), **part)


def drop_videos(messages: Messages) -> list[Any]:
    """Copies of messages with bare placeholders for the videos, as input of a chat template."""
    return _change_blocks(messages, lambda block: {"type": "video"} if _is_video(block) else block)


def _change_blocks(messages: Messages, change: Callable[[Any], Any]) -> list[Any]:
    changed = []
    for message in messages:
        if isinstance(message, Mapping) and isinstance(message.get("content"), (list, tuple)):
            message = {**message, "content": [change(block) for block in message["content"]]}
        changed.append(message)
    return changed


def _is_video(block: Any) -> bool:
    return isinstance(block, Mapping) and (block.get("type") == "video" or "video" in block)


def _is_image(block: Mapping[str, Any]) -> bool:
    return block.get("type") in ("image", "image_url") or "image" in block


def _source(block: Mapping[str, Any], keys: Sequence[str] = _VIDEO_KEYS) -> Any:
    return next((block[key] for key in keys if block.get(key) is not None), None)


def _required(block: Mapping[str, Any], keys: Sequence[str], what: str) -> Any:
    source = _source(block, keys)
    if source is None:
        raise InputError(f"a block of a message names no {what}: give it one under '{keys[0]}'")
    return source


def _texts(message: Mapping[str, Any]) -> list[str]:
    if message.get("role") not in _ROLES_IN_WORDS:
        return []
    content = message.get("content")
    return [content] if isinstance(content, str) else [block["text"] for block in content or () if "text" in block]


def _number(name: str, value: Any) -> Any:
    if value is not None and (not isinstance(value, Real) or not value > 0):
        raise InputError(f"{name} is {value!r:.80}; it must be a number above 0")
    return value


def local_path(video: str | os.PathLike) -> str:
    """The path that a path or a `file:` address names.

    Raises:
        InputError: If it is an address on the network.
    """
    path = os.fspath(video)
    address = urlparse(path)
    if address.scheme in ("http", "https"):
        raise InputError(f"{path} is not fetched from the network: download the video and give its path")
    return unquote(address.path) if address.scheme == "file" else path


def _read_frame(frame: Any, number: int, what: str = "frames") -> Image.Image:
    if isinstance(frame, (str, os.PathLike)):
        frame = {"path": local_path(frame)}
    if isinstance(frame, Mapping):
        try:
            return decode_image(frame)
        except UNREADABLE as error:
            named = f" ({frame['path']})" if frame.get("path") else ""
            raise InputError(f"{what} {number}{named} cannot be decoded ({error}): give another image") from error
    if isinstance(frame, Image.Image):
        return decode_image(frame)
    values = np.asarray(frame.cpu() if hasattr(frame, "cpu") else frame)
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[-1] not in (1, 3, 4):
        values = values.transpose(1, 2, 0)  # torch's order: channels first
    if values.dtype != np.uint8 or values.ndim not in (2, 3):
        raise InputError(
            f"{what} {number} is an array of {values.dtype} and shape {values.shape}: give images, or arrays of uint8 "
            "and shape (height, width, 3)"
        )
    return decode_image(Image.fromarray(values.squeeze(-1) if values.shape[-1] == 1 else values))

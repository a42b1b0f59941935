"""Messages of lmms-eval as the processor takes them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..benchmark import FramePolicy

_SECONDS = {"start_time": ("start_time", "video_start"), "end_time": ("end_time", "video_end")}


def convert_messages(
    messages: Sequence[Mapping], frames: FramePolicy, timestamps: Sequence[float] | None = None
) -> list[dict]:
    """Messages as the processor takes them: each medium in its place among the text.

    Args:
        messages (`Sequence[Mapping]`): As `doc_to_messages` of a task gives them.
        frames ([`FramePolicy`]): How videos are sampled.
        timestamps (`Sequence[float]`, *optional*): Seconds of the row's frames. As many images in succession are then
            the frames of one video.

    Raises:
        NotImplementedError: If there is a medium of another kind, such as sound.
    """
    converted = []
    for message in messages:
        content = message["content"]
        if not isinstance(content, str):
            content = _join_frames([_convert_part(part, frames) for part in content], timestamps)
        converted.append({"role": message["role"], "content": content})
    return converted


def _convert_part(part: Mapping[str, Any], frames: FramePolicy) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": part["text"]}
    source = part.get("url", part.get(kind))
    if kind == "image":
        return {"type": "image", "image": source}
    if kind != "video":
        raise NotImplementedError(f"the model 'fourdthinker' takes text, images and videos, and no {kind}")
    # A video of a task without messages of its own: lmms-eval passes on what the task says of it as it is.
    fields = {**source, **part} if isinstance(source, Mapping) else part
    if isinstance(source, Mapping):
        source = next((source[key] for key in ("url", "path", "video") if source.get(key) is not None), None)
    video = {"type": "video", "video": source, "fps": frames.fps, "num_frames": frames.max_frames}
    video["timestamps"] = fields.get("timestamps")
    for name, aliases in _SECONDS.items():
        video[name] = next((fields[alias] for alias in aliases if fields.get(alias) is not None), None)
    return {name: value for name, value in video.items() if value is not None}


def _join_frames(content: list[dict], timestamps: Sequence[float] | None) -> list[dict]:
    """The content with its images as one video, if they are the frames of which the row names the times."""
    places = [place for place, part in enumerate(content) if part["type"] == "image"]
    if not places or timestamps is None or len(places) != len(timestamps):
        return content
    first, last = places[0], places[-1]
    if last - first + 1 != len(places):
        return content
    images = [content[place]["image"] for place in places]
    video = {"type": "video", "video": images, "timestamps": list(timestamps)}
    return [*content[:first], video, *content[last + 1 :]]

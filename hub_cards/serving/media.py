"""Decode the images and videos of a request, which come as data URIs: nothing is fetched, no file is opened."""

import base64
import binascii
import io
import re
import tempfile
from pathlib import Path

from PIL import Image

from ...modeling.clip import Clip
from ...modeling.errors import InputError
from ...modeling.images import UNREADABLE, decode_image
from ...modeling.processing import FRAMES_PER_SECOND
from ...modeling.video_decoding import read_frames
from ...modeling.video_file import VideoError
from ...modeling.video_source import open_source
from .events import InvalidRequest
from .settings import Limits

_DATA_URI = re.compile(r"data:(image|video)/([\w.+-]+)((?:;[\w-]+=[\w.-]+)*);base64,", re.ASCII)
_SHOWN = 60  # characters of an address in a message
_IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def read_data_uri(uri: object, kind: str, param: str) -> bytes:
    """The bytes of a data URI.

    Args:
        uri: What the client gave.
        kind (`str`): `"image"` or `"video"`.
        param (`str`): Where it stands in the request, for the error.

    Raises:
        InvalidRequest: If it is none, or of another kind.
    """
    if not isinstance(uri, str):
        raise InvalidRequest(f"{param} must be a data URI (data:{kind}/...;base64,...)", param)
    head = _DATA_URI.match(uri)
    if head is None or head[1] != kind:
        shown = uri[:_SHOWN] + ("..." if len(uri) > _SHOWN else "")
        raise InvalidRequest(
            f"{param} must be a data URI of {'an image' if kind == 'image' else 'a video'} "
            f"(data:{kind}/...;base64,...), got {shown!r}: nothing is fetched and no file is opened",
            param,
        )
    try:
        data = base64.b64decode(uri[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{param} is no valid base64", param) from None
    if not data:
        raise InvalidRequest(f"{param} is empty", param)
    return data


def read_image(data: bytes, limits: Limits, param: str) -> Image.Image:
    """An RGB image.

    Raises:
        InvalidRequest: If it cannot be decoded, or has too many pixels; the size is looked at before.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_IMAGE_FORMATS)
        if image.width * image.height > limits.image_pixels:
            raise InvalidRequest(
                f"{param} has {image.width} x {image.height} pixels, at most {limits.image_pixels} are taken: "
                "scale it down",
                param,
            )
        return decode_image(image)
    except UNREADABLE:
        formats = ", ".join(_IMAGE_FORMATS)
        raise InvalidRequest(f"{param} cannot be decoded as an image ({formats} are read)", param) from None


def read_video(data: bytes, frames: int | None, fps: float | None, limits: Limits, param: str) -> Clip:
    """Frames of a video with their times.

    Args:
        data (`bytes`): The file.
        frames (`int`, *optional*): Frames at most, spread evenly.
        fps (`float`, *optional*): Frames a second; with neither one a second, as in the published evaluation.
        limits ([`Limits`]): Longest video and most frames.
        param (`str`): Where it stands in the request, for the error.

    Raises:
        InvalidRequest: If it cannot be decoded, or is too long.
    """
    with tempfile.NamedTemporaryFile(prefix="fourdthinker-") as file:
        file.write(data)
        file.flush()
        return read_video_file(Path(file.name), frames, fps, limits, param)


def read_video_file(path: Path, frames: int | None, fps: float | None, limits: Limits, param: str) -> Clip:
    """Frames of a video file with their times; arguments and errors as of [`read_video`]."""
    try:
        seconds = open_source(path).seconds
        if seconds > limits.video_seconds:
            raise InvalidRequest(
                f"{param} lasts {seconds:.0f} s, at most {limits.video_seconds:.0f} s are taken: cut it", param
            )
        if frames is None and fps is None:
            fps = FRAMES_PER_SECOND
        most = min(frames or limits.frames, limits.frames)
        pixels, time_limit = limits.frame_pixels, limits.decode_seconds
        return read_frames(path, fps=fps, max_frames=most, max_pixels=pixels, time_limit=time_limit)
    except VideoError as error:
        raise InvalidRequest(f"{param} {error.reason}; {error.remedy}", param) from None
    except InputError as error:
        raise InvalidRequest(str(error).replace(str(path), param), param) from None

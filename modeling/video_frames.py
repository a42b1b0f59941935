"""Decoded frames to upright RGB images, as the ffmpeg command shows them."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .video_file import MAX_FRAME_PIXELS, VideoError

_BT601 = 5  # number of its matrix in FFmpeg
_FULL_RANGE = 2
_MAX_ASPECT = 16  # pixels longer than that are a broken header's


class FrameConverter:
    """Convert the frames of one stream: colours by the file's own matrix and range, square pixels, upright.

    Frames of another size than the first are scaled to it, as the ffmpeg command does.

    Args:
        path (`Path`): The file, for messages.
        pixel_aspect (`float`): Width of a stored pixel by its height.
        max_pixels (`int`, *optional*): Larger images are shrunk, their aspect ratio kept.
    """

    def __init__(self, path: Path, pixel_aspect: float, max_pixels: int | None = None):
        self._path, self._max_pixels = path, max_pixels
        self._pixel_aspect = pixel_aspect if 1 / _MAX_ASPECT <= pixel_aspect <= _MAX_ASPECT else 1.0
        self._size: tuple[int, int] | None = None

    def convert(self, frame: Any) -> Image.Image:
        """An RGB image of the size of the first one.

        Raises:
            VideoError: If square pixels would make it larger than 8K.
        """
        if self._size is None:
            self._size = self._target(frame.width, frame.height)
        width, height = self._size
        shrinks = width * height < frame.width * frame.height
        # PyAV takes the matrix from the frame only if source and target differ; RGB has none of its own.
        converted = frame.reformat(
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=frame.colorspace,
            dst_colorspace=_BT601,
            src_color_range=frame.color_range,
            dst_color_range=frame.color_range if frame.color_range == _FULL_RANGE else None,
            interpolation="AREA" if shrinks else "BICUBIC",
        )
        return turn_upright(converted.to_ndarray(), frame)

    def _target(self, width: int, height: int) -> tuple[int, int]:
        square = max(1, int(width * self._pixel_aspect))
        if square * height > MAX_FRAME_PIXELS:
            size = f"{square} x {height}"
            raise VideoError(self._path, "too_large", f"has frames of {size} pixels", "scale it down to 8K or less")
        return fit_size(square, height, self._max_pixels)


def fit_size(width: int, height: int, max_pixels: int | None) -> tuple[int, int]:
    """Width and height of at most so many pixels, with the aspect ratio kept."""
    if max_pixels is None or width * height <= max_pixels:
        return width, height
    scale = (max_pixels / (width * height)) ** 0.5
    return max(1, int(width * scale)), max(1, int(height * scale))


def turn_upright(pixels: np.ndarray, frame: Any) -> Image.Image:
    """Apply a frame's display matrix, mirroring included, to its pixels of shape `(height, width, 3)`."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None or len(bytes(matrix)) != 36:
        return Image.fromarray(pixels)
    # Shown x = a * x + c * y, shown y = b * x + d * y.
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    straight, crossed = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(straight, crossed) > 0.02 * max(straight, crossed):  # no multiple of a quarter turn
        return Image.fromarray(pixels).rotate(frame.rotation, Image.Resampling.BILINEAR)
    if crossed > straight:
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    if a < 0:
        pixels = pixels[:, ::-1]
    if d < 0:
        pixels = pixels[::-1]
    return Image.fromarray(np.ascontiguousarray(pixels))

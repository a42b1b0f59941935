"""Decoded frames to upright RGB images, as the ffmpeg command shows them."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .video_file import MAX_FRAME_PIXELS, too_large

# FFmpeg's numbers of matrices; without one (2) it takes BT.601 (5, 6), and BT.601 also for RGB (0) and grey.
_BT601, _DEFAULT_MATRICES = 5, (0, 2, 5, 6)
_FULL_RANGE = 2
_SLANT = 0.02  # off a multiple of a quarter turn by about one degree
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
        self._shrinks = False

    def convert(self, frame: Any) -> Image.Image:
        """An RGB image of the size of the first one.

        Raises:
            VideoError: If square pixels would make it larger than 8K.
        """
        turn = read_turn(frame)
        if self._size is None:
            self._size = self._shown_size(frame.width, frame.height, turn)
        size = self._size[::-1] if turn.transposes else self._size
        return turn.apply(Image.fromarray(self._to_rgb(frame, *size)))

    def _to_rgb(self, frame: Any, width: int, height: int) -> np.ndarray:
        colours: dict[str, Any] = {}
        if frame.color_range == _FULL_RANGE or frame.colorspace not in _DEFAULT_MATRICES:
            # PyAV takes the matrix and the range from here only if source and target differ; RGB has none of its own.
            colours = {"src_colorspace": frame.colorspace, "dst_colorspace": _BT601}
            colours["src_color_range"] = colours["dst_color_range"] = frame.color_range
        interpolation = "AREA" if self._shrinks else "BICUBIC"
        converted = frame.reformat(width=width, height=height, format="rgb24", interpolation=interpolation, **colours)
        return converted.to_ndarray()

    def _shown_size(self, width: int, height: int, turn: "Turn") -> tuple[int, int]:
        aspect = 1 / self._pixel_aspect if turn.transposes else self._pixel_aspect
        if turn.transposes:
            width, height = height, width
        width = max(1, int(width * aspect))
        if width * height > MAX_FRAME_PIXELS:
            raise too_large(self._path, width, height)
        size = fit_size(width, height, self._max_pixels)
        self._shrinks = size != (width, height)
        return size


def fit_size(width: int, height: int, max_pixels: int | None) -> tuple[int, int]:
    """Width and height of at most so many pixels, with the aspect ratio kept."""
    if max_pixels is None or width * height <= max_pixels:
        return width, height
    scale = (max_pixels / (width * height)) ** 0.5
    return max(1, int(width * scale)), max(1, int(height * scale))


@dataclass(frozen=True)
class Turn:
    """What makes a stored picture upright: first transposed, then mirrored, then turned by what is left.

    Attributes:
        transposes, flips_x, flips_y (`bool`): Along the diagonal, left to right, top to bottom.
        degrees (`float`): Counterclockwise, for matrices that are no multiple of a quarter turn.
    """

    transposes: bool = False
    flips_x: bool = False
    flips_y: bool = False
    degrees: float = 0.0

    def apply(self, image: Image.Image) -> Image.Image:
        """The upright image."""
        if self.transposes:
            image = image.transpose(Image.Transpose.TRANSPOSE)
        if self.flips_x:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.flips_y:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        return image.rotate(self.degrees, Image.Resampling.BILINEAR) if self.degrees else image


def read_turn(frame: Any) -> Turn:
    """The turn that a frame's display matrix asks for, as the ffmpeg command reads it."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Turn()
    # Shown x = a * x + c * y, shown y = b * x + d * y, in units of 1 / 65536.
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    straight, crossed = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(straight, crossed) > _SLANT * max(straight, crossed):
        return Turn(degrees=frame.rotation)
    return Turn(True, c < 0, b < 0) if crossed > straight else Turn(False, a < 0, d < 0)

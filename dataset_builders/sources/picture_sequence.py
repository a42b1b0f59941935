"""Frames that are no video: a folder of numbered pictures, or the pictures inside a file of MegaSaM."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...modeling.images import UNREADABLE
from ...modeling.video_file import COPY_AGAIN, MAX_FRAME_PIXELS, VideoError
from ...modeling.video_frames import fit_size
from ...modeling.video_source import VideoSource, WebpSource, open_source
from ...modeling.video_timeline import read_timeline
from ..clip_error import ClipError
from ..layouts.files import is_inside, load_arrays

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
ARRAYS_SUFFIX = ".npz"
_NUMBER = re.compile(r"(\d+)$")


def is_sequence(path: Path) -> bool:
    """Whether the frames at a path are pictures, which come without times."""
    return path.is_dir() or path.suffix == ARRAYS_SUFFIX


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names; links that lead outside are left out."""
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and is_inside(path, folder)
    )


def picture_numbers(names: Sequence[str]) -> list[int]:
    """Which frame each picture is: by the number at the end of its name, if all have one and they increase."""
    found = [_NUMBER.search(Path(name).stem) for name in names]
    numbers = [int(match[1]) for match in found if match is not None]
    if len(numbers) == len(names) and all(a < b for a, b in zip(numbers, numbers[1:], strict=False)):
        return [number - numbers[0] for number in numbers]
    return list(range(len(names)))


def open_frames(path: Path, fps: float | None, max_pixels: int | None) -> "FrameSource":
    """The frames of a video or of a sequence of pictures.

    Args:
        path (`Path`): A video file, a folder of pictures or a file of MegaSaM.
        fps (`float`, *optional*): Pictures a second; videos have times of their own.
        max_pixels (`int`, *optional*): Larger frames are shrunk.
    """
    return PictureSequence(path, fps or 1.0, max_pixels) if is_sequence(path) else open_source(path, max_pixels)


def frame_seconds(path: Path, fps: float | None = None) -> np.ndarray:
    """Seconds of all frames of a video or a sequence from the first one."""
    if is_sequence(path):
        return PictureSequence(path, fps or 1.0).times
    timeline = read_timeline(path)
    return (np.array(timeline.moments) - timeline.origin) * timeline.tick


class PictureSequence:
    """Pictures as the frames of a clip; has what [`~modeling.video_source.VideoSource`] has.

    Args:
        path (`Path`): A folder of pictures, or an `.npz` file with `images` `(n, h, w, 3)`, uint8.
        fps (`float`): Pictures a second.
        max_pixels (`int`, *optional*): Larger ones are shrunk.

    Raises:
        VideoError: If there are none, or they cannot be read.
    """

    seekable = True

    def __init__(self, path: Path, fps: float, max_pixels: int | None = None):
        self.path, self._max_pixels = path, max_pixels
        self._files = list_pictures(path) if path.is_dir() else None
        self.count = len(self._files if self._files is not None else self._arrays)
        if self.count == 0:
            raise VideoError(path, "damaged", "holds no picture")
        numbers = range(self.count) if self._files is None else picture_numbers([file.name for file in self._files])
        self.times = np.array(numbers) / fps
        self.seconds = float(self.times[-1])

    def frames(self, start: float = 0.0) -> Iterator[tuple[float, Any]]:
        """Yield the number of each picture from a time on, with its seconds."""
        for number in range(int(np.searchsorted(self.times, start - 1e-6)), self.count):
            yield float(self.times[number]), number

    def to_image(self, frame: int) -> Image.Image:
        """One picture by its number, RGB."""
        picture = self._open(frame)
        size = fit_size(*picture.size, self._max_pixels)
        return picture if size == picture.size else picture.resize(size, Image.Resampling.BOX)

    @cached_property
    def _arrays(self) -> np.ndarray:
        try:
            images = load_arrays(self.path, {"images": (None, None, None, 3)})["images"]
        except ClipError as error:
            raise VideoError(self.path, "damaged", error.reason) from error
        if images.dtype != np.uint8:
            raise VideoError(self.path, "damaged", f"holds images of type {images.dtype}, not uint8")
        return images

    def _open(self, number: int) -> Image.Image:
        if self._files is None:
            return Image.fromarray(self._arrays[number])
        try:
            with Image.open(self._files[number]) as picture:
                if picture.width * picture.height > MAX_FRAME_PIXELS:
                    raise VideoError(self.path, "too_large", f"has frames of {picture.width} x {picture.height}")
                return picture.convert("RGB")  # as it is stored: solvers of poses take no notice of EXIF's turn
        except UNREADABLE as error:
            name = self._files[number].name
            raise VideoError(self.path, "damaged", f"holds {name}, which cannot be read", COPY_AGAIN) from error


FrameSource = VideoSource | WebpSource | PictureSequence

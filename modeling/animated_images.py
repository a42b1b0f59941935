"""Animated WebP as a video: FFmpeg's libraries do not decode it, PIL does."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from .images import UNREADABLE, decode_image
from .video_file import MAX_FRAME_PIXELS, VideoError, too_large
from .video_frames import fit_size

_SHORTEST, _DEFAULT = 0.011, 0.1  # seconds: browsers show frames of 10 ms and less for 100 ms


def is_webp(path: Path) -> bool:
    """Whether a file is a WebP image, by its content."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"


class WebpSource:
    """The frames of an animated WebP; has what [`video_source.VideoSource`] has."""

    seekable = False

    def __init__(self, path: Path, max_pixels: int | None = None):
        self.path, self._max_pixels = path, max_pixels
        times = [seconds for seconds, _ in self.frames()]
        self.count, self.seconds = len(times), times[-1]

    def frames(self, start: float = 0.0) -> Iterator[tuple[float, Image.Image]]:
        """Yield each frame with its seconds from the first; WebP can only be read from its start."""
        try:
            with Image.open(self.path) as image:
                self._check(image)
                seconds = 0.0
                for number in range(image.n_frames):
                    image.seek(number)
                    yield seconds, decode_image(image)
                    duration = image.info.get("duration", 0) / 1000
                    seconds += duration if duration >= _SHORTEST else _DEFAULT
        except VideoError:
            raise
        except UNREADABLE as error:
            raise VideoError(self.path, "damaged", f"is a damaged WebP image ({error})") from error

    def groups(self, wanted: list[float]) -> Iterator[list[float]]:
        """All times at once."""
        yield wanted

    def to_image(self, frame: Image.Image) -> Image.Image:
        """An RGB image of at most `max_pixels`."""
        size = fit_size(*frame.size, self._max_pixels)
        return frame if size == frame.size else frame.resize(size, Image.Resampling.BOX)

    def _check(self, image: Image.Image) -> None:
        if image.width * image.height > MAX_FRAME_PIXELS:
            raise too_large(self.path, image.width, image.height)
        if getattr(image, "n_frames", 1) < 2:
            raise VideoError(self.path, "not_video", "is no video but a still image", "give a file of several frames")

"""The decoded frames of one video from any place on, without decoding what lies far before."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from .animated_images import WebpSource, is_webp
from .video_file import VideoError, check_file, import_av, name_faults, open_video
from .video_frames import FrameConverter
from .video_timeline import FrameClock, read_timeline

TimedFrame = tuple[float, Any]  # seconds from the first frame, and a frame as its decoder gives it

_SECONDS_BACK = (0.0, 0.5, 2.0, 8.0)
_FRAMES_WORTH_A_SEEK = 32  # decoding fewer than that in passing costs less than looking for a key frame


def open_source(path: Path, max_pixels: int | None = None) -> "VideoSource | WebpSource":
    """The frames of a video file or of an animated image.

    Raises:
        VideoError: If it is missing, no video, damaged or cut short.
    """
    check_file(path)
    return WebpSource(path, max_pixels) if is_webp(path) else VideoSource(path, max_pixels)


def check_first_frame(path: Path) -> None:
    """Raise a [`VideoError`] if the first frame of a file cannot be decoded. Its length costs nothing."""
    check_file(path)
    if is_webp(path):
        WebpSource(path)
        return
    with open_video(path) as (container, stream):
        first = next(container.decode(stream), None)
    if first is None or first.is_corrupt:
        raise VideoError(path, "damaged", "holds no frame that can be decoded")


class VideoSource:
    """The frames of a video file.

    Args:
        path (`Path`): The file.
        max_pixels (`int`, *optional*): Larger images are shrunk, their aspect ratio kept.

    Attributes:
        count (`int`): Frames that the file shows.
        seconds (`float`): From the first frame to the last.
        seekable (`bool`): Whether frames far from the start can be had without decoding all before them.

    Raises:
        VideoError: If it is no video, damaged or cut short.
    """

    def __init__(self, path: Path, max_pixels: int | None = None):
        self.path = path
        self._timeline = read_timeline(path)
        self._converter = FrameConverter(path, self._timeline.pixel_aspect, max_pixels)
        self.count, self.seconds = len(self._timeline.moments), self._timeline.seconds
        self.seekable = self._timeline.seekable

    def frames(self, start: float = 0.0) -> Iterator[TimedFrame]:
        """Yield the frames from the last key frame on that is not after `start`, with their seconds from the first.

        Where that cannot give exactly what decoding from the start gives, it begins at the start.

        Raises:
            VideoError: Where the decoder finds the file damaged.
        """
        timeline = self._timeline
        keys = timeline.keys_before(timeline.origin + start / timeline.tick)
        if keys and keys[0] > timeline.origin:
            with open_video(self.path) as (container, stream):
                for key in keys:
                    if decoded := self._decode_from(container, stream, key):
                        yield from ((self._seconds(moment), self._sound(moment, frame)) for moment, frame in decoded)
                        return
        with open_video(self.path) as (container, stream):
            clock = FrameClock(container, stream)
            for frame in container.decode(stream):
                if (moment := clock.read(frame)) is not None:
                    yield self._seconds(moment), self._sound(moment, frame)

    def groups(self, wanted: list[float]) -> Iterator[list[float]]:
        """Split sorted times into groups between which it pays to leave out frames."""
        timeline, group = self._timeline, wanted[:1]
        for before, time in zip(wanted, wanted[1:], strict=False):
            moments = [timeline.origin + seconds / timeline.tick for seconds in (before, time)]
            keys = timeline.keys_before(moments[1])
            if keys and timeline.frames_between(moments[0], keys[0]) > _FRAMES_WORTH_A_SEEK:
                yield group
                group = []
            group.append(time)
        yield group

    def to_image(self, frame: Any) -> Image.Image:
        """An upright RGB image with square pixels."""
        with name_faults(self.path):
            return self._converter.convert(frame)

    def _decode_from(self, container: Any, stream: Any, key: int) -> Iterator[tuple[int, Any]] | None:
        """Frames from a key frame on, with their ticks; `None` where it proves to be none."""
        if (packets := self._seek(container, stream, key)) is None:
            return None
        frames = self._decode_packets(packets, key)
        first = next(frames, None)
        if first is None or first.pts != key or not first.key_frame:
            return None
        return _with_ticks(first, frames)

    def _seek(self, container: Any, stream: Any, key: int) -> Iterator[Any] | None:
        """The packets from that of a key frame on. Transport streams have no index: one lands about there."""
        for seconds in _SECONDS_BACK:
            container.seek(key - int(seconds / self._timeline.tick), stream=stream)
            packets = container.demux(stream)
            for packet in packets:
                if packet.size == 0 or (packet.dts is not None and packet.dts > key):
                    break
                if packet.pts == key and packet.is_keyframe:
                    return chain([packet], packets)
        return None

    def _decode_packets(self, packets: Iterator[Any], key: int) -> Iterator[Any]:
        """Frames from a key frame on. Those stored after it and shown before it need what lies before it."""
        reached = False
        for packet in packets:
            try:
                decoded = packet.decode()
            except import_av(self.path).FFmpegError:
                if reached:
                    raise
                continue
            for frame in decoded:
                reached = reached or frame.pts is None or frame.pts >= key
                if reached:
                    yield frame

    def _seconds(self, moment: int) -> float:
        return (moment - self._timeline.origin) * self._timeline.tick

    def _sound(self, moment: int, frame: Any) -> Any:
        if frame.is_corrupt:
            raise VideoError(self.path, "damaged", f"is damaged at {self._seconds(moment):.3f} s")
        return frame


def _with_ticks(first: Any, rest: Iterator[Any]) -> Iterator[tuple[int, Any]]:
    last = first.pts
    yield last, first
    for frame in rest:
        if frame.pts is not None and frame.pts > last:
            last = frame.pts
            yield last, frame

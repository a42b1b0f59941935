"""Decode a video file to frames with true timestamps, or raise an error of one line."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from .errors import InputError
from .processing import Clip

# Demuxers that read the one file they are given. Playlists, concat scripts and image sequences name other files.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts"
_MAX_FRAME_PIXELS = 7680 * 4320  # 8K; a forged header can ask for gigabytes a frame
_MAX_FRAMES = 1024
_REMEDY = "copy or export it again"
_HIDDEN_FRAME_CODECS = frozenset({"vp8", "vp9"})  # some of their packets show no frame
_TICKS_PER_SECOND = 1_000_000  # FFmpeg's clock for the length of a whole file

TimedFrame = tuple[float, Any]  # seconds from the first frame, and a frame as PyAV decodes it


class FrameTimestampError(InputError):
    """No frame is close enough to a requested time."""


def read_frames(
    path: str | os.PathLike,
    fps: float | None = None,
    max_frames: int | None = None,
    times: Sequence[float] | None = None,
    tolerance: float = 0.1,
    max_pixels: int | None = None,
) -> Clip:
    """Sample frames of a video while decoding it, so that memory holds no more than the sample.

    Give `times`, or `fps` and/or `max_frames`; where `fps` would give more than `max_frames` frames, these are spread
    evenly over the video from the first frame to the last. With none of them every frame is read.

    Args:
        path (`str` or `os.PathLike`):
            A video file (MP4/MOV, Matroska/WebM, AVI, FLV, MPEG).
        fps (`float`, *optional*):
            Frames to take per second.
        max_frames (`int`, *optional*):
            At most so many frames.
        times (`Sequence[float]`, *optional*):
            Seconds from the first frame, increasing; for each the nearest frame is taken.
        tolerance (`float`, *optional*, defaults to 0.1):
            How many seconds the nearest frame may lie from one of `times`.
        max_pixels (`int`, *optional*):
            Larger frames are shrunk, their aspect ratio kept.

    Returns:
        [`Clip`]: Upright RGB frames, and their own times in seconds from the first frame (never the asked times).

    Raises:
        FrameTimestampError: If no frame lies near an asked time.
        InputError: If the file is missing, no video, damaged or cut short, the sampling makes no sense, or PyAV is not
            installed.
    """
    path = Path(path)
    _check_sampling(fps, max_frames, times)
    with _open(path) as container:
        contents = _scan(path, container)
    times_to_show = _times(path, contents, fps, max_frames, times)
    with _open(path) as container:
        chosen = _decode(path, container, contents)
        if times_to_show is not None:
            chosen = _distinct(_nearest(chosen, times_to_show))
        frames: list[Image.Image] = []
        timestamps: list[float] = []
        for now, frame in chosen:
            frames.append(_to_image(path, frame, frames[0].size if frames else None, max_pixels))
            timestamps.append(now)
    if times is not None:
        _check_times(path, times, timestamps, tolerance, contents.seconds)
    return Clip(frames, timestamps)


def check_video(path: str | os.PathLike) -> None:
    """Look whether a file is a video whose first frame can be decoded. Its length costs nothing.

    Raises:
        InputError: If the file is missing, no video, or damaged where this sees it; damage further in, or an end that
            is cut off behind a whole header, shows in [`read_frames`] alone.
    """
    path = Path(path)
    with _open(path) as container:
        stream = _video_stream(path, container)
        first = next(container.decode(stream), None)
    if first is None or first.is_corrupt:
        raise InputError(f"{path} holds no frame that can be decoded; {_REMEDY}.")


def _check_times(
    path: Path, times: Sequence[float], timestamps: Sequence[float], tolerance: float, seconds: float
) -> None:
    for time in times:
        found = min(timestamps, key=lambda timestamp: abs(timestamp - time))
        if abs(time - found) > tolerance:
            raise FrameTimestampError(
                f"{path}: no frame within {tolerance:g} s of {time:g} s, the nearest is at {found:.3f} s; ask for"
                f" times between 0 and {seconds:.2f} s or allow a larger tolerance."
            )
    if len(timestamps) < len(times):
        raise FrameTimestampError(f"{path}: two of the asked times fall on one frame; ask for times further apart.")


def _check_sampling(fps: float | None, max_frames: int | None, times: Sequence[float] | None) -> None:
    if times is not None and (fps is not None or max_frames is not None):
        raise InputError("give either the times of the frames, or fps and max_frames")
    if times is not None and (len(times) == 0 or any(later <= earlier for earlier, later in pairwise(times))):
        raise InputError("the times of the frames must be given in increasing order, at least one")
    if fps is not None and not 0 < fps < float("inf"):
        raise InputError(f"fps is {fps}; it must be more than 0")
    if max_frames is not None and max_frames < 1:
        raise InputError(f"the number of frames is {max_frames}; it must be at least 1")


def _import_av(path: Path) -> ModuleType:
    """PyAV. A checkpoint's code must load without it, since frames can be given as images."""
    try:  # the only place in which transformers does not ask for an imported package before it runs remote code
        import av
    except ImportError as error:
        raise InputError(f"{path} cannot be decoded without PyAV: run `pip install av`") from error
    return av


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a video file and nothing else; whatever the decoder finds wrong with it becomes one line."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name one video file in it.")
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file; check the path.")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; {_REMEDY}.")
    av = _import_av(path)
    # Rather no frame than one patched up from its neighbours, and none larger than its header may claim.
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    strict = {"err_detect": "explode", "max_pixels": str(_MAX_FRAME_PIXELS)}
    try:
        # `file:` keeps a name such as `concat:a|b` or `http:x` from being read as an address.
        with av.open(f"file:{path.absolute()}", container_options=options, options=strict) as opened:
            yield opened
    except av.FFmpegError as error:
        raise InputError(f"{path} is no video that can be read, or damaged ({error.strerror}); {_REMEDY}.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error


@dataclass(frozen=True)
class _Contents:
    """Facts of a video from its file's packets, before any is decoded."""

    packets: int
    first: float
    last: float
    exact: bool  # each packet must give one frame

    @property
    def seconds(self) -> float:
        return self.last - self.first


def _video_stream(path: Path, container: Any) -> Any:
    if not container.streams.video:
        raise InputError(f"{path} holds no video stream; give a file with images, not sound alone.")
    stream = container.streams.video[0]
    if stream.codec_context.width * stream.codec_context.height > _MAX_FRAME_PIXELS:
        raise InputError(f"{path} has frames of {stream.width} x {stream.height} pixels; scale it down to 8K or less.")
    return stream


def _scan(path: Path, container: Any) -> _Contents:
    """Read all packets without decoding them, and compare with what the header promised."""
    stream = _video_stream(path, container)
    packets, shown, ends = 0, [], [0.0]
    for packet in container.demux():
        moment = packet.dts if packet.pts is None else packet.pts
        if packet.size == 0 or moment is None:
            continue
        ends.append(float((moment + (packet.duration or 0)) * packet.time_base))
        if packet.stream is stream or packet.stream_index == stream.index:
            packets += 1
            if not packet.is_discard:
                shown.append(float(moment * packet.time_base))
    if not shown:
        raise InputError(f"{path} holds no frame; {_REMEDY}.")
    # Only MP4's index counts frames; AVI counts ticks of its clock, the others count nothing and declare seconds.
    declared = stream.frames if "mp4" in container.format.name else 0
    if declared and packets != declared:
        raise InputError(f"{path} is cut short: {declared} frames declared, {packets} found; {_REMEDY}.")
    promised, present = (container.duration or 0) / _TICKS_PER_SECOND, max(ends)
    if promised - present > max(0.5, 0.05 * promised):
        raise InputError(f"{path} is cut short: {promised:.2f} s declared, {present:.2f} s found; {_REMEDY}.")
    exact = bool(declared) and stream.codec_context.name not in _HIDDEN_FRAME_CODECS
    return _Contents(len(shown), min(shown), max(shown), exact)


def _times(
    path: Path, contents: _Contents, fps: float | None, max_frames: int | None, times: Sequence[float] | None
) -> list[float] | None:
    """Seconds from the first frame at which to sample, or `None` for every frame."""
    if times is not None:
        return list(times)
    count = contents.packets if fps is None else int(contents.seconds * fps + 1e-6) + 1
    limit = min(max_frames or count, _MAX_FRAMES)
    if count > limit and max_frames is None:
        raise InputError(f"{path} would give {count} frames; ask for at most {_MAX_FRAMES}, or for fewer a second.")
    if count > limit:
        return [contents.seconds * index / max(1, limit - 1) for index in range(limit)]
    return None if fps is None else [index / fps for index in range(count)]


def _decode(path: Path, container: Any, contents: _Contents) -> Iterator[TimedFrame]:
    """Yield every frame with its seconds from the first one; end in an error where frames are damaged or missing."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    decoded, before = 0, float("-inf")
    for frame in container.decode(stream):
        moment = frame.dts if frame.pts is None else frame.pts
        if frame.is_corrupt or moment is None:
            raise InputError(f"{path} is damaged at frame {decoded}; {_REMEDY}.")
        now = float(moment * frame.time_base) - contents.first
        if now <= before:
            raise InputError(f"{path}: time goes back after {before:.3f} s; {_REMEDY}.")
        yield now, frame
        decoded, before = decoded + 1, now
    if decoded == 0 or (contents.exact and decoded != contents.packets):
        raise InputError(f"{path} is damaged: {contents.packets} frames stored, {decoded} decoded; {_REMEDY}.")


def _nearest(decoded: Iterator[TimedFrame], times_to_show: list[float]) -> Iterator[TimedFrame]:
    """Yield the frame nearest to each wanted time, in order; holds two frames at a time and reads to the end."""
    pending, before = deque(times_to_show), None
    for current in decoded:
        while pending and pending[0] <= current[0]:
            time = pending.popleft()
            yield before if before is not None and time - before[0] < current[0] - time else current
        before = current
    if before is not None:
        yield from (before for _ in pending)


def _distinct(chosen: Iterator[TimedFrame]) -> Iterator[TimedFrame]:
    """Drop repetitions: a video slower than the sampling gives each of its frames once."""
    before = None
    for now, frame in chosen:
        if now != before:
            yield now, frame
        before = now


def _to_image(path: Path, frame: Any, size: tuple[int, int] | None, max_pixels: int | None) -> Image.Image:
    """An upright RGB image; `size` is that of the clip's other frames."""
    image = frame.to_image()
    if frame.rotation % 360:  # degrees counterclockwise, as in PIL
        image = image.rotate(frame.rotation, expand=True)
    if max_pixels is not None and image.width * image.height > max_pixels:
        scale = (max_pixels / (image.width * image.height)) ** 0.5
        image = image.resize([max(1, int(side * scale)) for side in image.size], Image.Resampling.LANCZOS)
    if size is not None and image.size != size:
        raise InputError(f"{path} changes its frame size from {size} to {image.size}; split it there.")
    return image

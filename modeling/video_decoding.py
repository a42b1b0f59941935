"""Decode a video file to frames with true timestamps, or raise an error of one line."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from time import monotonic

from PIL import Image

from .clip import Clip
from .errors import InputError
from .video_source import TimedFrame, VideoSource, WebpSource, check_first_frame, open_source

_MAX_FRAMES = 1024


class FrameTimestampError(InputError):
    """No frame is close enough to a requested time."""


def read_frames(
    path: str | os.PathLike,
    fps: float | None = None,
    max_frames: int | None = None,
    times: Sequence[float] | None = None,
    tolerance: float = 0.1,
    max_pixels: int | None = None,
    start: float | None = None,
    end: float | None = None,
    time_limit: float | None = None,
) -> Clip:
    """Sample frames of a video while decoding it, so that memory holds no more than the sample.

    Give `times`, or `fps` and/or `max_frames`; where `fps` would give more than `max_frames` frames, these are spread
    evenly over the video from the first frame to the last. With none of them every frame is read. Of a long video only
    the stretches from a key frame to a sampled frame are decoded, which gives exactly what decoding all of it would.
    With `start` or `end` the part between them is sampled as if it were the whole video.

    Args:
        path (`str` or `os.PathLike`):
            A video file (MP4/MOV, Matroska/WebM, AVI, FLV, MPEG) or an animated GIF or WebP.
        fps (`float`, *optional*):
            Frames to take per second.
        max_frames (`int`, *optional*):
            Most frames.
        times (`Sequence[float]`, *optional*):
            Seconds from the first frame, increasing; for each the nearest frame is taken.
        tolerance (`float`, *optional*, defaults to 0.1):
            How many seconds the nearest frame may lie from one of `times`.
        max_pixels (`int`, *optional*):
            Larger frames are shrunk, their aspect ratio kept.
        start, end (`float`, *optional*):
            Seconds from the first frame, with `fps` or `max_frames`; by default the video's own ends.
        time_limit (`float`, *optional*):
            Seconds that decoding may take; for servers, whose clients choose the video.

    Returns:
        [`Clip`]: Upright RGB frames with square pixels, as the ffmpeg command shows them, and their own times in
            seconds from the first frame (never the requested times).

    Raises:
        FrameTimestampError: If no frame lies near a requested time.
        InputError: If the file is missing, no video, damaged or cut short ([`VideoError`]), the sampling makes no
            sense, decoding takes too long, or PyAV is not installed.
    """
    path = Path(path)
    _check_sampling(fps, max_frames, times)
    _check_part(fps, max_frames, start, end)
    frames: list[Image.Image] = []
    timestamps: list[float] = []
    source = open_source(path, max_pixels)
    wanted = _times(source, fps, max_frames, times, start, end)
    end_time = None if time_limit is None else monotonic() + time_limit
    every = _stop_at(end_time, path, source.frames())
    for now, frame in every if wanted is None else _sample(source, wanted, end_time):
        frames.append(source.to_image(frame))
        timestamps.append(now)
    if times is not None:
        _check_times(path, times, timestamps, tolerance, source.seconds)
    return Clip(frames, timestamps)


def check_video(path: str | os.PathLike) -> None:
    """Look whether a file is a video whose first frame can be decoded. Its length costs nothing.

    Raises:
        InputError: If the file is missing, no video, or damaged where this sees it; damage further in, or an end that
            is cut off behind a whole header, shows in [`read_frames`] alone.
    """
    check_first_frame(Path(path))


def _times(
    source: VideoSource | WebpSource,
    fps: float | None,
    max_frames: int | None,
    times: Sequence[float] | None,
    start: float | None,
    end: float | None,
) -> list[float] | None:
    """Seconds from the first frame at which to sample, or `None` for every frame."""
    if times is not None:
        return list(times)
    first, last = start or 0.0, source.seconds if end is None else min(end, source.seconds)
    if first > source.seconds:
        raise InputError(f"{source.path} lasts {source.seconds:.2f} s: it has nothing to show from {first:g} s on")
    seconds = last - first
    share = seconds / source.seconds if source.seconds else 1.0
    count = max(1, round(source.count * share)) if fps is None else int(seconds * fps + 1e-6) + 1
    limit = min(max_frames or count, _MAX_FRAMES)
    if count > limit and max_frames is None:
        raise InputError(
            f"{source.path} would give {count} frames; ask for at most {_MAX_FRAMES}, or for fewer a second."
        )
    if count > limit:
        return [first + seconds * index / max(1, limit - 1) for index in range(limit)]
    if fps is not None:
        return [first + index / fps for index in range(count)]
    if share == 1:
        return None
    return [first + seconds * index / max(1, count - 1) for index in range(count)]


def _sample(
    source: VideoSource | WebpSource, wanted: list[float], end_time: float | None = None
) -> Iterator[TimedFrame]:
    """Yield the frames nearest to the wanted times, each once; a slow video has fewer than there are times."""
    before = None
    for group in source.groups(wanted):
        for now, frame in _nearest(_stop_at(end_time, source.path, source.frames(group[0])), group):
            if now != before:
                yield now, frame
            before = now


def _stop_at(end_time: float | None, path: Path, decoded: Iterator[TimedFrame]) -> Iterator[TimedFrame]:
    """Pass decoded frames on, until it takes too long."""
    for frame in decoded:
        if end_time is not None and monotonic() > end_time:
            raise InputError(f"{path} takes too long to decode; give a shorter or smaller one, or fewer frames.")
        yield frame


def _nearest(decoded: Iterator[TimedFrame], wanted: list[float]) -> Iterator[TimedFrame]:
    """Yield the frame nearest to each wanted time, in order; holds two frames at a time."""
    pending, before = deque(wanted), None
    for current in decoded:
        while pending and pending[0] <= current[0]:
            time = pending.popleft()
            yield before if before is not None and time - before[0] < current[0] - time else current
        if not pending:
            return
        before = current
    if before is not None:
        yield from (before for _ in pending)


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
        raise FrameTimestampError(
            f"{path}: two of the requested times fall on one frame; ask for times further apart."
        )


def _check_sampling(fps: float | None, max_frames: int | None, times: Sequence[float] | None) -> None:
    if times is not None and (fps is not None or max_frames is not None):
        raise InputError("give either the times of the frames, or fps and max_frames")
    if times is not None and (len(times) == 0 or any(later <= earlier for earlier, later in pairwise(times))):
        raise InputError("the times of the frames must be given in increasing order, at least one")
    if fps is not None and not 0 < fps < float("inf"):
        raise InputError(f"fps is {fps}; it must be more than 0")
    if max_frames is not None and max_frames < 1:
        raise InputError(f"the number of frames is {max_frames}; it must be at least 1")


def _check_part(fps: float | None, max_frames: int | None, start: float | None, end: float | None) -> None:
    if start is None and end is None:
        return
    if not 0 <= (start or 0.0) < (float("inf") if end is None else end):
        raise InputError(f"the part of a video from {start} s to {end} s is empty: it must start before it ends")
    if fps is None and max_frames is None:
        raise InputError("a part of a video is sampled by fps or max_frames: give one of them")

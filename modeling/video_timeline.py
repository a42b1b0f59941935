"""When the frames of a video are shown: by its packets before any is decoded, and by the decoded frames."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from .video_file import VideoError, is_cut_off, open_video

# Recordings of these kinds may be joined, so that their clocks start again (FFmpeg's AVFMT_TS_DISCONT).
_JOINED = ("mpeg", "mpegts")
_LARGEST_GAP, _LARGEST_RETURN = 10.0, 0.1  # seconds that the clock of such a recording may jump; FFmpeg's defaults
_KEYS_BACK = (0, 1, 2, 4, 8, 16)
_SEEKABLE = ("mov", "matroska", "avi", "flv", *_JOINED)


@dataclass(frozen=True)
class Timeline:
    """What a file's packets say of its video.

    Attributes:
        moments (`tuple[int, ...]`): Times of the frames that are shown, sorted, in ticks.
        keys (`tuple[int, ...]`): Those of all frames at which decoding may begin, sorted.
        tick (`float`): Seconds a tick.
        origin (`int`): Time of the first frame that can be decoded, in ticks.
        seconds (`float`): From the first frame to the last.
        pixel_aspect (`float`): Width of a stored pixel by its height.
        seekable (`bool`): Whether decoding from a key gives the same frames and times as decoding from the start.
    """

    moments: tuple[int, ...]
    keys: tuple[int, ...]
    tick: float
    origin: int
    seconds: float
    pixel_aspect: float
    seekable: bool

    def keys_before(self, moment: float) -> list[int]:
        """Keys that are not after a moment in ticks: the last one, and some before it in case that it is none."""
        if not self.seekable:
            return []
        last = bisect_right(self.keys, moment) - 1
        return [self.keys[last - back] for back in _KEYS_BACK if last - back >= 0]

    def frames_between(self, first: float, last: float) -> int:
        """How many frames are shown after one moment, up to another."""
        return bisect_right(self.moments, last) - bisect_right(self.moments, first)


def read_timeline(path: Path) -> Timeline:
    """Read all packets of a file without decoding them.

    Raises:
        VideoError: If it is no video, holds no frame, or ends too early.
    """
    status = path.stat() if path.is_file() else None
    return _read_timeline(path, status and (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=8)  # several windows of one file are read one after another
def _read_timeline(path: Path, _status: tuple[int, int] | None) -> Timeline:
    with open_video(path) as (container, stream):
        moments, keys, timed = _scan(path, container, stream)
        kind, tick = _kind(container), float(stream.time_base)
        plain = (
            timed and len(set(moments)) == len(moments) and (kind != "avi" or not stream.codec_context.has_b_frames)
        )
        gaps = kind in _JOINED and any((later - now) * tick > _LARGEST_GAP for now, later in pairwise(moments))
        seekable = plain and not gaps and kind in _SEEKABLE
        rate, aspect = float(stream.guessed_rate or 25), float(stream.sample_aspect_ratio or 1)
    origin = _first_moment(path)
    seconds = (moments[-1] - (origin if seekable else moments[0])) * tick
    if kind in _JOINED and not seekable:
        seconds = (len(moments) - 1) / rate
    return Timeline(tuple(moments), tuple(keys), tick, origin, seconds, aspect, seekable)


def _scan(path: Path, container: Any, stream: Any) -> tuple[list[int], list[int], bool]:
    """Times of all shown frames and of all keys, sorted, and whether every packet has a time of its own."""
    moments, keys, timed, last = [], [], True, None
    for packet in container.demux():
        if packet.size == 0:
            continue
        last = packet
        moment = packet.dts if packet.pts is None else packet.pts
        if packet.stream_index != stream.index or moment is None:
            timed = timed and packet.stream_index != stream.index
            continue
        timed = timed and packet.pts is not None
        if not packet.is_discard:
            moments.append(moment)
        if packet.is_keyframe:
            keys.append(moment)
    # A broken check sum inside a transport stream marks its packet too; there the decoder decides.
    if is_cut_off(path) or (last is not None and last.is_corrupt and _kind(container) != "mpegts"):
        raise VideoError(path, "damaged", "is cut short")
    if not moments:
        raise VideoError(path, "damaged", "holds no frame")
    return sorted(moments), sorted(keys), timed


def _first_moment(path: Path) -> int:
    with open_video(path) as (container, stream):
        clock = FrameClock(container, stream)
        for frame in container.decode(stream):
            if (moment := clock.read(frame)) is not None:
                return moment
    raise VideoError(path, "damaged", "holds no frame that can be decoded")


def _kind(container: Any) -> str:
    return container.format.name.partition(",")[0]


class FrameClock:
    """The time of each decoded frame in ticks, in the order in which the decoder gives them, as FFmpeg finds it.

    That is the frame's own time, or that of the packet which completed it where the frames' own go back more often
    (`guess_correct_pts`); without either, the time at which the frame before ends. AVI counts packets alone.
    """

    def __init__(self, container: Any, stream: Any):
        kind = _kind(container)
        self._tick = float(stream.time_base)
        self._step = max(1, round(1 / (float(stream.guessed_rate or 25) * self._tick)))
        self._packets_alone, self._joined = kind == "avi", kind in _JOINED
        self._faulty = {"pts": 0, "dts": 0}
        self._before: dict[str, int | None] = {"pts": None, "dts": None}
        self._last: int | None = None
        self._shift = 0

    def read(self, frame: Any) -> int | None:
        """Ticks of a frame, after those of the one before; `None` for one that is out of time, which nobody sees."""
        moment = self._guess(frame.pts, frame.dts)
        last, step = self._last, frame.duration or self._step
        if moment is None:
            moment = 0 if last is None else last + step
        elif last is not None and self._joined:
            jump = (moment + self._shift - last - step) * self._tick
            if jump > _LARGEST_GAP or jump < -_LARGEST_RETURN:
                self._shift = last + step - moment
            moment += self._shift
        if last is not None and moment <= last:
            # In AVI the last frames of a stream come without packets of their own.
            nudge = step if self._packets_alone else max(1, step // 2)
            if not self._packets_alone and moment <= last - step:
                return None
            moment = last + nudge
        self._last = moment
        return moment

    def _guess(self, pts: int | None, dts: int | None) -> int | None:
        if self._packets_alone and dts is not None:
            return dts
        for name, value, other in (("dts", dts, pts), ("pts", pts, dts)):
            before = self._before[name]
            if value is not None:
                self._faulty[name] += before is not None and value <= before
            if value is not None or other is not None:
                self._before[name] = other if value is None else value
        if pts is not None and (dts is None or self._faulty["pts"] <= self._faulty["dts"]):
            return pts
        return dts

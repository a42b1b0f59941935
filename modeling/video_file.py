"""Open a video file and nothing else, choose its stream, and say in one line what is wrong with it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import InputError

# Demuxers that read the one file they are given. Playlists, concat scripts and image sequences name other files.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,avi,flv,mpeg,mpegts,mpegvideo,ogg,gif"
MAX_FRAME_PIXELS = 7680 * 4320  # 8K; a forged header can ask for gigabytes a frame
COPY_AGAIN = "copy or export it again"
_OLDEST_PYAV = 15  # older ones know neither dispositions nor durations of frames
_THREADS = 4  # more gain little, and each holds frames
_MP4_BOXES = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"uuid"})
_MATROSKA, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF = b"\x30\x26\xb2\x75"
_STARTS = (_MATROSKA, _ASF, b"RIFF", b"FLV", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"OggS", b"GIF8")


class VideoError(InputError):
    """A video file that cannot be read.

    Args:
        path (`str` or `os.PathLike`): The file.
        code (`str`): `empty` (or not there), `not_video`, `no_picture`, `damaged`, `too_large` or `memory`.
        reason (`str`): A predicate to the file's name.
        remedy (`str`, *optional*): What a user can do, in the imperative.
    """

    def __init__(self, path: str | os.PathLike, code: str, reason: str, remedy: str = COPY_AGAIN):
        super().__init__(f"{path} {reason}; {remedy}.")
        self.path, self.code, self.reason, self.remedy = path, code, reason, remedy

    def __reduce__(self):
        return type(self), (self.path, self.code, self.reason, self.remedy)


def import_av(path: Path) -> ModuleType:
    """PyAV. A checkpoint's code must load without it, since frames can be given as images."""
    try:  # the only place in which transformers does not ask for an imported package before it runs remote code
        import av
    except ImportError as error:
        raise InputError(f"{path} cannot be decoded without PyAV: run `pip install av`") from error
    if int(av.__version__.partition(".")[0]) < _OLDEST_PYAV:
        raise InputError(f"{path} cannot be decoded with PyAV {av.__version__}: run `pip install -U av`")
    return av


def check_file(path: Path) -> None:
    """Raise a [`VideoError`] if there is no file with something in it."""
    if path.is_dir():
        raise VideoError(path, "empty", "is a folder", "name one video file in it")
    if not path.is_file():
        raise VideoError(path, "empty", "does not exist or is not a file", "check the path")
    if path.stat().st_size == 0:
        raise VideoError(path, "empty", "is empty")


@contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a video file: PyAV's container and the video stream, ready to decode.

    Raises:
        VideoError: Whatever FFmpeg finds wrong, here or inside the block, as one line.
    """
    check_file(path)
    av = import_av(path)
    # Decoder options given to `av.open` write past an array where streams appear late (FLV, MPEG program streams).
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    with name_faults(path):
        # `file:` keeps a name such as `concat:a|b` or `http:x` from being read as an address.
        with av.open(f"file:{path.absolute()}", container_options=options, metadata_errors="replace") as container:
            stream = choose_stream(path, container)
            # Rather no frame than one patched up from its neighbours, none larger than its header may claim, and
            # margins cut off to the pixel (`unaligned`).
            stream.codec_context.options = {
                "err_detect": "explode",
                "max_pixels": str(MAX_FRAME_PIXELS),
                "flags": "+unaligned",
            }
            stream.codec_context.thread_count = min(_THREADS, os.cpu_count() or 1)
            stream.thread_type = "AUTO"
            yield container, stream


@contextmanager
def name_faults(path: Path) -> Iterator[None]:
    """Turn what PyAV raises inside the block into a [`VideoError`]."""
    av = import_av(path)
    try:
        yield
    except (av.MemoryError, MemoryError) as error:
        raise VideoError(path, "memory", "needs more memory than there is", "scale it down") from error
    except av.FFmpegError as error:
        if _starts_as_video(path):
            raise VideoError(path, "damaged", f"is damaged ({error.strerror})") from error
        reason = f"is no video that can be read ({error.strerror})"
        raise VideoError(path, "not_video", reason, "give a video file, such as an MP4 or WebM") from error
    except OSError as error:
        raise VideoError(path, "empty", f"cannot be read ({error.strerror})", "check its permissions") from error


def choose_stream(path: Path, container: Any) -> Any:
    """The video stream that the ffmpeg command takes: the largest that is no attached picture."""
    streams = [stream for stream in container.streams.video if not _is_marked(stream, "attached_pic")]
    if not streams:
        raise VideoError(
            path, "no_picture", "holds no video stream", "give a file with moving pictures, not sound alone"
        )
    if not (streams := [stream for stream in streams if stream.codec_context is not None]):
        raise VideoError(path, "not_video", "is in a video format that is unknown here", "convert it with ffmpeg")
    chosen = max(streams, key=lambda stream: _area(stream) + 5_000_000 * _is_marked(stream, "default"))
    if _area(chosen) > MAX_FRAME_PIXELS:
        raise too_large(path, chosen.codec_context.width, chosen.codec_context.height)
    return chosen


def too_large(path: Path, width: int, height: int) -> VideoError:
    """The error of a video whose frames have more than 8K."""
    return VideoError(path, "too_large", f"has frames of {width} x {height} pixels", "scale it down to 8K or less")


def _area(stream: Any) -> int:
    return stream.codec_context.width * stream.codec_context.height


def _is_marked(stream: Any, name: str) -> bool:
    return bool(stream.disposition & getattr(type(stream.disposition), name))


def _starts_as_video(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    transport_stream = head[:1] == b"G" or head[4:5] == b"G"  # with a time before each packet in M2TS
    return head.startswith(_STARTS) or head[4:8] in _MP4_BOXES or transport_stream


def is_cut_off(path: Path) -> bool:
    """Whether an MP4 or Matroska file ends before the bytes that its own headers promise.

    FFmpeg marks the last packet of a cut off file, but not where the cut falls between two packets, nor in Matroska.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) == _MATROSKA:
            return _segment_end(file) > size
        place = 0
        while place + 16 <= size:
            file.seek(place)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:], "big")
            if head[4:8] not in _MP4_BOXES or length < 8:  # no box, or one that goes on to the end
                return False
            place += length
    return place > size


def _segment_end(file: Any) -> int:
    """Where Matroska's segment ends in bytes; 0 where that was not known when it was written."""
    file.seek(4)
    length, _ = _read_size(file)
    file.seek(length, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    length, unknown = _read_size(file)
    return 0 if unknown else file.tell() + length


def _read_size(file: Any) -> tuple[int, bool]:
    """One of EBML's numbers, and whether it stands for "unknown" (all ones)."""
    first = file.read(1)
    width = 9 - first[0].bit_length() if first and first[0] else 1
    value = int.from_bytes(first + file.read(width - 1), "big") & ((1 << 7 * width) - 1)
    return value, value == (1 << 7 * width) - 1

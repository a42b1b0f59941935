"""The video of a row, the part of it that a benchmark shows, and its frames. PyAV is imported late."""

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..modeling.atomic import atomic_path
from ..modeling.errors import InputError
from .benchmark import FramePolicy

if TYPE_CHECKING:
    from ..modeling.clip import Clip

_IMAGES = (".jpg", ".jpeg", ".png")
# What the published code of Dyn-Bench says of frames without times.
_FRAMES_PER_SECOND = 24


def has_video(row: Mapping[str, Any]) -> bool:
    """Whether the file of a row's video is there, or a folder of its frames."""
    return bool(row["video"]) and Path(row["video"]).is_file() or bool(_frame_files(row))


def video_path(row: Mapping[str, Any]) -> str:
    """The video of a row as a file; of a row with a folder of frames, these as a video of 24 frames a second.

    That one is made when it is first asked for, without loss but for the change of colour space, and kept below
    `HF_HOME`.

    Raises:
        InputError: If a frame cannot be decoded.
    """
    files = _frame_files(row)
    if not files:
        return row["video"]
    from huggingface_hub.constants import HF_HOME

    states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    digest = hashlib.blake2b(repr(states).encode(), digest_size=16).hexdigest()
    path = Path(HF_HOME) / "fourdthinker" / "videos_of_frames" / f"{digest}.mp4"
    if not path.is_file():
        with atomic_path(path) as temporary:
            _encode(files, temporary)
    return str(path)


def shown_part(row: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """First and last second of a row's video that are shown, counted from its first frame; `None` is its own end.

    Raises:
        InputError: If the row hides a tail of its video, and the video cannot be opened or is no longer than that.
    """
    start, end, tail = row.get("start"), row.get("end"), row.get("hidden_tail")
    if not tail:
        return start, end
    from ..modeling.video_source import open_source

    end = open_source(Path(row["video"])).seconds - tail
    if end <= (start or 0.0):
        raise InputError(f"{row['video']} is not longer than the {tail:g} s at its end that are hidden")
    return start, end


def read_row_clip(row: Mapping[str, Any], policy: FramePolicy) -> "Clip":
    """Sample the frames of a row's video by a policy.

    Raises:
        InputError: If the video is missing, damaged, or too short.
    """
    from ..modeling.video_decoding import read_frames

    start, end = shown_part(row)
    return read_frames(
        video_path(row),
        fps=policy.fps,
        max_frames=policy.max_frames,
        max_pixels=policy.max_pixels,
        start=start,
        end=end,
    )


def _frame_files(row: Mapping[str, Any]) -> list[Path]:
    """The images in a row's folder of frames by name: `frame_*`, or any where none is called so."""
    if not row.get("frame_folder"):
        return []
    images = sorted(path for path in Path(row["frame_folder"]).glob("*") if path.suffix.lower() in _IMAGES)
    return [path for path in images if path.name.startswith("frame_")] or images


def _encode(files: list[Path], path: Path) -> None:
    import av

    from ..modeling.images import UNREADABLE, decode_image

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(_FRAMES_PER_SECOND))
        stream.pix_fmt, stream.options = "yuv444p", {"qp": "0", "preset": "veryfast"}
        size = None
        for file in files:
            try:
                image = decode_image({"path": str(file)})
            except UNREADABLE as error:
                raise InputError(f"{file} cannot be decoded ({error}): download it again") from error
            if size is None:
                size = stream.width, stream.height = image.size
            frame = av.VideoFrame.from_image(image if image.size == size else image.resize(size))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

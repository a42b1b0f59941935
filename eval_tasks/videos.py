"""The part of a row's video that a benchmark shows, and its frames. Imports PyAV and torch inside functions."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..modeling.errors import InputError
from .benchmark import FramePolicy

if TYPE_CHECKING:
    from ..modeling.clip import Clip


def has_video(row: Mapping[str, Any]) -> bool:
    """Whether the file of a row's video is there."""
    return bool(row["video"]) and Path(row["video"]).is_file()


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
    part = {} if start is None and end is None else {"start": start, "end": end}
    return read_frames(
        row["video"], fps=policy.fps, max_frames=policy.max_frames, max_pixels=policy.max_pixels, **part
    )

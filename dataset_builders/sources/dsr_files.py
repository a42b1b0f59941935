"""Write questions in the format of DSR-Bench's files, with their clips as videos."""

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...modeling.atomic import atomic_path
from ...modeling.images import decode_image
from ...modeling.tokens import OPTION_LETTERS

_TIME = re.compile(r"\b(\d+\.\d) s\b")
_TICKS = 1000  # a second
_QUALITY = "18"  # x264's constant rate factor, at which compression is hardly seen


def write_dsr_files(folder: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write `benchmark.parquet` and `videos/`, which the benchmark `dsr_bench` reads.

    A video holds what the row shows, so that of a prediction nothing later is in it. Times in questions count from its
    first frame.

    Args:
        folder (`Path`): Where to write; it is made.
        rows (`Iterable[Mapping]`): With `id`, `task`, `question`, `options`, `answer`, `frames` (as
            [`decode_image`] takes them) and `timestamps`.

    Returns:
        `int`: How many questions were written.
    """
    import pyarrow
    from pyarrow import parquet

    (folder / "videos").mkdir(parents=True)
    table = []
    for row in rows:
        _write_video(folder / "videos" / f"{row['id']}.mp4", row["frames"], row["timestamps"])
        lettered = zip(OPTION_LETTERS, row["options"], strict=False)
        table.append(
            {
                "videoID": row["id"],
                "question": shift_times(row["question"], -row["timestamps"][0]),
                "options": [f"{letter}. {text}" for letter, text in lettered],
                "answer": row["answer"],
                "type": row["task"],
            }
        )
    parquet.write_table(pyarrow.Table.from_pylist(table), folder / "benchmark.parquet")
    return len(table)


def shift_times(text: str, seconds: float) -> str:
    """A text whose times, as in `1.5 s`, are later by some seconds, and none below 0."""
    return _TIME.sub(lambda found: f"{max(0.0, float(found[1]) + seconds):.1f} s", text)


def _write_video(path: Path, frames: Iterable[Image.Image | Mapping], seconds: list[float]) -> None:
    """Write frames with their own times, which need not be even."""
    import av

    pictures = [np.asarray(decode_image(frame)) for frame in frames]
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_TICKS, options={"crf": _QUALITY, "bf": "0"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS)
        for picture, second in zip(pictures, seconds, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base, frame.pts = stream.time_base, round((second - seconds[0]) * _TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

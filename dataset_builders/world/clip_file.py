"""A rendered clip as a video file."""

from pathlib import Path

import numpy as np

from ...modeling.atomic import atomic_path

_QUALITY = "18"  # x264's constant rate factor, at which compression is hardly seen


def write_clip(path: Path, rgb: np.ndarray, fps: float) -> None:
    """Write frames as an MP4 file.

    Args:
        path (`Path`): The file; its folder is made.
        rgb (`np.ndarray` of shape `(frames, height, width, 3)`, uint8): Of an even height and width.
        fps (`float`): Frames a second.
    """
    from fractions import Fraction

    import av

    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": _QUALITY})
        stream.height, stream.width = rgb.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in rgb:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())

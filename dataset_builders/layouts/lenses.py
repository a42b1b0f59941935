"""The lens of a window from what a layout says of each frame."""

from pathlib import Path

import numpy as np

from ..clip_error import ClipError
from .files import damaged
from .imported_clip import Lens

_MAX_ZOOM = 0.1  # of the focal length, beyond which one number is no lens


def window_lens(
    path: Path, seconds: np.ndarray, numbers: np.ndarray, size: tuple[int, int], start: float, end: float
) -> Lens:
    """The lens of the frames between two times.

    Args:
        path (`Path`): The file, for errors.
        seconds (`np.ndarray` of shape `(N,)`): Times of the frames.
        numbers (`np.ndarray` of shape `(N, 4)`): `fx fy cx cy` in the unit of `size`.
        size (`tuple[int, int]`): Width and height in that unit: of the frames in pixels, or 1 and 1.
        start, end (`float`): Seconds.

    Raises:
        ClipError: `damaged` for numbers that are no lens, `unclear` for one that zooms.
    """
    if numbers.ndim != 2 or numbers.shape[1] < 4 or len(numbers) != len(seconds):
        raise damaged(
            path, f"holds intrinsics of shape {numbers.shape}, not 4 numbers for each of {len(seconds)} frames"
        )
    width, height = size
    shares = numbers[:, :4] / (width, height, width, height)
    usual = np.median(np.diff(seconds)) if len(seconds) > 1 else 0.0
    shares = shares[(seconds >= start - usual) & (seconds <= end + usual) & np.isfinite(shares).all(axis=1)]
    if len(shares) == 0:
        raise damaged(path, f"holds no intrinsics between {start:.1f} s and {end:.1f} s")
    focal_x, focal_y, centre_x, centre_y = np.median(shares, axis=0)
    if not (0.1 < focal_x < 20 and 0.1 < focal_y < 20 and 0 < centre_x < 1 and 0 < centre_y < 1):
        raise damaged(path, f"holds a focal length of {focal_x:.3g} picture widths and a centre of {centre_x:.3g}")
    if np.ptp(shares[:, 0]) > _MAX_ZOOM * focal_x:
        raise ClipError(
            "unclear",
            f"the lens zooms from {shares[:, 0].min():.2f} to {shares[:, 0].max():.2f} picture widths",
            "give a clip with one focal length",
        )
    return Lens((float(focal_x), float(focal_y)), (float(centre_x), float(centre_y)))

"""What can be seen of one thing in imagined frames: its place, box, shift and growth in the pixels of the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..geometry.masks import decode_mask

MIN_SHARE = 0.001  # of the picture: a smaller overlay is not seen
_MAX_PIXELS = 256 * 28 * 28  # as `modeling.processing.MAX_PIXELS`, whose module imports torch
_ROWS, _COLUMNS = ("upper", "", "lower"), ("left", "", "right")


def seen_size(size: tuple[int, int], token: int) -> tuple[int, int]:
    """Width and height of the frames that a model sees: multiples of a token's side, which processors leave as is.

    Args:
        size (`tuple[int, int]`): Width and height of the video's frames.
        token (`int`): Pixels a side of what becomes one token: 28 for Qwen2.5-VL, 32 for Qwen3-VL.
    """
    scale = min(1.0, (_MAX_PIXELS / (size[0] * size[1])) ** 0.5)
    if scale < 1:
        width, height = (max(1, int(side * scale) // token) * token for side in size)
    else:
        width, height = (max(1, round(side / token)) * token for side in size)
    while width * height > _MAX_PIXELS:
        width, height = (width - token, height) if width >= height else (width, height - token)
    return width, height


@dataclass(frozen=True)
class Sight:
    """A thing in one frame.

    Attributes:
        time (`float`): Seconds from the first frame of the video.
        centre (`tuple[int, int]`): Mean column and row of its pixels.
        box (`tuple[int, int, int, int]`): Left, top, right, bottom.
        side (`float`): Square root of its area in pixels.
        size (`tuple[int, int]`): Width and height of the picture.
    """

    time: float
    centre: tuple[int, int]
    box: tuple[int, int, int, int]
    side: float
    size: tuple[int, int]

    @property
    def place(self) -> str:
        """Where in the picture it is: `upper left`, `left`, `middle` and so on, by thirds."""
        column, row = (min(2, int(3 * at / side)) for at, side in zip(self.centre, self.size, strict=True))
        return f"{_ROWS[row]} {_COLUMNS[column]}".strip() or "middle"


@dataclass(frozen=True)
class Change:
    """How a thing changed between two sights of it.

    Attributes:
        right, down (`int`): Shift of its centre in pixels.
        growth (`float`): Ratio of its sizes, by the root of the area.
        clockwise (`float`): Degrees by which it went round the middle of the picture.
    """

    right: int
    down: int
    growth: float
    clockwise: float


def look_at(mask: Mapping, time: float, size: tuple[int, int]) -> Sight | None:
    """What is seen of a mask, or `None` if that is less than a thousandth of the picture.

    Args:
        mask (`Mapping`): Run-length encoding in the frames of the video.
        time (`float`): Seconds of the frame.
        size (`tuple[int, int]`): Width and height of the picture that the model sees.
    """
    pixels = decode_mask(dict(mask))
    if pixels.mean() < MIN_SHARE:
        return None
    scale = np.array(size) / pixels.shape[::-1]
    rows, columns = np.nonzero(pixels)
    centre = (np.array([columns.mean(), rows.mean()]) + 0.5) * scale
    corners = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]]) * scale
    box = corners.round().astype(int).ravel().tolist()
    side = float(np.sqrt(len(rows) * scale.prod()))
    return Sight(round(float(time), 3), tuple(centre.round().astype(int).tolist()), tuple(box), side, tuple(size))


def compare(sights: Sequence[Sight]) -> list[Change]:
    """The change from each sight to the next."""
    return [_change(before, after) for before, after in pairwise(sights)]


def _change(before: Sight, after: Sight) -> Change:
    right, down = (int(b - a) for a, b in zip(before.centre, after.centre, strict=True))
    angles = []
    for sight in (before, after):
        column, row = np.array(sight.centre) - np.array(sight.size) / 2
        angles.append(np.degrees(np.arctan2(row, column)))  # rows go down, so more is clockwise
    turn = (angles[1] - angles[0] + 180) % 360 - 180
    return Change(right, down, round(after.side / before.side, 2), round(float(turn), 1))

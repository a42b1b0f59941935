"""Frames sampled from a video, with their times."""

from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image

from .errors import InputError
from .row_rules import times_fault


@dataclass(frozen=True)
class Clip:
    """Frames sampled from a video.

    Attributes:
        frames (`list[PIL.Image.Image]`): RGB frames, all of one size.
        timestamps (`list[float]`): Seconds from the start of the video, one a frame, increasing.

    Raises:
        InputError: If there is no frame, the times do not fit, or frames are of several sizes.
    """

    frames: list[Image.Image]
    timestamps: list[float]

    def __post_init__(self):
        if not self.frames:
            raise InputError("a clip has no frames: give one at least")
        if fault := times_fault(self.timestamps, len(self.frames)) or sizes_fault(frame.size for frame in self.frames):
            raise InputError(fault)

    @property
    def frames_per_second(self) -> float:
        """Mean sampling rate in 1/s; 1 for a single frame."""
        seconds = self.timestamps[-1] - self.timestamps[0]
        return (len(self.frames) - 1) / seconds if seconds > 0 else 1.0


def sizes_fault(sizes: Iterable[tuple[int, int]]) -> str | None:
    """What is wrong with the sizes of a clip's frames, which must be one: a phrase as of [`row_rules`], or nothing."""
    first, *others = sizes
    for number, size in enumerate(others, start=2):
        if size != first:
            return (
                f"frames {number} is {size[0]} x {size[1]} pixels, frames 1 {first[0]} x {first[1]}: "
                "make them of one size"
            )
    return None

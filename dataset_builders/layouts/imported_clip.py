"""What every layout gives of a clip: its frames, path, lens, depth and masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..clip_record import ObjectTrack, PoseKind
from ..sources.picture_sequence import frame_seconds, open_frames
from ..sources.video_files import file_state
from .files import check_inside
from .trajectory import Trajectory


@dataclass(frozen=True)
class Lens:
    """A camera's lens, in shares of the picture so that it holds at any size.

    Attributes:
        focal (`tuple[float, float]`): Focal lengths in picture widths and heights.
        centre (`tuple[float, float]`): Column and row of the optical axis in picture widths and heights.
        distortion (`tuple[float, ...]`): OpenCV's `k1 k2 p1 p2`, or nothing.
    """

    focal: tuple[float, float]
    centre: tuple[float, float] = (0.5, 0.5)
    distortion: tuple[float, ...] = ()

    def matrix(self, size: tuple[int, int]) -> np.ndarray:
        """Intrinsics `(3, 3)` in pixels of a picture of a size (width, height)."""
        (focal_x, focal_y), (centre_x, centre_y), (width, height) = self.focal, self.centre, size
        return np.array(
            [[focal_x * width, 0, centre_x * width], [0, focal_y * height, centre_y * height], [0, 0, 1.0]]
        )


@dataclass(frozen=True)
class ImportedClip:
    """One clip of a layout; a subclass for each says how its files read.

    Attributes:
        video (`Path`): The frames: a video file, or what [`~sources.picture_sequence`] reads.
        root (`Path`): The folder of the layout; no file outside it is opened.
        licence (`str`, *optional*): Hub id of the terms, where the layout's makers have named them.
        fps (`float`, *optional*): Frames a second, where the frames come without times.
    """

    video: Path
    root: Path
    licence: str | None = None
    fps: float | None = None

    layout: ClassVar[str]
    kind: ClassVar[PoseKind] = "metric"
    unit_error: ClassVar[float] = 0.1  # relative standard error of the metre, which networks guessed in most layouts

    @property
    def files(self) -> list[Path]:
        """All files beside the video that results depend on; some may be missing."""
        raise NotImplementedError

    @property
    def has_exr(self) -> bool:
        """Whether its depth is read with OpenEXR."""
        return False

    def state(self) -> dict[str, Any]:
        """What tells a changed clip: its layout, and size and time of change of every file."""
        files = [path for path in self.files if path.is_file()]
        states = {path.relative_to(self.root).as_posix(): file_state(path) for path in files}
        return {"layout": self.layout, "fps": self.fps, "files": states}

    def trajectory(self) -> Trajectory:
        """The camera's path.

        Raises:
            ClipError: `damaged`, if its file is not as it should be.
        """
        raise NotImplementedError

    def lens(self, start: float, end: float) -> Lens | None:
        """The lens between two times in seconds; `None` where the files do not tell.

        Raises:
            ClipError: `damaged` as in [`trajectory`], or `unclear` for one that zooms or bends straight lines.
        """
        raise NotImplementedError

    def depths(self, seconds: Sequence[float]) -> Iterator[np.ndarray | None]:
        """For each time the depth map `(h, w)` in the unit of the path, of any size; NaN where nothing is known, and
        `None` where there is no map for that time."""
        return iter([None] * len(seconds))

    def objects(self, seconds: Sequence[float], size: tuple[int, int]) -> list[ObjectTrack] | None:
        """What the layout's masks show at some times, in frames of a size; `None` where it has no masks.

        Raises:
            ClipError: `damaged`.
        """
        return None

    def instructions(self) -> list[tuple[float, float, list[str]]]:
        """Camera labels that come with the clip: start, end, labels. They are compared, never used."""
        return []

    def frame_seconds(self) -> np.ndarray:
        """Seconds of all frames of the video from the first one."""
        return frame_seconds(self.video, self.fps)

    def annotated(self) -> np.ndarray | None:
        """Seconds of the frames of the video that have poses, where poses belong to frames."""
        return None

    def frame_size(self) -> tuple[int, int]:
        """Width and height of the frames as they are stored."""
        source = open_frames(self.video, self.fps, None)
        return source.to_image(next(iter(source.frames()))[1]).size

    def inside(self, path: Path) -> Path:
        """A path of the layout, if it stays inside."""
        return check_inside(path, self.root)

    @property
    def made_by(self) -> dict[str, str]:
        """Where numbers come from, for records."""
        return {self.layout: "as imported", "opencv": version("opencv-python-headless")}


def nearest_number(times: np.ndarray, moment: float, tolerance: float) -> int | None:
    """Index of the time nearest to a moment, if it lies within a tolerance."""
    if len(times) == 0:
        return None
    number = int(np.abs(times - moment).argmin())
    return number if abs(times[number] - moment) <= tolerance else None


def half_step(times: np.ndarray) -> float:
    """Half the usual step between times: what still counts as the same frame."""
    return 0.5 * float(np.median(np.diff(times))) if len(times) > 1 else 1e-3

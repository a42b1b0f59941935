"""MegaSaM's output: one file `SCENE_sgd_cvd_hr.npz` with pictures, depth, lens and poses."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from .depth_maps import clean_depths
from .files import damaged, load_arrays
from .imported_clip import ImportedClip, Lens, half_step, nearest_number
from .trajectory import Trajectory, make_trajectory

ENDING = "_sgd_cvd_hr.npz"


class MegaSamClip(ImportedClip):
    """Camera-to-world poses and depth of every picture in metres. The file holds no times: `fps` gives them."""

    layout = "megasam"

    @property
    def files(self) -> list[Path]:
        """Nothing beside the file of the frames."""
        return []

    @cached_property
    def _seconds(self) -> np.ndarray:
        return self.frame_seconds()

    def trajectory(self) -> Trajectory:
        """A pose a picture."""
        poses = load_arrays(self.video, {"cam_c2w": (None, 4, 4)})["cam_c2w"]
        return make_trajectory(self.video, self._seconds, poses)

    def lens(self, start: float, end: float) -> Lens:
        """One lens for all pictures."""
        matrix = load_arrays(self.video, {"intrinsic": (3, 3)})["intrinsic"].astype(float)
        width, height = self.frame_size()
        if not np.isfinite(matrix).all() or min(matrix[0, 0], matrix[1, 1]) <= 0:
            raise damaged(self.video, "holds no focal length")
        (focal_x, _, centre_x), (_, focal_y, centre_y), _ = matrix.tolist()
        return Lens((focal_x / width, focal_y / height), (centre_x / width, centre_y / height))

    def depths(self, seconds: Sequence[float]) -> Iterator[np.ndarray | None]:
        """Depth of each picture."""
        stored = load_arrays(self.video, {"depths": (len(self._seconds), None, None)})["depths"]
        for moment in seconds:
            number = nearest_number(self._seconds, moment, half_step(self._seconds))
            yield None if number is None else clean_depths(stored[number])


def find(root: Path) -> list[Path]:
    """Files of MegaSaM in a folder."""
    return sorted(root.glob(f"*{ENDING}"))

"""Stereo4D: `npz/VIDEO_MICROSECONDS.npz` with the user's own `VIDEO_MICROSECONDS-left_rectified.mp4`."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from .depth_maps import sparse_map
from .files import damaged, load_arrays
from .imported_clip import ImportedClip, Lens, half_step, nearest_number
from .trajectory import Trajectory, make_trajectory

ENDING = "-left_rectified.mp4"
_FIELD_OF_VIEW = 60.0  # degrees of the rectified frames


class Stereo4dClip(ImportedClip):
    """Camera-to-world poses in metres and tracks of points in the world, which serve as sparse depth."""

    layout = "stereo4d"
    unit_error = 0.0  # two lenses a known distance apart

    @property
    def _arrays_file(self) -> Path:
        return self.inside(self.root / "npz" / f"{self.video.name.removesuffix(ENDING)}.npz")

    @property
    def files(self) -> list[Path]:
        """The one file of annotations."""
        return [self._arrays_file]

    @cached_property
    def _times(self) -> np.ndarray:
        """Seconds from the first frame: microseconds of the source video are stored."""
        stamps = load_arrays(self._arrays_file, {"timestamps": (None,)})["timestamps"].astype(float)
        if len(stamps) == 0:
            raise damaged(self._arrays_file, "holds no time")
        return (stamps - stamps[0]) / 1e6

    @cached_property
    def _poses(self) -> np.ndarray:
        return load_arrays(self._arrays_file, {"camera2world": (None, 3, 4)})["camera2world"].astype(float)

    def trajectory(self) -> Trajectory:
        """A pose a time stamp."""
        return make_trajectory(self._arrays_file, self._times, self._poses)

    def lens(self, start: float, end: float) -> Lens:
        """The lens by which the frames were rectified. `fov_bounds` are degrees of the VR180 picture, not of these."""
        width, height = self.frame_size()
        focal = 0.5 / np.tan(np.radians(_FIELD_OF_VIEW / 2))
        return Lens((float(focal), float(focal * width / height)))

    @cached_property
    def tracks(self) -> np.ndarray:
        """Points in the world `(tracks, times, 3)`, metres; NaN where one is not followed."""
        path = self._arrays_file
        shapes = {"track_lengths": (None,), "track_indices": (None,), "track_coordinates": (None, 3)}
        lengths, times, points = load_arrays(path, shapes).values()
        if lengths.min(initial=0) < 0 or not lengths.sum() == len(times) == len(points):
            raise damaged(path, f"has tracks of {lengths.sum()} points in all and holds {len(points)}")
        if len(times) and not 0 <= times.min() <= times.max() < len(self._times):
            raise damaged(path, f"follows points beyond its {len(self._times)} times")
        if len(lengths) * len(self._times) > 2**26:
            raise damaged(path, f"holds {len(lengths)} tracks")
        tracks = np.full((len(lengths), len(self._times), 3), np.nan)
        tracks[np.repeat(np.arange(len(lengths)), lengths), times] = points
        return tracks

    def depths(self, seconds: Sequence[float]) -> Iterator[np.ndarray | None]:
        """Depth where points are followed, NaN everywhere else."""
        width, height = self.frame_size()
        intrinsics = self.lens(0, 0).matrix((width, height))
        for moment in seconds:
            number = nearest_number(self._times, moment, half_step(self._times))
            if number is None or number >= len(self._poses):
                yield None
                continue
            rotation, place = self._poses[number, :, :3], self._poses[number, :, 3]
            points = (self.tracks[:, number] - place) @ rotation
            points = points[points[:, 2] > 0]  # NaN compares as false
            places = (points @ intrinsics.T)[:, :2] / points[:, 2:]
            yield sparse_map(places, points[:, 2], (width, height))


def find(root: Path) -> list[Path]:
    """Left videos of a folder in Stereo4D's layout; none if it is no such folder."""
    return [root / f"{path.stem}{ENDING}" for path in sorted((root / "npz").glob("*.npz"))]

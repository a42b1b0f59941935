"""A trajectory beside a clip: `clip.tum`, `clip.kitti` or `clip.euroc.csv` for `clip.mp4`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .files import damaged, read_text
from .imported_clip import ImportedClip, Lens
from .trajectory import Trajectory, make_trajectory, quaternion_poses

INTRINSICS_ENDING, SENSOR_ENDING, TIMES_ENDING = ".intrinsics.txt", ".sensor.yaml", ".times.txt"
_SENSOR_FILE = "sensor.yaml"  # of all clips in a folder, as EuRoC calls it


class TrajectoryClip(ImportedClip):
    """A camera's path in metres from a file beside the clip.

    Times count from the first frame of the clip. Where the first one lies beyond the clip's end, as in recordings that
    store the time of day, the first pose belongs to the first frame.

    The lens is in `clip.intrinsics.txt` (`fx fy cx cy` in pixels of the clip) or in `clip.sensor.yaml` or
    `sensor.yaml` of EuRoC; without either the focal length is found by the check against the pixels.
    """

    ending: str

    @property
    def _path(self) -> Path:
        return self.inside(self.video.with_suffix(self.ending))

    @property
    def _sensor(self) -> Path:
        own = self.video.with_suffix(SENSOR_ENDING)
        return self.inside(own if own.is_file() else self.video.parent / _SENSOR_FILE)

    @property
    def files(self) -> list[Path]:
        """The trajectory, the lens and the times of a KITTI file."""
        endings = (INTRINSICS_ENDING, SENSOR_ENDING, TIMES_ENDING)
        return [self._path, *(self.video.with_suffix(ending) for ending in endings), self._sensor]

    def _numbers(self, path: Path, columns: int, separator: str | None = None) -> np.ndarray:
        """The first columns of a file of numbers, `(N, columns)`."""
        rows = []
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            cells = line.split("#")[0].replace(",", " ").split() if separator is None else _cells(line, separator)
            if not cells:
                continue
            try:
                rows.append([float(cell) for cell in cells[:columns]])
            except ValueError as error:
                raise damaged(path, f"has no numbers in line {number}") from error
            if len(rows[-1]) < columns:
                raise damaged(path, f"has {len(cells)} numbers in line {number}, not {columns}")
        if not rows:
            raise damaged(path, "holds no pose")
        return np.array(rows)

    def _from_first_frame(self, seconds: np.ndarray) -> np.ndarray:
        length = self.frame_seconds()[-1]
        return seconds - seconds[0] if seconds[0] > length else seconds

    def lens(self, start: float, end: float) -> Lens | None:
        """The lens of the files beside the clip, if they tell."""
        path = self.inside(self.video.with_suffix(INTRINSICS_ENDING))
        if path.is_file():
            focal_x, focal_y, centre_x, centre_y = self._numbers(path, 4)[0]
            width, height = self.frame_size()
            return Lens((focal_x / width, focal_y / height), (centre_x / width, centre_y / height))
        return read_sensor(self._sensor)[1] if self._sensor.is_file() else None


class TumClip(TrajectoryClip):
    """`t tx ty tz qx qy qz qw`: camera-to-world, metres. Spans do not cross gaps."""

    layout, ending = "tum", ".tum"

    def trajectory(self) -> Trajectory:
        """A pose a line."""
        numbers = self._numbers(self._path, 8)
        poses = quaternion_poses(self._path, numbers[:, 1:4], numbers[:, 4:])
        return make_trajectory(self._path, self._from_first_frame(numbers[:, 0]), poses, quaternion="last")


class KittiClip(TrajectoryClip):
    """Camera-to-world 3 x 4 a line without times: a line a frame of the clip, or the seconds in `clip.times.txt`."""

    layout, ending = "kitti", ".kitti"

    def trajectory(self) -> Trajectory:
        """A pose a line."""
        poses = self._numbers(self._path, 12).reshape(-1, 3, 4)
        times = self.inside(self.video.with_suffix(TIMES_ENDING))
        if times.is_file():
            seconds = self._from_first_frame(self._numbers(times, 1)[:, 0])
        else:
            seconds = self.frame_seconds()
            if len(seconds) != len(poses):
                raise damaged(
                    self._path,
                    f"has {len(poses)} poses for the {len(seconds)} frames of the video",
                    f"give a line a frame, or the seconds of the lines in {times.name}",
                )
        return make_trajectory(self._path, seconds, poses)


class EurocClip(TrajectoryClip):
    """Nanoseconds, place and quaternion with `w` first: the pose of the IMU's body, so `sensor.yaml` is needed."""

    layout, ending = "euroc", ".euroc.csv"

    def trajectory(self) -> Trajectory:
        """A pose a line, of the camera."""
        if not self._sensor.is_file():
            raise damaged(
                self._path,
                f"holds poses of the IMU's body and there is no {_SENSOR_FILE}",
                f"put the camera's {_SENSOR_FILE} with T_BS beside the clip",
            )
        numbers = self._numbers(self._path, 8, separator=",")
        poses = quaternion_poses(self._path, numbers[:, 1:4], numbers[:, [5, 6, 7, 4]])
        seconds = self._from_first_frame(numbers[:, 0] / 1e9)
        return make_trajectory(self._path, seconds, poses, mount=read_sensor(self._sensor)[0], quaternion="first")


CLIPS: tuple[type[TrajectoryClip], ...] = (TumClip, KittiClip, EurocClip)


def _cells(line: str, separator: str) -> list[str]:
    return [] if line.lstrip().startswith("#") else [cell for cell in line.split(separator) if cell.strip()]


def read_sensor(path: Path) -> tuple[np.ndarray, Lens | None]:
    """`T_BS` (from the camera's axes to the body's) and the lens of a `sensor.yaml`.

    Raises:
        ClipError: `damaged`.
    """
    import yaml

    try:
        lines = [line for line in read_text(path).splitlines() if not line.startswith("%")]  # OpenCV's `%YAML:1.0`
        stored: Any = yaml.safe_load("\n".join(lines))
    except yaml.YAMLError as error:
        raise damaged(path, "is no YAML") from error
    stored = stored if isinstance(stored, dict) else {}
    mount = np.eye(4)
    try:
        if "T_BS" in stored:
            mount = np.array(stored["T_BS"]["data"], dtype=float).reshape(4, 4)
        lens = _sensor_lens(stored) if "intrinsics" in stored else None
    except (TypeError, KeyError, ValueError) as error:
        raise damaged(path, "holds no T_BS of 16 numbers or no intrinsics fu fv cu cv with a resolution") from error
    if not np.allclose(mount[:3, :3] @ mount[:3, :3].T, np.eye(3), atol=0.02) or np.linalg.det(mount[:3, :3]) < 0:
        raise damaged(path, "holds a T_BS that is no rigid motion")
    return mount, lens


def _sensor_lens(stored: dict) -> Lens:
    focal_x, focal_y, centre_x, centre_y = map(float, stored["intrinsics"])
    width, height = map(float, stored["resolution"])
    bent = tuple(float(number) for number in stored.get("distortion_coefficients", ()))
    return Lens((focal_x / width, focal_y / height), (centre_x / width, centre_y / height), bent)


def trajectory_clips(video: Path) -> Iterator[type[TrajectoryClip]]:
    """The kinds of trajectory that lie beside a video."""
    return (kind for kind in CLIPS if video.with_suffix(kind.ending).is_file())

"""ViPE's output: `rgb/NAME.mp4` with `pose/NAME.npz`, `intrinsics/`, `depth/` and `mask/`."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ..clip_record import ObjectTrack
from ..sources.mask_files import number_tracks
from .depth_maps import nearest_maps
from .files import PictureArchive, damaged, load_arrays, read_text
from .imported_clip import ImportedClip, Lens, half_step, nearest_number
from .lenses import window_lens
from .trajectory import Trajectory, make_trajectory

_NAME = re.compile(r"\s*(\d+)\s*:\s*(.+?)\s*$")
_CAMERA = re.compile(r"\s*\d+\s*:\s*(\w+)\s*$")


class VipeClip(ImportedClip):
    """Camera-to-world poses in near metres, metric depth, numbered masks with phrases. Pickles are never opened."""

    layout = "vipe"

    @property
    def name(self) -> str:
        """What ViPE calls the clip."""
        return self.video.stem

    def _file(self, folder: str, ending: str) -> Path:
        return self.inside(self.root / folder / f"{self.name}{ending}")

    @property
    def files(self) -> list[Path]:
        """Poses, lens, depth and masks."""
        endings = [("pose", ".npz"), ("intrinsics", ".npz"), ("intrinsics", "_camera.txt")]
        endings += [("depth", ".zip"), ("mask", ".zip"), ("mask", ".txt")]
        return [self._file(folder, ending) for folder, ending in endings]

    @cached_property
    def _poses(self) -> tuple[np.ndarray, np.ndarray]:
        """Frame numbers and camera-to-world matrices."""
        path = self._file("pose", ".npz")
        found = load_arrays(path, {"data": (None, 4, 4), "inds": (None,)})
        return self._frames(path, found["inds"], len(found["data"])), found["data"]

    def _frames(self, path: Path, numbers: np.ndarray, count: int) -> np.ndarray:
        if len(numbers) != count:
            raise damaged(path, f"numbers {len(numbers)} frames of {count}")
        if count == 0 or numbers.min() < 0 or numbers.max() >= len(self._seconds):
            raise damaged(path, f"numbers frames beyond the {len(self._seconds)} of the video")
        return numbers.astype(int)

    @cached_property
    def _seconds(self) -> np.ndarray:
        return self.frame_seconds()

    def annotated(self) -> np.ndarray:
        """Seconds of the frames with poses."""
        return self._seconds[self._poses[0]]

    @property
    def has_exr(self) -> bool:
        """Whether the depth is there."""
        return self._file("depth", ".zip").is_file()

    def trajectory(self) -> Trajectory:
        """Poses at the times of the frames that `inds` numbers."""
        numbers, poses = self._poses
        return make_trajectory(self._file("pose", ".npz"), self._seconds[numbers], poses)

    def lens(self, start: float, end: float) -> Lens:
        """Focal lengths and centre in pixels; other lenses than `PINHOLE` are refused."""
        path = self._file("intrinsics", "_camera.txt")
        if path.is_file():
            kinds = {found[1] for line in read_text(path).splitlines() if (found := _CAMERA.match(line))}
            if kinds - {"PINHOLE"}:
                raise damaged(path, f"names a lens of type {min(kinds - {'PINHOLE'})}", "rectify the video first")
        path = self._file("intrinsics", ".npz")
        found = load_arrays(path, {"data": (None, None), "inds": (None,)})
        numbers = self._frames(path, found["inds"], len(found["data"]))
        return window_lens(path, self._seconds[numbers], found["data"], self.frame_size(), start, end)

    def depths(self, seconds: Sequence[float]) -> Iterator[np.ndarray | None]:
        """Metric depth, one OpenEXR picture a frame."""
        archive = PictureArchive(self._file("depth", ".zip"))
        return nearest_maps(archive, self._seconds, range(len(self._seconds)), seconds)

    def objects(self, seconds: Sequence[float], size: tuple[int, int]) -> list[ObjectTrack] | None:
        """One track a number of the masks, named by its phrase."""
        archive = PictureArchive(self._file("mask", ".zip"))
        if not archive:
            return None
        numbers = [nearest_number(self._seconds, moment, half_step(self._seconds)) for moment in seconds]
        pictures = [None if number is None else archive.numbers(f"{number:05d}.png") for number in numbers]
        return number_tracks(archive.path, pictures, size, self._phrases(), {"vipe": "as imported"})

    def _phrases(self) -> dict[int, str]:
        path = self._file("mask", ".txt")
        lines = read_text(path).splitlines() if path.is_file() else []
        return {int(found[1]): found[2] for line in lines if (found := _NAME.match(line))}


def find(root: Path) -> list[Path]:
    """Videos of a folder in ViPE's layout; none if it is no such folder."""
    poses = sorted((root / "pose").glob("*.npz")) if (root / "rgb").is_dir() else []
    return [root / "rgb" / f"{path.stem}.mp4" for path in poses]

"""SpatialVID: `videos/GROUP/ID.mp4` with `annotations/GROUP/ID/` and `depths/GROUP/ID.zip`."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ..clip_record import ObjectTrack
from ..geometry.masks import connected_parts
from ..geometry.object_tracks import NAME
from ..sources.mask_files import number_tracks
from .depth_maps import nearest_maps
from .files import PictureArchive, damaged, load_array, load_arrays, read_text
from .imported_clip import ImportedClip, Lens, half_step, nearest_number
from .lenses import window_lens
from .trajectory import Trajectory, make_trajectory, quaternion_poses

_ONE_PART = 0.8  # of the frames with a mask in which it is one connected part, or it may be several things
_PART_SHARE = 0.0005  # of the picture
_MOVER = 1


class SpatialVidClip(ImportedClip):
    """World-to-camera poses at an estimator's scale, intrinsics in picture sizes, inverse depth, one mask for all that
    moves. `instructions.json` is no source of labels: its published generator took the first camera's axes for the
    camera's own."""

    layout = "spatialvid"
    kind = "up_to_scale"

    def _file(self, name: str) -> Path:
        return self.inside(self.root / "annotations" / self.video.parent.name / self.video.stem / name)

    @property
    def _depth_file(self) -> Path:
        return self.inside(self.root / "depths" / self.video.parent.name / f"{self.video.stem}.zip")

    @property
    def files(self) -> list[Path]:
        """Annotations and depth. The caption goes nowhere."""
        names = ("poses.npy", "intrinsics.npy", "indexes.txt", "dyn_masks.npz", "instructions.json")
        return [self._file(name) for name in names] + [self._depth_file]

    @cached_property
    def _times(self) -> np.ndarray:
        """Seconds of the annotated frames."""
        path = self._file("indexes.txt")
        lines = [line.split() for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
        try:
            numbers = [(int(number), int(index)) for number, index in lines]
        except ValueError as error:
            raise damaged(path, "has lines that are not two numbers") from error
        frames = self.frame_seconds()
        if [number for number, _ in numbers] != list(range(len(numbers))):
            raise damaged(path, "does not count its lines from 0")
        if any(not 0 <= index < len(frames) for _, index in numbers):
            raise damaged(path, f"names frames beyond the {len(frames)} of the video")
        return frames[[index for _, index in numbers]]

    def annotated(self) -> np.ndarray:
        """Seconds of the annotated frames, `int(0.2 * fps)` frames apart."""
        return self._times

    @property
    def has_exr(self) -> bool:
        """Whether the depth is there."""
        return self._depth_file.is_file()

    def trajectory(self) -> Trajectory:
        """Poses at the times of the annotated frames."""
        path = self._file("poses.npy")
        numbers = load_array(path, (None, 7)).astype(float)
        poses = quaternion_poses(path, numbers[:, :3], numbers[:, 3:])
        return make_trajectory(path, self._times, poses, world_to_camera=True, quaternion="last")

    def lens(self, start: float, end: float) -> Lens:
        """Focal lengths and centre, stored in picture widths and heights."""
        path = self._file("intrinsics.npy")
        return window_lens(path, self._times, load_array(path, (None, 4)), (1, 1), start, end)

    def depths(self, seconds: Sequence[float]) -> Iterator[np.ndarray | None]:
        """Depth in the unit of the poses, stored inverted and numbered as the annotations."""
        archive = PictureArchive(self._depth_file)
        return nearest_maps(archive, self._times, range(len(self._times)), seconds, inverse=True)

    def objects(self, seconds: Sequence[float], size: tuple[int, int]) -> list[ObjectTrack] | None:
        """The moving object, where what moves is one thing: the masks have no identities."""
        path = self._file("dyn_masks.npz")
        if not path.is_file():
            return None
        numbers = [nearest_number(self._times, moment, half_step(self._times)) for moment in seconds]
        masks = [None if number is None else _read_mask(path, number) for number in numbers]
        shown = [mask for mask in masks if mask is not None and mask.any()]
        single = [mask for mask in shown if len(connected_parts(mask, _PART_SHARE)) == 1]
        if not shown or len(single) < _ONE_PART * len(shown):
            return []
        pictures = [None if mask is None else mask.astype(np.int64) * _MOVER for mask in masks]
        return number_tracks(path, pictures, size, {_MOVER: NAME}, {"spatialvid": "as imported"})

    def instructions(self) -> list[tuple[float, float, list[str]]]:
        """Spans and labels of `instructions.json`; what is no span of the clip is left out."""
        path = self._file("instructions.json")
        if not path.is_file():
            return []
        try:
            stored = json.loads(read_text(path))
        except ValueError as error:
            raise damaged(path, "is no JSON") from error
        found = []
        for span, labels in stored.items() if isinstance(stored, dict) else ():
            first, _, last = span.partition("->")
            if not (first.strip().isdecimal() and last.strip().isdecimal() and isinstance(labels, list)):
                continue
            start, end = int(first), int(last)
            if start < end < len(self._times):
                found.append((float(self._times[start]), float(self._times[end]), [str(label) for label in labels]))
        return found


def _read_mask(path: Path, number: int) -> np.ndarray | None:
    """What moves in one annotated frame, `(h, w)`, from a matrix of compressed sparse rows."""
    from scipy.sparse import csr_matrix

    shape = load_arrays(path, {"shape": (2,)})["shape"]
    names = [f"f_{number}_{part}" for part in ("data", "indices", "indptr")]
    data, columns, starts = load_arrays(path, dict.fromkeys(names, (None,))).values()
    height, width = map(int, shape)
    if not (0 < height <= 8192 and 0 < width <= 8192):
        raise damaged(path, f"holds masks of {width}x{height}")
    try:
        matrix = csr_matrix((data, columns, starts), shape=(height, width))
        matrix.check_format(full_check=True)
    except (ValueError, IndexError) as error:
        raise damaged(path, f"holds no mask for frame {number}") from error
    return matrix.toarray() > 0


def find(root: Path) -> list[Path]:
    """Videos of a folder in SpatialVID's layout; none if it is no such folder."""
    poses = sorted((root / "annotations").glob("*/*/poses.npy")) if (root / "videos").is_dir() else []
    return [root / "videos" / path.parts[-3] / f"{path.parts[-2]}.mp4" for path in poses]

"""A COLMAP model (`sparse/0/cameras.bin`, ...) with its folder of pictures `images`."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...modeling.errors import first_line
from ..sources.picture_sequence import list_pictures
from .depth_maps import sparse_map
from .files import damaged
from .imported_clip import ImportedClip, Lens, half_step, nearest_number
from .trajectory import Trajectory, make_trajectory

PICTURES = "images"
_MODEL_FILES = ("cameras", "images", "points3D")
_ENDINGS = (".bin", ".txt")
# Where the parameters of each camera model without strong distortion hold fx, fy, cx, cy and OpenCV's k1 k2 p1 p2.
_PARAMETERS = {
    "SIMPLE_PINHOLE": (0, 0, 1, 2),
    "PINHOLE": (0, 1, 2, 3),
    "SIMPLE_RADIAL": (0, 0, 1, 2, 3),
    "RADIAL": (0, 0, 1, 2, 3, 4),
    "OPENCV": (0, 1, 2, 3, 4, 5, 6, 7),
}


class ColmapClip(ImportedClip):
    """World-to-camera poses and points up to scale, of pictures without times: `fps` gives them."""

    layout = "colmap"
    kind = "up_to_scale"

    @cached_property
    def _folder(self) -> Path:
        return self.inside(find_model(self.video.parent) or self.video.parent)

    @property
    def files(self) -> list[Path]:
        """The model's files."""
        return [path for name in _MODEL_FILES if (path := _model_file(self._folder, name)) is not None]

    @cached_property
    def _model(self) -> Any:
        import pycolmap

        for path in self.files:
            self.inside(path)
        pycolmap.logging.minloglevel = pycolmap.logging.FATAL
        try:
            return pycolmap.Reconstruction(str(self._folder))
        except (RuntimeError, ValueError, OSError) as error:  # what exceptions of its C++ become
            raise damaged(self._folder, f"holds no model that COLMAP reads ({first_line(error)})") from error

    @cached_property
    def _images(self) -> list[tuple[float, Any]]:
        """Seconds and images of the model that have a pose, in the order of the pictures."""
        seconds = self.frame_seconds()
        names = {path.name: number for number, path in enumerate(list_pictures(self.video))}
        found = []
        for index in self._model.reg_image_ids():
            image = self._model.image(index)
            number = names.get(Path(image.name).name)
            if number is not None:
                found.append((float(seconds[number]), image))
        if not found:
            raise damaged(self._folder, f"names no picture of {self.video.name}", "keep the pictures of the model")
        return sorted(found, key=lambda pair: pair[0])

    def trajectory(self) -> Trajectory:
        """A pose a placed picture."""
        poses = np.stack([image.cam_from_world().matrix() for _, image in self._images])
        seconds = np.array([moment for moment, _ in self._images])
        return make_trajectory(self._folder, seconds, poses, world_to_camera=True)

    def lens(self, start: float, end: float) -> Lens:
        """The lens of the first picture in the span; strongly bent ones are refused."""
        inside = [image for moment, image in self._images if start - 1e-6 <= moment <= end + 1e-6]
        camera = self._model.camera((inside or [image for _, image in self._images])[0].camera_id)
        kind = str(camera.model_name if hasattr(camera, "model_name") else camera.model.name)
        where = _PARAMETERS.get(kind)
        if where is None:
            raise damaged(self._folder, f"has a camera of type {kind}", "undistort the pictures with COLMAP first")
        numbers = [float(camera.params[index]) for index in where]
        width, height = camera.width, camera.height
        focal_x, focal_y, centre_x, centre_y = numbers[:4]
        distortion = (*numbers[4:], *[0.0] * (8 - len(numbers))) if len(numbers) > 4 else ()
        return Lens((focal_x / width, focal_y / height), (centre_x / width, centre_y / height), distortion)

    def depths(self, seconds: Sequence[float]) -> Iterator[np.ndarray | None]:
        """Depth where the model has points, NaN everywhere else."""
        times = np.array([moment for moment, _ in self._images])
        for moment in seconds:
            number = nearest_number(times, moment, half_step(times))
            yield None if number is None else self._sparse(self._images[number][1])

    def _sparse(self, image: Any) -> np.ndarray:
        camera, matrix = self._model.camera(image.camera_id), image.cam_from_world().matrix()
        seen = [point for point in image.points2D if point.has_point3D()]
        places = np.array([point.xy for point in seen]).reshape(-1, 2)
        points = np.array([self._model.point3D(point.point3D_id).xyz for point in seen]).reshape(-1, 3)
        return sparse_map(places, points @ matrix[2, :3] + matrix[2, 3], (camera.width, camera.height))


def _model_file(folder: Path, name: str) -> Path | None:
    return next((path for ending in _ENDINGS if (path := folder / f"{name}{ending}").is_file()), None)


def find_model(root: Path) -> Path | None:
    """The largest model of a folder: in itself, in `sparse`, or in a numbered folder of `sparse`."""
    folders = [root, root / "sparse", *sorted((root / "sparse").glob("[0-9]*"))]
    whole = [folder for folder in folders if all(_model_file(folder, name) for name in _MODEL_FILES)]
    return max(whole, key=lambda folder: _model_file(folder, "images").stat().st_size, default=None)  # type: ignore[union-attr]


def find(root: Path) -> list[Path]:
    """The folder of pictures of a COLMAP model; none if there is no model."""
    pictures = root / PICTURES
    return [pictures] if pictures.is_dir() and find_model(root) is not None else []

"""Camera and objects in space at a few moments, and the same with the noise of a clip's own measurements."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from .object_places import MASK_PIXELS, ObjectPlaces

Label = TypeVar("Label", bound=Hashable)

SAMPLES = 24  # noisy copies of a view
SURE_SHARE = 0.9  # of them, in which an answer must be the same
_MIDDLE_ERROR = 0.2  # of an object's extent: how far its middle may lie before or behind where it is taken to be


@dataclass(frozen=True)
class Accuracy:
    """How well places in space are known in a clip, as standard deviations.

    Attributes:
        noise (`float`): Of a displacement between two frames, as a share of the distance, measured on what rests.
        pixel (`float`): Angle in radians of a pixel of the depth maps.
        scene_depth (`float`): Usual distance of what is seen.
        focal (`float`): Relative error of the focal length, which stretches places across the line of sight.
        centre_noise (`float`, *optional*): As `noise`, of the centres of objects, which are smoothed over time.
        camera_noise (`float`, *optional*): Of a displacement of the camera, as a share of the scene's depth.
    """

    noise: float
    pixel: float
    scene_depth: float
    focal: float = 0.0
    centre_noise: float | None = None
    camera_noise: float | None = None

    def of_place(self, displacement: float | None) -> float:
        """Standard deviation of one place from that of a displacement, or from `noise` where it is not known."""
        return (self.noise if displacement is None else displacement) / np.sqrt(2)


@dataclass(frozen=True)
class SpatialView:
    """Where camera and objects are at some moments, in world axes and one unit.

    Attributes:
        frames (`np.ndarray` of shape `(K,)`): Frames of the window.
        seconds (`np.ndarray` of shape `(K,)`): Their times.
        poses (`np.ndarray` of shape `(K, 4, 4)`): Camera-to-world.
        places (`dict[int, np.ndarray]`): For each object its centres `(K, 3)`.
        extents (`dict[int, float]`): For each object the square root of its visible area.
        nearest (`dict[int, np.ndarray]`): For each object, how near its visible points come in each frame (rows) to
            where the camera is in each (columns), `(K, K)`.
    """

    frames: np.ndarray
    seconds: np.ndarray
    poses: np.ndarray
    places: Mapping[int, np.ndarray]
    extents: Mapping[int, float] = field(default_factory=dict)
    nearest: Mapping[int, np.ndarray] = field(default_factory=dict)
    _noisy: dict[tuple[Accuracy, int], list["SpatialView"]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def centres(self) -> np.ndarray:
        """Where the camera is, `(K, 3)`."""
        return self.poses[:, :3, 3]

    def in_camera(self, number: int, reference: int | None = None) -> np.ndarray:
        """An object's centres `(K, 3)` in the camera's axes: of each moment, or of one that they all refer to."""
        poses = self.poses if reference is None else np.broadcast_to(self.poses[reference], self.poses.shape)
        return np.einsum("kji,kj->ki", poses[:, :3, :3], self.places[number] - poses[:, :3, 3])

    def with_noise(self, accuracy: Accuracy, rng: np.random.Generator) -> "SpatialView":
        """A copy in which everything is off by as much as measurements of the clip are.

        Every place is shifted along its line of sight by the noise of depth, and across it by a pixel; how deep an
        object is, and with it the place of its middle, is unknown; the camera is off by the noise at the scene's
        depth; all places are stretched across the camera's axis by the error of the focal length.

        Args:
            accuracy ([`Accuracy`]): Of the clip.
            rng (`np.random.Generator`): Source of the noise.
        """
        centre, camera = (accuracy.of_place(found) for found in (accuracy.centre_noise, accuracy.camera_noise))
        stretch = np.exp(accuracy.focal * rng.standard_normal()) * np.array([1.0, 1.0, 0.0]) + np.array([0, 0, 1.0])
        count = len(self.seconds)
        places, nearest = {}, {}
        for number in self.places:
            local = self.in_camera(number) * stretch
            distances = np.linalg.norm(local, axis=1, keepdims=True)
            along = centre * rng.standard_normal((count, 1)) * distances
            across = MASK_PIXELS * accuracy.pixel * distances * rng.standard_normal((count, 3))
            behind = _MIDDLE_ERROR * rng.uniform(-1, 1) * self.extents.get(number, 0.0)
            local += (along + behind) * local / np.maximum(distances, 1e-9) + across
            places[number] = np.einsum("kij,kj->ki", self.poses[:, :3, :3], local) + self.centres
            if number in self.nearest:
                shares = accuracy.of_place(None) * rng.standard_normal((count, 1))  # points of one frame, not smoothed
                nearest[number] = self.nearest[number] * (1 + shares)
        poses = self.poses.copy()
        poses[:, :3, 3] += camera * accuracy.scene_depth * rng.standard_normal((count, 3)) / np.sqrt(3)
        return SpatialView(self.frames, self.seconds, poses, places, self.extents, nearest)

    def noisy_copy(self, accuracy: Accuracy, seed: int, number: int) -> "SpatialView":
        """A copy [`with_noise`], by its number; each is made once, for all that is measured on the view."""
        copies = self._noisy.setdefault((accuracy, seed), [])
        while len(copies) <= number:
            copies.append(self.with_noise(accuracy, np.random.default_rng([seed, len(copies)])))
        return copies[number]


def view_moments(
    places: Mapping[int, ObjectPlaces],
    smoothed: Mapping[int, np.ndarray],
    poses: np.ndarray,
    timestamps: np.ndarray,
    frames: np.ndarray,
    nearest: bool = False,
) -> SpatialView:
    """The view at some frames, in all of which all objects have places.

    Args:
        places (`Mapping[int, ObjectPlaces]`): Of the objects.
        smoothed (`Mapping[int, np.ndarray]`): Their centres `(T, 3)` without jitter, see [`smooth_run`].
        poses (`np.ndarray` of shape `(T, 4, 4)`): Camera-to-world.
        timestamps (`np.ndarray` of shape `(T,)`): Seconds.
        frames (`np.ndarray` of shape `(K,)`): Increasing.
        nearest (`bool`, *optional*, defaults to `False`): Whether to measure how near their points come.
    """
    centres = {number: smoothed[number][frames] for number in places}
    extents = {number: float(np.nanmedian(place.extents[frames])) for number, place in places.items()}
    reach = {
        number: np.array([[place.nearest(frame, poses[other, :3, 3]) for other in frames] for frame in frames])
        for number, place in places.items()
        if nearest
    }
    return SpatialView(frames, timestamps[frames], poses[frames], centres, extents, reach)


def spread_frames(timestamps: np.ndarray, run: tuple[int, int], count: int) -> np.ndarray:
    """Frames `(count,)` of a run, from its first to its last, evenly spread in time."""
    first, last = run
    wanted = np.linspace(timestamps[first], timestamps[last], count)
    return first + np.abs(timestamps[first : last + 1][None] - wanted[:, None]).argmin(axis=1)


def measure_surely(
    measure: Callable[[SpatialView], Label | None],
    view: SpatialView,
    accuracy: Accuracy,
    seed: int = 0,
) -> Label | None:
    """What a measurement gives, if the noise of the clip hardly ever changes it; else `None`.

    Args:
        measure (`Callable`): Gives a label, or `None` where it is not clear.
        view ([`SpatialView`]): What to measure.
        accuracy ([`Accuracy`]): Of the clip.
        seed (`int`, *optional*, defaults to 0): Of the noisy copies.
    """
    label = measure(view)
    if label is None:
        return None
    doubts = 0
    for number in range(SAMPLES):
        doubts += measure(view.noisy_copy(accuracy, seed, number)) != label
        if doubts > (1 - SURE_SHARE) * SAMPLES:
            return None
    return label

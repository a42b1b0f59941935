"""Scenes of which is asked where an object will be: a camera that stands still, and objects that go far."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from .scene import COLOURS, SHAPES, Scene, SceneObject, project

FRAMES, FPS = 8, 2.0  # that are shown
_GROUNDS = 8
_FIELD_OF_VIEW = np.radians(66.0)
FOCAL = 0.5 / np.tan(_FIELD_OF_VIEW / 2)  # in image sides


@dataclass(frozen=True)
class PlaceWorld:
    """Settings of the scenes.

    Attributes:
        side (`int`): Side of a frame in pixels.
        ahead (`float`): Seconds from the last frame shown to the time that is asked about.
        objects (`tuple[int, int]`): Fewest and most in a scene, all of different colours.
        reach (`tuple[float, float]`): Metres that a moving object goes while the video lasts.
        size (`tuple[float, float]`): Half an object's height in metres.
        resting (`float`): Share of the objects that do not move; nobody asks about these.
    """

    side: int = 56
    ahead: float = 1.5
    objects: tuple[int, int] = (3, 4)
    reach: tuple[float, float] = (3.0, 8.0)
    size: tuple[float, float] = (0.7, 1.1)
    resting: float = 0.2

    @property
    def times(self) -> np.ndarray:
        """Seconds of the video's frames and, last, of the time that is asked about, shape `(FRAMES + 1,)`."""
        seconds = np.arange(FRAMES) / FPS
        return np.append(seconds, seconds[-1] + self.ahead)


def draw_place_scene(world: PlaceWorld, rng: np.random.Generator) -> Scene:
    """Draw a scene whose paths have the nine times of `world.times`."""
    pose = _camera(rng)
    count = int(rng.integers(world.objects[0], world.objects[1] + 1))
    colours = rng.choice(list(COLOURS), count, replace=False)
    placed: list[SceneObject] = []
    while len(placed) < count:
        item = _object(world, pose, str(colours[len(placed)]), rng)
        gaps = [np.linalg.norm(item.path - other.path, axis=1) - item.size - other.size for other in placed]
        if all(gap.min() > 0.3 for gap in gaps):
            placed.append(item)
    light = np.array([rng.uniform(-1, 1), rng.uniform(-1.5, -0.5), 2.0])
    poses = np.tile(pose, (FRAMES + 1, 1, 1))
    return Scene(tuple(placed), poses, float(_FIELD_OF_VIEW), int(rng.integers(_GROUNDS)), light)


def _camera(rng: np.random.Generator) -> np.ndarray:
    pitch = np.radians(rng.uniform(30, 60))
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack(
        [(1, 0, 0), (0, -np.sin(pitch), -np.cos(pitch)), (0, np.cos(pitch), -np.sin(pitch))]
    )
    pose[:3, :3] = pose[:3, :3] @ Rotation.from_rotvec([0, 0, rng.uniform(-15, 15)], degrees=True).as_matrix()
    pose[:3, 3] = (0, 0, rng.uniform(5, 8))
    return pose


def _object(world: PlaceWorld, pose: np.ndarray, colour: str, rng: np.random.Generator) -> SceneObject:
    """One object, in view when the video ends and at the time that is asked about."""
    progress = world.times / world.times[FRAMES - 1]
    while True:
        size = rng.uniform(*world.size)
        column, row = rng.uniform(0.05, 0.95, 2)
        ray = pose[:3, :3] @ np.array([(column - 0.5) / FOCAL, (row - 0.5) / FOCAL, 1.0])
        if ray[2] > -0.1:
            continue
        end = pose[:3, 3] + ray * (size - pose[2, 3]) / ray[2]
        angle = rng.uniform(0, 2 * np.pi)
        reach = 0.0 if rng.random() < world.resting else rng.uniform(*world.reach)
        way = reach * np.array([np.cos(angle), np.sin(angle), 0.0])
        path = end + (progress[:, None] - 1) * way
        seen = project(path, pose, FOCAL)
        inside = (np.abs(seen[:, :2] - 0.5) < 0.46).all(axis=1) & (seen[:, 2] > 2.5) & (seen[:, 2] < 20)
        # Seen in the second half of the video at least, and later on.
        if inside[FRAMES // 2 :].all():
            return SceneObject(colour, str(rng.choice(SHAPES)), float(size), path)

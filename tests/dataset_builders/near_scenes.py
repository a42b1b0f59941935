"""Scenes of near objects that move far, as version 1 of the rendered world drew them: much for labels to tell."""

import numpy as np
from scipy.spatial.transform import Rotation

from fourdthinker.dataset_builders.geometry.camera_motion import CAMERA_LABELS
from fourdthinker.dataset_builders.world.sampling import LOCAL_AXES
from fourdthinker.dataset_builders.world.scene import COLOURS, SHAPES, Scene, SceneObject, project

_FIELD_OF_VIEW = np.radians(60.0)
# How far the camera goes over a clip, smallest and largest: degrees for turns, metres for moves.
_CAMERA_REACH = {
    "Pan": (16, 26),
    "Tilt": (10, 16),
    "Roll": (16, 28),
    "Dolly": (1.3, 2.2),
    "Truck": (1.3, 2.2),
    "Pedestal": (0.9, 1.5),
}
_OBJECT_STEPS = {
    "still": (0.0, 0.0),
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "toward": (0.0, -1.3),
    "away": (0.0, 1.3),
}
_MOTION_SHARES = (0.12, 0.22, 0.22, 0.22, 0.22)
_CLEARANCE = 1.3  # metres between centres, so that nobody walks through anybody
_MOST_TRIES = 100


def sample_near_scene(rng: np.random.Generator, frames: int, grounds: int) -> Scene:
    """Draw a scene: up to three objects, one of them at rest, and a camera that mostly moves.

    Args:
        rng (`np.random.Generator`): Source of every choice.
        frames (`int`): Length of the paths.
        grounds (`int`): How many ground textures there are.
    """
    progress = np.linspace(0.0, 1.0, frames)
    heading = Rotation.from_rotvec([0, 0, rng.uniform(0, 2 * np.pi)]).as_matrix()
    objects: tuple[SceneObject, ...] = ()
    while not objects:  # from a few cameras no place was found that stays in view
        poses = _camera_path(rng, progress, heading)
        objects = _sample_objects(rng, progress, heading, poses)
    light = heading @ np.array([rng.uniform(-1, 1), rng.uniform(-1.5, -0.5), 2.0])
    return Scene(objects, poses, float(_FIELD_OF_VIEW), int(rng.integers(grounds)), light)


def _camera_path(rng: np.random.Generator, progress: np.ndarray, heading: np.ndarray) -> np.ndarray:
    height, pitch = rng.uniform(2.3, 2.8), np.radians(rng.uniform(25, 31))
    base = np.eye(4)
    # Columns: the camera's right, down and forward in the world, looking along +y and down by `pitch`.
    base[:3, 0] = (1, 0, 0)
    base[:3, 1] = (0, -np.sin(pitch), -np.cos(pitch))
    base[:3, 2] = (0, np.cos(pitch), -np.sin(pitch))
    base[:3, 3] = (0, 0, height)
    base[:3] = heading @ base[:3]
    label = CAMERA_LABELS[rng.integers(len(CAMERA_LABELS))] if rng.random() < 0.7 else None
    steps = np.tile(np.eye(4), (len(progress), 1, 1))
    if label is not None:
        kind, axis = label.split()[0], np.array(LOCAL_AXES[label], dtype=float)
        reach = rng.uniform(*_CAMERA_REACH[kind])
        if kind in ("Pan", "Tilt", "Roll"):
            steps[:, :3, :3] = Rotation.from_rotvec(reach * progress[:, None] * axis, degrees=True).as_matrix()
            # The path swings about the middle of its range, so that what it looks at stays in the image.
            steps = np.linalg.inv(steps[len(steps) // 2]) @ steps
        else:
            steps[:, :3, 3] = reach * axis * (progress - 0.5)[:, None]
    return base @ steps


def _sample_objects(
    rng: np.random.Generator, progress: np.ndarray, heading: np.ndarray, poses: np.ndarray
) -> tuple[SceneObject, ...]:
    count = int(rng.integers(2, 4))
    colours = rng.choice(list(COLOURS), count, replace=False)
    # One object rests: camera questions need something that stays where it is.
    motions = ["still", *rng.choice(list(_OBJECT_STEPS), count - 1, p=_MOTION_SHARES)]
    placed: list[SceneObject] = []
    for colour, motion in zip(colours, motions, strict=True):
        size, shape = float(rng.uniform(0.42, 0.58)), str(rng.choice(SHAPES))
        for _ in range(_MOST_TRIES):
            path = _sample_path(rng, progress, str(motion), size) @ heading.T
            apart = all(np.linalg.norm(path - other.path, axis=1).min() > _CLEARANCE for other in placed)
            if apart and _stays_in_view(path, poses):
                placed.append(SceneObject(str(colour), shape, size, path))
                break
    return tuple(placed[i] for i in rng.permutation(len(placed)))


def _sample_path(rng: np.random.Generator, progress: np.ndarray, motion: str, size: float) -> np.ndarray:
    depth = rng.uniform(3.0, 6.5)
    middle = np.array([rng.uniform(-0.5, 0.5) * depth, depth])
    step = np.array(_OBJECT_STEPS[motion]) * rng.uniform(1.8, 3.0)
    step += np.abs(step).max() * rng.uniform(-0.2, 0.2, 2)
    flat = middle + step * (progress - 0.5)[:, None]
    return np.column_stack([flat, np.full(len(progress), size)])


def _stays_in_view(path: np.ndarray, poses: np.ndarray) -> bool:
    focal = 0.5 / np.tan(_FIELD_OF_VIEW / 2)
    seen = project(path, poses, focal)
    return bool((seen[:, 2] > 2.0).all() and (np.abs(seen[:, :2] - 0.5) < 0.42).all())

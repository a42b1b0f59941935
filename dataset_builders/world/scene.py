"""What happens in one clip of the rendered world: objects on a ground plane, their paths, the camera's path.

World axes: x right, y forward, z up, in metres. Camera axes are OpenCV's: x right, y down, z forward.
"""

from dataclasses import dataclass

import numpy as np

from ..geometry.camera_motion import CAMERA_LABELS

COLOURS = {
    "blue": (0.10, 0.20, 0.90),
    "green": (0.10, 0.65, 0.20),
    "yellow": (0.95, 0.85, 0.10),
    "purple": (0.55, 0.10, 0.75),
    "orange": (0.95, 0.50, 0.05),
    "cyan": (0.10, 0.80, 0.85),
    "black": (0.07, 0.07, 0.07),
    "white": (0.97, 0.97, 0.97),
}
SHAPES = ("ball", "box", "can")

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
_LOCAL_AXIS = {
    "Pan Left": (0, -1, 0), "Pan Right": (0, 1, 0), "Tilt Up": (1, 0, 0), "Tilt Down": (-1, 0, 0),
    "Roll Clockwise": (0, 0, 1), "Roll Counterclockwise": (0, 0, -1),
    "Dolly In": (0, 0, 1), "Dolly Out": (0, 0, -1), "Truck Left": (-1, 0, 0), "Truck Right": (1, 0, 0),
    "Pedestal Up": (0, -1, 0), "Pedestal Down": (0, 1, 0),
}  # fmt: skip


@dataclass(frozen=True)
class SceneObject:
    """One object and its path.

    Attributes:
        colour, shape (`str`): Keys of `COLOURS` and `SHAPES`; together they name the object.
        size (`float`): Half its height in metres.
        path (`np.ndarray` of shape `(frames, 3)`): Its centre in world metres.
    """

    colour: str
    shape: str
    size: float
    path: np.ndarray

    @property
    def name(self) -> str:
        """For example `blue ball`."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """Input of the renderer for one clip.

    Attributes:
        objects (`tuple[SceneObject, ...]`): The objects, names distinct.
        camera_to_world (`np.ndarray` of shape `(frames, 4, 4)`): Camera poses in metres, OpenCV axes.
        field_of_view (`float`): Vertical and horizontal, in radians.
        ground (`int`): Which ground texture.
        light (`np.ndarray` of shape `(3,)`): Direction towards the light.
    """

    objects: tuple[SceneObject, ...]
    camera_to_world: np.ndarray
    field_of_view: float
    ground: int
    light: np.ndarray


def sample_scene(rng: np.random.Generator, frames: int, grounds: int) -> Scene:
    """Draw a scene: up to three objects, one of them at rest, and a camera that mostly moves.

    Args:
        rng (`np.random.Generator`): Source of every choice.
        frames (`int`): Length of the paths.
        grounds (`int`): How many ground textures there are.
    """
    progress = np.linspace(0.0, 1.0, frames)
    heading = _turn_about_z(rng.uniform(0, 2 * np.pi))
    objects: tuple[SceneObject, ...] = ()
    while not objects:  # from a few cameras no place was found that stays in view
        poses = _camera_path(rng, progress, heading)
        objects = _sample_objects(rng, progress, heading, poses)
    light = heading @ np.array([rng.uniform(-1, 1), rng.uniform(-1.5, -0.5), 2.0])
    return Scene(objects, poses, float(_FIELD_OF_VIEW), int(rng.integers(grounds)), light)


def project(points: np.ndarray, camera_to_world: np.ndarray, focal: float) -> np.ndarray:
    """Pinhole projection into an image of side 1.

    Args:
        points (`np.ndarray` of shape `(..., 3)`): World metres.
        camera_to_world (`np.ndarray` of shape `(..., 4, 4)`): Poses that broadcast with the points.
        focal (`float`): Focal length in image sides.

    Returns:
        `np.ndarray` of shape `(..., 3)`: column and row in image sides (0 to 1 inside), depth in metres.
    """
    local = np.einsum("...ji,...j->...i", camera_to_world[..., :3, :3], points - camera_to_world[..., :3, 3])
    depth = local[..., 2:]
    return np.concatenate([0.5 + focal * local[..., :2] / depth, depth], axis=-1)


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
        kind, axis = label.split()[0], np.array(_LOCAL_AXIS[label], dtype=float)
        reach = rng.uniform(*_CAMERA_REACH[kind])
        if kind in ("Pan", "Tilt", "Roll"):
            steps[:, :3, :3] = _turns(axis, np.radians(reach) * progress)
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


def _turn_about_z(angle: float) -> np.ndarray:
    return _turns(np.array([0.0, 0.0, 1.0]), np.array([angle]))[0]


def _turns(axis: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: right-handed turns about a unit axis, shape `(n, 3, 3)`."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    sine, cosine = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    return np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)

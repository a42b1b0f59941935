"""Scenes for questions about space: camera and objects go one way and then another, faster or slower, or rest.

Where things are is drawn before how they move, and nothing is drawn again for the motion's sake, so that the first
frame says nothing of what follows. The camera's pitch and roll vary by more than it turns, so that the horizon in a
later frame hardly tells how it has turned.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from .scene import COLOURS, SHAPES, Scene, SceneObject

GROUNDS = 8
_CLEARANCE = 1.4  # metres between objects
_DEPTHS = (3.5, 9.0)  # metres ahead, at which objects begin
_FIELD_OF_VIEW = np.radians(60.0)
_PITCH, _YAW, _ROLL = (-50.0, -6.0), (-12.0, 12.0), (-40.0, 40.0)  # degrees, of a camera that begins
_AIM, _LOWEST = (4.5, 6.5), 1.4  # metres ahead where the middle of the picture shows the ground, and above it at least
_TILT, _TURN = (9.0, 12.0), (9.0, 18.0)  # degrees
_STANDS, _TURNS_NOT, _RESTS = 0.3, 0.4, 0.2  # shares of phases in which camera or object does not move


def draw_scene(seed: int, frames: int = 24) -> Scene:
    """Draw a scene.

    Args:
        seed (`int`): Which.
        frames (`int`, *optional*, defaults to 24): Length of the paths.
    """
    rng = np.random.default_rng([seed, 17])
    objects = None
    while objects is None:
        objects = _objects(rng, frames)
    light = np.array([rng.uniform(-1, 1), rng.uniform(-1.5, -0.5), 2.0])
    return Scene(objects, _camera(rng, frames), float(_FIELD_OF_VIEW), int(rng.integers(GROUNDS)), light)


def _phases(rng: np.random.Generator, frames: int, steps: list[np.ndarray]) -> np.ndarray:
    """A path `(frames, n)` that goes one way after the other, beginning at 0."""
    progress = np.linspace(0, 1, frames)[:, None]
    cut = rng.uniform(0.35, 0.65) if len(steps) > 1 else 1.0
    path = steps[0] * np.minimum(progress / cut, 1)
    return path if len(steps) == 1 else path + steps[1] * np.maximum((progress - cut) / (1 - cut), 0)


def _camera(rng: np.random.Generator, frames: int) -> np.ndarray:
    base = np.eye(4)
    base[:3, :3] = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0.0]])  # right, down, forward along the world's +y
    yaw, pitch, roll = (rng.uniform(*span) for span in (_YAW, _PITCH, _ROLL))
    base[:3, :3] = base[:3, :3] @ Rotation.from_euler("YXZ", [yaw, pitch, roll], degrees=True).as_matrix()
    height = max(_LOWEST, rng.uniform(*_AIM) * np.tan(np.radians(-pitch)))
    base[:3, 3] = (rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8), height)
    moves = [_camera_move(rng) for _ in range(rng.integers(1, 3))]
    turns = [_camera_turn(rng) for _ in range(rng.integers(1, 3))]
    shifts, angles = _phases(rng, frames, moves), _phases(rng, frames, turns)
    steps = np.tile(np.eye(4), (frames, 1, 1))
    steps[:, :3, :3] = Rotation.from_rotvec(np.radians(angles)).as_matrix()
    steps[:, :3, 3] = shifts
    return base @ steps


def _camera_move(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < _STANDS:
        return np.zeros(3)
    axis = rng.integers(3)
    move = rng.uniform(-0.15, 0.15, 3)
    move[axis] = rng.choice([-1, 1]) * rng.uniform(0.4, 0.8 if axis == 1 else 1.6)
    return move


def _camera_turn(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < _TURNS_NOT:
        return np.zeros(3)
    axis = rng.integers(3)
    turn = rng.uniform(-1, 1, 3)
    turn[axis] = rng.choice([-1, 1]) * rng.uniform(*(_TURN if axis else _TILT))
    return turn


def _objects(rng: np.random.Generator, frames: int) -> tuple[SceneObject, ...] | None:
    """Three objects, of which the first rests; `None` if two would meet."""
    count = 3
    colours = rng.choice(list(COLOURS), count, replace=False)
    placed: list[SceneObject] = []
    for number, colour in enumerate(colours):
        size = float(rng.uniform(0.35, 0.55))
        depth = np.exp(rng.uniform(*np.log(_DEPTHS)))
        start = np.array([rng.uniform(-0.3, 0.3) * depth, depth, size])
        steps = [_object_step(rng) if number else np.zeros(3) for _ in range(rng.integers(1, 3))]
        path = start + _phases(rng, frames, steps)
        if any(np.linalg.norm(path - other.path, axis=1).min() < _CLEARANCE for other in placed):
            return None
        placed.append(SceneObject(str(colour), str(rng.choice(SHAPES)), size, path))
    return tuple(placed)


def _object_step(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < _RESTS:
        return np.zeros(3)
    angle = rng.integers(4) * np.pi / 2 + rng.uniform(-0.2, 0.2)
    return rng.uniform(0.5, 1.9) * np.array([np.cos(angle), np.sin(angle), 0])

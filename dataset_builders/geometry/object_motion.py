"""Label object motion, from the object's positions and the camera's pose."""

import numpy as np
from numpy.typing import ArrayLike

from ...modeling.errors import InputError

OBJECT_LABELS = (
    "Moving Left",
    "Moving Right",
    "Moving Toward the Camera",
    "Moving Away from the Camera",
    "Staying in Place",
)

STILL_METRES = 0.3  # an object at rest may jitter by as much
MOVING_METRES = 0.9  # between the two nobody could say
MAX_SLANT_DEGREES = 30.0  # beyond, a move is neither sideways nor along the line of sight


def object_displacement(centres: ArrayLike, camera_to_world: ArrayLike) -> np.ndarray:
    """Displacement of an object over a clip, seen from the camera's first pose.

    Args:
        centres (`ArrayLike` of shape `(T, 3)`): The object's centre in metres; the world's z points up.
        camera_to_world (`ArrayLike` of shape `(T, 4, 4)`): Poses in metres, OpenCV axes.

    Returns:
        `np.ndarray` of shape `(3,)`: Metres to the right, down, and forward along the ground.

    Raises:
        InputError: If the shapes do not fit, or a number is not finite.
    """
    centres, poses = np.asarray(centres, dtype=float), np.asarray(camera_to_world, dtype=float)
    if centres.ndim != 2 or centres.shape[1:] != (3,) or len(centres) == 0 or poses.shape != (len(centres), 4, 4):
        raise InputError(f"object centres {centres.shape} and poses {poses.shape} do not fit (T, 3) and (T, 4, 4)")
    if not (np.isfinite(centres).all() and np.isfinite(poses).all()):
        raise InputError("an object centre or a pose holds NaN or infinity: drop that frame")
    right, down = poses[0, :3, 0], poses[0, :3, 1]
    # A camera that looks down still calls "away" what recedes along the ground.
    vertical = np.array([0.0, 0.0, -1.0 if down[2] < 0 else 1.0])
    right = right - vertical * (right @ vertical)
    right /= np.linalg.norm(right)
    forward = np.cross(right, vertical)
    return np.stack([right, vertical, forward]) @ (centres[-1] - centres[0])


def object_label(displacement: ArrayLike) -> str | None:
    """The label of a displacement, or `None` where it is neither clearly one label nor another.

    Args:
        displacement (`ArrayLike` of shape `(3,)`): Metres right, down, forward, from `object_displacement`.

    Raises:
        InputError: If it is not three finite numbers.
    """
    displacement = np.asarray(displacement, dtype=float)
    if displacement.shape != (3,) or not np.isfinite(displacement).all():
        raise InputError(f"a displacement is three numbers of metres, got {displacement.tolist()}")
    right, _, forward = displacement
    distance = float(np.hypot(right, forward))
    if distance <= STILL_METRES:
        return "Staying in Place"
    slant = np.degrees(np.arctan2(min(abs(right), abs(forward)), max(abs(right), abs(forward))))
    if distance < MOVING_METRES or slant > MAX_SLANT_DEGREES:
        return None
    if abs(right) > abs(forward):
        return "Moving Right" if right > 0 else "Moving Left"
    return "Moving Away from the Camera" if forward > 0 else "Moving Toward the Camera"

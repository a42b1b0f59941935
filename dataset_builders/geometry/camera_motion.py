"""Label camera motion with the twelve film terms, from camera poses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from ...modeling.errors import InputError

# The vocabulary of SpatialVID and 4DThinker. Opposites stand side by side.
CAMERA_LABELS = (
    "Pan Left",
    "Pan Right",
    "Tilt Up",
    "Tilt Down",
    "Roll Clockwise",
    "Roll Counterclockwise",
    "Dolly In",
    "Dolly Out",
    "Truck Left",
    "Truck Right",
    "Pedestal Up",
    "Pedestal Down",
)
OPPOSITE = {label: CAMERA_LABELS[i ^ 1] for i, label in enumerate(CAMERA_LABELS)}

METRIC_SCENE_DEPTH = 4.0  # metres: typical distance of objects indoors
MIN_DEGREES = 3.0  # weaker motions are a hand's tremor, not a camera move
MIN_SHARE = 0.5  # of the strongest motion
MAX_LABELS = 2
_MAX_STEP_DEGREES = 150.0  # near a half turn between two frames, left and right cannot be distinguished


def camera_labels(
    poses: ArrayLike, timestamps: Sequence[float] | None = None, scene_depth: float = METRIC_SCENE_DEPTH
) -> list[str]:
    """Name what the camera did over a whole clip.

    A motion is named if it is strong enough (`MIN_DEGREES`) and not dwarfed by the clip's strongest one (`MIN_SHARE`);
    at most `MAX_LABELS` are. Both ends of one axis are never named together.

    Args:
        poses (`ArrayLike` of shape `(T, 4, 4)`):
            Camera-to-world matrices, OpenCV axes (x right, y down, z forward).
        timestamps (`Sequence[float]`, *optional*):
            Seconds, one a pose. Only checked: the labels speak of the whole clip.
        scene_depth (`float`, *optional*, defaults to 4.0):
            Median depth of the scene in the unit of the poses. Makes translations comparable where poses are known up
            to scale only.

    Returns:
        `list[str]`: Labels in the order of `CAMERA_LABELS`, none for a still camera.

    Raises:
        InputError: If the poses are not rigid motions, or do not fit the timestamps or the depth.
    """
    strengths = camera_strengths(poses, timestamps, scene_depth)
    ranked = sorted(strengths, key=lambda label: -strengths[label])[:MAX_LABELS]
    floor = max(MIN_DEGREES, MIN_SHARE * strengths[ranked[0]])
    return [label for label in CAMERA_LABELS if label in ranked and strengths[label] >= floor]


def camera_strengths(
    poses: ArrayLike, timestamps: Sequence[float] | None = None, scene_depth: float = METRIC_SCENE_DEPTH
) -> dict[str, float]:
    """Measure how far the camera went along and around each of its axes, in degrees.

    Steps between neighbouring poses are taken in the camera's own frame, half-way between the two orientations, and
    summed: a shake cancels, an orbit is a truck with a pan, and the clip played backwards gives exactly the opposite.
    A displacement d counts as the angle d / `scene_depth`, by which it shifts the scene in the image.

    Args:
        poses (`ArrayLike` of shape `(T, 4, 4)`):
            Camera-to-world matrices, OpenCV axes (x right, y down, z forward).
        timestamps (`Sequence[float]`, *optional*):
            Seconds, one a pose; checked only.
        scene_depth (`float`, *optional*, defaults to 4.0):
            Median depth of the scene in the unit of the poses.

    Returns:
        `dict[str, float]`: For each of the six axes the label of its direction and its strength in degrees (>= 0).

    Raises:
        InputError: If the poses are not rigid motions, or do not fit the timestamps or the depth.
    """
    signed = camera_steps(check_poses(poses, timestamps), scene_depth).sum(axis=0)
    return {CAMERA_LABELS[2 * axis + (value < 0)]: abs(float(value)) for axis, value in enumerate(signed)}


def camera_steps(poses: np.ndarray, scene_depth: float = METRIC_SCENE_DEPTH) -> np.ndarray:
    """Measure each step between neighbouring poses along and around the camera's own axes.

    Args:
        poses (`np.ndarray` of shape `(T, 4, 4)`):
            Camera-to-world matrices, as [`check_poses`] returns them.
        scene_depth (`float`, *optional*, defaults to 4.0):
            Median depth of the scene in the unit of the poses.

    Returns:
        `np.ndarray` of shape `(T - 1, 6)`: Degrees of pan, tilt, roll, dolly, truck and pedestal; positive for the
        first label of each pair in `CAMERA_LABELS`.

    Raises:
        InputError: If the depth is not positive, or the camera turns by half a circle in one step.
    """
    if not (np.isfinite(scene_depth) and scene_depth > 0):
        raise InputError(f"scene_depth is {scene_depth}; give the scene's median depth in the unit of the poses.")
    rotations = Rotation.from_matrix(poses[:, :3, :3])
    turns = (rotations[:-1].inv() * rotations[1:]).as_rotvec()
    angles = np.degrees(np.linalg.norm(turns, axis=1))
    if (angles > _MAX_STEP_DEGREES).any():
        step = _first(angles > _MAX_STEP_DEGREES)
        raise InputError(f"The camera turns by half a circle after pose {step}: a cut? Split there or add frames.")
    halfway = rotations[:-1] * Rotation.from_rotvec(turns / 2)
    shifts = halfway.inv().apply(np.diff(poses[:, :3, 3], axis=0)) / scene_depth
    # With y down and z forward, turning about +y looks right, about +x up, and about +z takes the top to the right.
    (turn_x, turn_y, turn_z), (shift_x, shift_y, shift_z) = turns.T, shifts.T
    return np.degrees(np.column_stack([-turn_y, turn_x, turn_z, shift_z, -shift_x, -shift_y]))


def check_poses(poses: ArrayLike, timestamps: Sequence[float] | None = None) -> np.ndarray:
    """Validate poses, and return them as an array of rigid motions.

    Args:
        poses (`ArrayLike` of shape `(T, 4, 4)`):
            Camera-to-world matrices, at least two.
        timestamps (`Sequence[float]`, *optional*):
            Seconds, one a pose, increasing.

    Returns:
        `np.ndarray` of shape `(T, 4, 4)` and type float64.

    Raises:
        InputError: Naming the first fault found.
    """
    try:
        poses = np.asarray(poses, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"Camera poses are not numbers ({error}); give an array of shape (T, 4, 4).") from error
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or len(poses) < 2:
        raise InputError(f"Camera poses have shape {poses.shape}; give camera-to-world matrices (T, 4, 4) with T > 1.")
    if not np.isfinite(poses).all():
        raise InputError(f"Camera pose {_first(~np.isfinite(poses))} holds NaN or infinity; drop that frame.")
    rotations = poses[:, :3, :3]
    skewed = np.abs(rotations.transpose(0, 2, 1) @ rotations - np.eye(3)) > 1e-3
    if skewed.any():
        raise InputError(f"Camera pose {_first(skewed)} has no rotation in its upper 3x3; give rigid poses.")
    mirrored = np.linalg.det(rotations) < 0
    if mirrored.any():
        raise InputError(f"Camera pose {_first(mirrored)} is mirrored (determinant -1); give right-handed axes.")
    if (np.abs(poses[:, 3] - (0, 0, 0, 1)) > 1e-6).any():
        raise InputError("Camera poses do not end in the row 0 0 0 1; give camera-to-world matrices (T, 4, 4).")
    if timestamps is not None and len(timestamps) != len(poses):
        raise InputError(f"There are {len(poses)} camera poses for {len(timestamps)} timestamps; give one a frame.")
    if timestamps is not None and not (np.diff(np.asarray(timestamps, dtype=np.float64)) > 0).all():
        raise InputError("The timestamps of the camera poses do not increase; sort the frames by time.")
    return poses


def _first(faults: np.ndarray) -> int:
    return int(np.argwhere(faults)[0][0])

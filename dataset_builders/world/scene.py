"""What one clip of the rendered world holds: objects on a ground plane, their paths, the camera's path.

World axes: x right, y forward, z up, in metres. Camera axes are OpenCV's: x right, y down, z forward.
"""

from dataclasses import dataclass

import numpy as np

# Raise it when scenes or their questions change: scores on two versions cannot be compared.
WORLD_VERSION = 2
# What rendered rows say of their source.
WORLD_SOURCE = f"fourd_world-{WORLD_VERSION}"

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


@dataclass(frozen=True)
class SceneObject:
    """One object and its path.

    Attributes:
        colour, shape (`str`): Keys of `COLOURS` and `SHAPES`; together they name the object.
        size (`float`): Half its height in metres.
        path (`np.ndarray` of shape `(frames, 3)`): Its centre in world metres.
        fits_any_camera (`bool`): Whether it would show in the first and last frame whichever way the camera had moved.
        fits_any_motion (`bool`): Whether it would show in both whichever way it had moved itself.
    """

    colour: str
    shape: str
    size: float
    path: np.ndarray
    fits_any_camera: bool = True
    fits_any_motion: bool = True

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

"""Compute the facts of a rendered clip (motions, places, visibility) from its geometry."""

from dataclasses import dataclass

import numpy as np

from ..geometry.camera_motion import camera_labels, camera_strengths
from ..geometry.object_motion import object_displacement, object_label
from ..questions.motion_reasoning import describe_camera, describe_object, describe_place
from .renderer import WorldClip
from .scene import project

SEEN_PIXELS_SHARE = 8 / 56**2  # of the image, below which an object does not show


@dataclass(frozen=True)
class ObjectFacts:
    """One object of a clip.

    Attributes:
        index (`int`): Its number in the clip's masks.
        name (`str`): For example `blue ball`.
        label (`str`, *optional*): One of `OBJECT_LABELS`; `None` where its motion is ambiguous.
        displacement (`np.ndarray` of shape `(3,)`): Metres right, down, forward, seen from the first camera.
        start, end (`str`): Its place in the first and last frame.
        column (`float`): Where it starts, 0 at the image's left edge and 1 at its right edge.
        seen (`bool`): Whether it shows in both the first and the last frame.
    """

    index: int
    name: str
    label: str | None
    displacement: np.ndarray
    start: str
    end: str
    column: float
    seen: bool

    def describe(self) -> str:
        """One sentence with its name, places and motion; the label must be known."""
        return describe_object(self.name, self.start, self.end, str(self.label))


@dataclass(frozen=True)
class ClipFacts:
    """The camera's motion and every object of a clip, the objects from left to right.

    Attributes:
        camera (`list[str]`): Labels; none for a still camera.
        camera_degrees (`dict[str, float]`): Strength of each motion that is not zero.
        objects (`list[ObjectFacts]`).
    """

    camera: list[str]
    camera_degrees: dict[str, float]
    objects: list[ObjectFacts]

    def describe(self, last: ObjectFacts | None = None) -> str:
        """The dense caption: the camera, then each object that shows and moves unambiguously.

        Args:
            last (`ObjectFacts`, *optional*): Which object to tell after all the others.
        """
        described = sorted((item for item in self.objects if item.seen and item.label), key=lambda item: item is last)
        return " ".join([describe_camera(self.camera), *(item.describe() for item in described)])


def clip_facts(clip: WorldClip) -> ClipFacts:
    """Work out the facts of a rendered clip."""
    focal = clip.intrinsics[0, 0] / clip.rgb.shape[1]
    ends = project(clip.centres[[0, -1]], clip.camera_to_world[[0, -1], None], focal)
    objects = []
    for index, name in enumerate(clip.names):
        displacement = object_displacement(clip.centres[:, index], clip.camera_to_world)
        (first, _, first_depth), (last, _, last_depth) = ends[:, index]
        shares = (clip.masks[[0, -1]] == index).mean(axis=(1, 2))
        objects.append(
            ObjectFacts(
                index=index,
                name=name,
                label=object_label(displacement),
                displacement=displacement,
                start=describe_place(first, first_depth),
                end=describe_place(last, last_depth),
                column=float(first),
                seen=bool((shares >= SEEN_PIXELS_SHARE).all()),
            )
        )
    strengths = camera_strengths(clip.camera_to_world, clip.timestamps)
    degrees = {label: round(float(value), 2) for label, value in strengths.items() if value > 0.005}
    labels = camera_labels(clip.camera_to_world, clip.timestamps)
    return ClipFacts(labels, degrees, sorted(objects, key=lambda item: item.column))


def visible_points(clip: WorldClip, frame: int, index: int) -> np.ndarray:
    """Visible points of an object in a frame, from depth and pose: world points in metres, shape `(n, 3)`."""
    rows, columns = np.nonzero(clip.masks[frame] == index)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(clip.intrinsics).T
    local = rays * clip.depth[frame][rows, columns, None]
    pose = clip.camera_to_world[frame]
    return local @ pose[:3, :3].T + pose[:3, 3]

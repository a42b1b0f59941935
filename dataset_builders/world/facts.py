"""Compute the facts of a rendered clip (motions, places, visibility) from its geometry."""

from dataclasses import dataclass

import numpy as np

from ..geometry.camera_motion import camera_labels, camera_strengths
from ..geometry.object_motion import object_displacement, object_label
from ..questions.motion_reasoning import (
    describe_camera,
    describe_motion,
    describe_place,
    describe_places,
)
from .renderer import WorldClip
from .scene import project

SEEN_PIXELS_SHARE = 8 / 56**2  # of the image, below which an object does not show
_MOST_DESCRIBED = 4  # objects of a clip, so that a response stays short


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
        share (`float`): Of the image, in the first or the last frame, whichever shows less of it.
        seen (`bool`): Whether it shows in both the first and the last frame.
        fits_any_motion (`bool`): See [`SceneObject`].
    """

    index: int
    name: str
    label: str | None
    displacement: np.ndarray
    start: str
    end: str
    column: float
    share: float
    seen: bool
    fits_any_motion: bool


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

    @property
    def described(self) -> list[ObjectFacts]:
        """The objects to speak of: the largest of those that show at both ends and move unambiguously."""
        shown = sorted((item for item in self.objects if item.seen and item.label), key=lambda item: -item.share)
        return [item for item in self.objects if any(item is one for one in shown[:_MOST_DESCRIBED])]

    def describe(self) -> str:
        """The dense caption: where the objects are, what the camera does, and then how the objects move."""
        motions = (describe_motion(item.name, str(item.label)) for item in self.described)
        return " ".join([self.describe_scene(), *motions])

    def describe_scene(self, last: ObjectFacts | None = None, camera: bool = True) -> str:
        """Where the objects to speak of start and end, and what the camera does.

        Args:
            last (`ObjectFacts`, *optional*): An object to tell after all the others, described or not.
            camera (`bool`, *optional*, defaults to `True`): Whether to tell of the camera.
        """
        items = [item for item in self.described if item is not last] + ([] if last is None else [last])
        places = (describe_places(item.name, item.start, item.end) for item in items)
        return " ".join([*places, *([describe_camera(self.camera)] if camera else [])])


def clip_facts(clip: WorldClip) -> ClipFacts:
    """Work out the facts of a rendered clip."""
    focal = clip.intrinsics[0, 0] / clip.rgb.shape[1]
    ends = project(clip.centres[[0, -1]], clip.camera_to_world[[0, -1], None], focal)
    objects = []
    for index, name in enumerate(clip.names):
        displacement = object_displacement(clip.centres[:, index], clip.camera_to_world)
        (first, first_row, first_depth), (last, last_row, last_depth) = ends[:, index]
        shares = (clip.masks[[0, -1]] == index).mean(axis=(1, 2))
        objects.append(
            ObjectFacts(
                index=index,
                name=name,
                label=object_label(displacement),
                displacement=displacement,
                start=describe_place(first, first_row, first_depth),
                end=describe_place(last, last_row, last_depth),
                column=float(first),
                share=float(shares.min()),
                seen=bool((shares >= SEEN_PIXELS_SHARE).all()),
                fits_any_motion=clip.fits_any_motion[index],
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

"""The record of one window of a clip: what every stage of the builder reads and writes, before there are rows."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

PoseKind = Literal["still", "turn_only", "up_to_scale", "metric"]
# What the camera does by each kind, for readers of pages and reasons.
POSE_KIND_WORDS: dict[str, str] = {
    "still": "stands still",
    "turn_only": "only turns",
    "up_to_scale": "moves (scale unknown)",
    "metric": "moves (in metres)",
}


@dataclass(frozen=True)
class Window:
    """A stretch of one shot that is treated as a clip of its own.

    Attributes:
        shot (`int`): Number of the shot within the video, from 0.
        start, end (`float`): Seconds from the first frame of the video.
        timestamps (`tuple[float, ...]`): Seconds of the sampled frames from the first frame of the video, increasing.
        pictures (`tuple[int, ...]`, *optional*): Which pictures they are, where the frames are no video but a sequence
            of pictures.
    """

    shot: int
    start: float
    end: float
    timestamps: tuple[float, ...]
    pictures: tuple[int, ...] | None = None


@dataclass(frozen=True)
class CameraPoses:
    """Where the camera of a window was, and how far that can be trusted.

    Attributes:
        kind (`str`): `still`, `turn_only` (rotations without a known translation), `up_to_scale`, or `metric`.
        camera_to_world (`np.ndarray` of shape `(T, 4, 4)`): OpenCV axes (x right, y down, z forward); NaN for frames
            without a pose. The unit is the metre for `metric`, else arbitrary.
        intrinsics (`np.ndarray` of shape `(3, 3)`): In pixels of the window's frames; lens distortion left out.
        scene_depth (`float`, *optional*): Median depth of the scene in the unit of the poses; `None` where unknown, as
            it always is for `still` and `turn_only`.
        errors (`dict[str, float]`): Residuals by name, with the unit in the name (`turn_pixels`).
        made_by (`dict[str, str]`): Tool to version.
        second_path (`np.ndarray` of shape `(T, 4, 4)`, *optional*): Another solution from the same frames, scaled
            to the same scene depth: facts hold only where both give them.
    """

    kind: PoseKind
    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    scene_depth: float | None = None
    errors: dict[str, float] = field(default_factory=dict)
    made_by: dict[str, str] = field(default_factory=dict)
    second_path: np.ndarray | None = None

    @property
    def registered(self) -> np.ndarray:
        """Whether each frame has a pose, shape `(T,)`."""
        return np.isfinite(self.camera_to_world).all(axis=(1, 2))


@dataclass(frozen=True)
class DepthMaps:
    """Depth of every frame of a window, in the unit of its poses.

    Attributes:
        maps (`np.ndarray` of shape `(T, h, w)`, float32): Distance along the view axis; NaN where unknown. The maps
            show all of the frame and may be smaller than it.
        metric (`bool`): Whether the unit is the metre.
        scale_error (`float`): Relative standard error of that unit as a whole: 0 for rendered or stereo depth, more
            for a unit that a network guessed. Questions in metres offer options that lie farther apart for it.
        made_by (`dict[str, str]`): Tool to version.
    """

    maps: np.ndarray
    metric: bool
    scale_error: float = 0.0
    made_by: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ObjectTrack:
    """One object over a window.

    Attributes:
        name (`str`): What questions call it, without an article (`moving object`).
        masks (`tuple[dict | None, ...]`): For each frame the mask as COCO run-length encoding (`size`, `counts` as
            ASCII text) at the size of the frame, or `None` where it is not seen.
        sure (`np.ndarray` of shape `(T,)`): Where the mask may be used for labels.
        made_by (`dict[str, str]`): Tool to version.
        errors (`dict[str, float]`): Noise and residuals by name: `static_size` is the change, as a logarithm, that the
            linear size of resting regions of the clip seems to undergo, `mask_size` the same of the object's own where
            its mask wins or loses parts; `background_share` and `background_pixels` say
            how well the background's motion was known.
        depths (`np.ndarray` of shape `(T,)`, *optional*): Median depth of what the mask shows, along the view axis in
            the unit of the poses; NaN where unknown. `None` where the clip has no depth.
    """

    name: str
    masks: tuple[dict | None, ...]
    sure: np.ndarray
    made_by: dict[str, str] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    depths: np.ndarray | None = None


@dataclass
class ClipRecord:
    """All that is known about one window; rows are made from it alone.

    Attributes:
        clip (`str`): Name that is safe in ids and file names.
        source (`str`): The video, relative to the source folder.
        licence (`str`, *optional*): Terms of the video.
        window ([`Window`]): Which part of it.
        size (`tuple[int, int]`): Width and height of the frames in pixels.
        camera ([`CameraPoses`], *optional*): `None` before the stage `poses`, or where it found none.
        objects (`list[ObjectTrack]`, *optional*): What moves; `None` before the stage `objects`.
        resting (`list[ObjectTrack]`, *optional*): Regions that stand still in the world, by which the camera's motion
            can be seen; `None` before the stage `objects`.
        facts (`dict`): Labels with their numbers, by the stage `facts`.
        depth ([`DepthMaps`], *optional*): Depth of the frames; `None` where none is known.
        made_by (`dict[str, str]`): Tool to version, of the window.
    """

    clip: str
    source: str
    licence: str | None
    window: Window
    size: tuple[int, int]
    camera: CameraPoses | None = None
    objects: list[ObjectTrack] | None = None
    resting: list[ObjectTrack] | None = None
    facts: dict = field(default_factory=dict)
    depth: DepthMaps | None = None
    made_by: dict[str, str] = field(default_factory=dict)

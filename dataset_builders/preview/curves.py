"""How camera and objects of a clip change over time, as curves to draw."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..clip_record import CameraPoses, ObjectTrack
from ..geometry.camera_motion import CAMERA_LABELS, METRIC_SCENE_DEPTH, camera_steps
from ..geometry.masks import decode_mask
from ..questions.camera_questions import name_motion

AXES = CAMERA_LABELS[::2]  # the positive directions of `camera_steps`
_TURNS = 3


class Curve(NamedTuple):
    """Values over seconds.

    Attributes:
        name (`str`): What rises when the values do.
        seconds (`list[float]`): Increasing.
        values (`list[float]`): As many; NaN where unknown.
    """

    name: str
    seconds: list[float]
    values: list[float]


def camera_curves(camera: CameraPoses, timestamps: tuple[float, ...]) -> list[Curve]:
    """How far the camera has gone along and around each of its axes since the first pose, in degrees.

    Frames without a pose are passed over. Where the move is unknown, only the turns are given.
    """
    known = np.flatnonzero(camera.registered)
    if len(known) < 2:
        return []
    steps = camera_steps(camera.camera_to_world[known], camera.scene_depth or METRIC_SCENE_DEPTH)
    ways = np.concatenate([np.zeros((1, len(AXES))), np.cumsum(steps, axis=0)])
    shown = len(AXES) if camera.kind in ("up_to_scale", "metric") else _TURNS
    seconds = [float(timestamps[index]) for index in known]
    return [Curve(AXES[axis], seconds, ways[:, axis].tolist()) for axis in range(shown)]


def object_curves(track: ObjectTrack, timestamps: tuple[float, ...]) -> list[Curve]:
    """Where an object is in the picture and how large, in percent of the picture's sides."""
    values = np.full((len(timestamps), 3), np.nan)
    for index, mask in enumerate(track.masks):
        if mask is None:
            continue
        pixels = decode_mask(mask)
        if pixels.any():
            rows, columns = np.nonzero(pixels)
            height, width = pixels.shape
            values[index] = (columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height, np.sqrt(pixels.mean())
    names = ("from the left", "from the top", "size (square root of area)")
    return [Curve(name, list(timestamps), (100 * values[:, i]).tolist()) for i, name in enumerate(names)]


def camera_path(camera: CameraPoses) -> np.ndarray:
    """Where the camera is in each frame with a pose, in the axes of the first of them, shape `(T, 3)`.

    In metres for `metric` poses, else in median depths of the scene.
    """
    poses = camera.camera_to_world[camera.registered]
    if not len(poses):
        return np.zeros((0, 3))
    unit = 1.0 if camera.kind == "metric" else camera.scene_depth or 1.0
    return (poses[:, :3, 3] - poses[0, :3, 3]) @ poses[0, :3, :3] / unit


def list_labels(facts: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """The labels among a record's facts, each with its first and last second."""
    camera = [(f"camera: {name_motion(fact['parts'])}", *fact["span"]) for fact in facts.get("camera", ())]
    objects = [
        (f"object {fact['object'] + 1}, {fact['kind'].replace('_', ' ')}: {fact['label']}", *fact["span"])
        for fact in facts.get("objects", ())
        if fact["label"] is not None
    ]
    return camera + objects

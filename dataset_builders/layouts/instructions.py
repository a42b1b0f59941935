"""Camera labels that come with a clip, compared with what its poses give; they are never used as labels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..clip_record import CameraPoses
from ..geometry.camera_facts import STAY
from ..geometry.camera_motion import camera_labels
from .imported_clip import ImportedClip


class Agreement(NamedTuple):
    """How many labelled spans lie in a window, and in how many the geometry gives the same labels."""

    spans: int
    same: int


def compare_instructions(imported: ImportedClip, camera: CameraPoses, seconds: Sequence[float]) -> Agreement:
    """Compare the labels of a clip with those of its poses, over all labelled spans inside a window.

    Args:
        imported ([`ImportedClip`]): With `instructions`.
        camera ([`CameraPoses`]): Of the window.
        seconds (`Sequence[float]`): Of the window's frames.

    Raises:
        ClipError: `damaged`.
    """
    times, depth = np.asarray(seconds), camera.scene_depth
    spans = same = 0
    for start, end, labels in imported.instructions():
        inside = np.flatnonzero((times >= start - 1e-3) & (times <= end + 1e-3) & camera.registered)
        if depth is None or start < times[0] - 1e-3 or end > times[-1] + 1e-3 or len(inside) < 2:
            continue
        found = camera_labels(camera.camera_to_world[inside], scene_depth=depth) or [STAY]
        spans += 1
        same += set(found) == set(labels)
    return Agreement(spans, same)

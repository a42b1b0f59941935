"""What is true in rendered scenes, and records of them with the noise of estimated depth, masks and poses."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from fourdthinker.dataset_builders.clip_record import ClipRecord, ObjectTrack
from fourdthinker.dataset_builders.geometry.masks import decode_mask, encode_mask
from fourdthinker.dataset_builders.geometry.spatial_view import SpatialView
from fourdthinker.dataset_builders.questions import dsr, mllm4d
from fourdthinker.dataset_builders.world import WorldClip
from fourdthinker.dataset_builders.world.facts import visible_points

# Thresholds without the band in which nothing is asked: half-way between a change and none.
_DECIDED = {
    dsr: {
        "_CHANGED": np.log(1.14),
        "_SAME": np.log(1.14),
        "_FASTER": np.log(1.36),
        "_AS_FAST": np.log(1.36),
        "_SHIFTED_DEGREES": 5.0,
        "_STEADY_DEGREES": 5.0,
        "_DOMINANT": 1.0,
    },
    mllm4d: {"MOVED_METRES": 0.0, "DOMINANT": 1.0, "STILL_METRES": 0.15, "STILL_SHARE": 0.075, "CLEAR": 1.0},
}


@contextmanager
def decided() -> Iterator[None]:
    """Every measurement gives a label, however close."""
    with ExitStack() as stack:
        for module, values in _DECIDED.items():
            for name, value in values.items():
                stack.enter_context(patch.object(module, name, value))
        yield


def is_true(clip: WorldClip, fact: Mapping[str, Any]) -> bool:
    """Whether an answer is that of the scene's own places and poses; a distance within half a step of options."""
    with decided():
        if fact["family"] == "dsr":
            return _true_steps(clip, fact) == tuple(fact["steps"])
        numbers = tuple(fact["frames"])
        index = fact["object"] or 0
        points = tuple(visible_points(clip, number, index) for number in numbers)
        if any(not len(found) for found in points):
            points = tuple(
                clip.centres[[number], index] for number in numbers
            )  # of the camera's kinds, which use none
        frames = mllm4d.pick_two_frames(
            clip.camera_to_world, clip.centres[:, index], points, clip.timestamps, numbers, mllm4d.CLEAR
        )
        truth = mllm4d.KINDS[fact["task"]].measure(frames)
    if isinstance(truth, str):
        return truth == fact["answer"]
    return abs(np.log(fact["answer"] / truth)) < np.log(mllm4d.STEPS[0]) / 2


def _true_steps(clip: WorldClip, fact: Mapping[str, Any]) -> tuple[str, ...] | None:
    frames = np.array([*fact["frames"], fact["until"]] if dsr.KINDS[fact["task"]].is_prediction else fact["frames"])
    places = {number: clip.centres[frames, number] for number in (fact["object"], fact["other"]) if number >= 0}
    view = SpatialView(frames, np.array(clip.timestamps)[frames], clip.camera_to_world[frames], places)
    return dsr.KINDS[fact["task"]].measure(view, fact["object"], fact["other"])


def add_noise(record: ClipRecord, rng: np.random.Generator, depth: float = 0.02, pose: float = 0.01) -> ClipRecord:
    """A record as estimation would give it.

    Depth is off by a factor for each frame, by another that changes slowly over the picture, and by one for each
    pixel, each with the standard deviation `depth`. Cameras are off by `pose` of the scene's depth and by a tenth of a
    degree. Masks grow or shrink by a pixel and lose ragged parts of their edge.

    Args:
        record ([`ClipRecord`]): An exact one.
        rng (`np.random.Generator`): Source of the noise.
        depth (`float`, *optional*, defaults to 0.02): Relative.
        pose (`float`, *optional*, defaults to 0.01): Relative.
    """
    assert record.camera is not None and record.depth is not None
    maps = record.depth.maps
    count, height, width = maps.shape
    slow = np.stack(
        [cv2.resize(rng.standard_normal((4, 4)), (width, height), interpolation=cv2.INTER_CUBIC) for _ in maps]
    )
    factors = rng.standard_normal((count, 1, 1)) + slow + rng.standard_normal(maps.shape)
    noisy = (maps * np.exp(depth * factors)).astype(np.float32)
    poses = record.camera.camera_to_world.copy()
    poses[:, :3, 3] += pose * float(record.camera.scene_depth or 1) * rng.standard_normal((count, 3)) / np.sqrt(3)
    poses[:, :3, :3] = (
        poses[:, :3, :3] @ Rotation.from_rotvec(np.radians(0.1) * rng.standard_normal((count, 3))).as_matrix()
    )
    tracks = {id(track): _roughen(track, rng) for track in record.objects or ()}
    return replace(
        record,
        camera=replace(record.camera, camera_to_world=poses),
        depth=replace(record.depth, maps=noisy),
        objects=[tracks[id(track)] for track in record.objects or ()],
        resting=[tracks[id(track)] for track in record.resting or ()],
    )


def _roughen(track: ObjectTrack, rng: np.random.Generator) -> ObjectTrack:
    masks = []
    for encoded in track.masks:
        if encoded is None:
            masks.append(None)
            continue
        mask = decode_mask(encoded).astype(np.uint8)
        change = cv2.dilate if rng.random() < 0.5 else cv2.erode
        changed = change(mask, np.ones((3, 3), np.uint8)) > 0
        ragged = np.where(rng.random(mask.shape) < 0.5, changed, mask > 0)
        masks.append(encode_mask(ragged) if ragged.any() else encoded)
    return replace(track, masks=tuple(masks))

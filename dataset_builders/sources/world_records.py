"""Exact records of rendered clips: what a build from videos would know if nothing had to be estimated."""

import numpy as np

from ..clip_record import CameraPoses, ClipRecord, DepthMaps, ObjectTrack, Window
from ..geometry.masks import encode_mask
from ..world import WorldClip
from ..world.facts import SEEN_PIXELS_SHARE
from ..world.scene import WORLD_SOURCE

_MADE_BY = {"world": "exact"}
_REST_METRES = 1e-6


def world_record(clip: WorldClip, name: str) -> ClipRecord:
    """The record of a rendered clip, with its exact poses, masks and depth.

    Args:
        clip ([`WorldClip`]): With all of its frames.
        name (`str`): Of the clip, in ids.
    """
    height, width = clip.depth.shape[1:]
    tracks = [_track(clip, index) for index in range(len(clip.names))]
    at_rest = np.abs(clip.centres - clip.centres[:1]).max(axis=(0, 2)) < _REST_METRES
    depth = np.where(np.isfinite(clip.depth), clip.depth, np.nan).astype(np.float32)
    times = tuple(float(second) for second in clip.timestamps)
    camera = CameraPoses(
        "metric", clip.camera_to_world, clip.intrinsics, float(np.nanmedian(depth)), made_by=dict(_MADE_BY)
    )
    return ClipRecord(
        clip=name,
        source=WORLD_SOURCE,
        licence="apache-2.0",
        window=Window(0, times[0], times[-1], times),
        size=(width, height),
        camera=camera,
        objects=tracks,
        resting=[track for track, rests in zip(tracks, at_rest, strict=True) if rests],
        depth=DepthMaps(depth, metric=True, made_by=dict(_MADE_BY)),
    )


def _track(clip: WorldClip, index: int) -> ObjectTrack:
    shown = clip.masks == index
    seen = shown.mean(axis=(1, 2)) >= SEEN_PIXELS_SHARE
    masks = tuple(encode_mask(mask) if is_seen else None for mask, is_seen in zip(shown, seen, strict=True))
    return ObjectTrack(clip.names[index], masks, seen, dict(_MADE_BY))

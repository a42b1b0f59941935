"""Parts of a clip's record from a layout: its camera, checked against the pixels, its objects and their depth."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..clip_error import ClipError
from ..clip_record import CameraPoses, ObjectTrack
from ..geometry.masks import pixels_to_avoid
from ..geometry.object_tracks import NAME
from ..geometry.sift_matches import match_frames
from .depth_check import check_depths
from .depth_maps import object_depths, scene_depth
from .imported_clip import ImportedClip
from .pose_check import check_poses
from .words import plain_name

if TYPE_CHECKING:
    from ...modeling.clip import Clip

_MATCHED_FRAMES = 8
_SHOWN_METRES, _SHOWN_SHARE = 0.25, 0.02  # of a camera's way that pictures must show: in metres, and of the depth


def import_camera(imported: ImportedClip, clip: "Clip") -> CameraPoses:
    """The poses of a window from a layout's files, refused where the pixels disagree with them.

    Args:
        imported ([`ImportedClip`]): Where they come from.
        clip ([`Clip`]): All frames of the window.

    Raises:
        ClipError: `damaged`, `poses_disagree`, `no_texture`, or `too_short` where the window has no poses.
    """
    seconds, size = clip.timestamps, clip.frames[0].size
    trajectory, lens = imported.trajectory(), imported.lens(seconds[0], seconds[-1])
    poses = trajectory.at(seconds)
    known = np.isfinite(poses).all(axis=(1, 2))
    if known.sum() < 2:
        raise ClipError(
            "too_short",
            f"{int(known.sum())} of {len(known)} frames have a pose",
            "give poses for the clip, or take their file out of --source to have them estimated",
        )
    chosen = np.flatnonzero(known)
    numbers = chosen[np.unique(np.linspace(0, len(chosen) - 1, _MATCHED_FRAMES).round().astype(int))].tolist()
    masks = _movers(imported, seconds, size)
    matches = match_frames(clip.frames, numbers, masks)
    step = float(np.median(np.diff(imported.frame_seconds())))
    maps = list(imported.depths(seconds))
    depth = scene_depth(maps)
    shows = _SHOWN_METRES if imported.kind == "metric" else None
    check = check_poses(matches, seconds, trajectory, lens, step, shows if depth is None else _SHOWN_SHARE * depth)
    ratio = check_depths(matches, poses, check.lens, dict(enumerate(maps)))
    errors = {"import_pixels": check.pixels, "import_behind": check.behind}
    if ratio is not None:
        errors["import_depth_ratio"] = ratio
    return CameraPoses(
        imported.kind,
        poses,
        check.lens.matrix(size),
        check.depth if depth is None else depth,
        {name: round(value, 3) for name, value in errors.items()},
        imported.made_by,
    )


def _movers(imported: ImportedClip, seconds: Sequence[float], size: tuple[int, int]) -> list[np.ndarray | None] | None:
    """Where the layout's masks lie in each frame, which matches had better avoid."""
    try:
        tracks = imported.objects(seconds, size)
    except ClipError:  # the stage of objects says so
        return None
    return pixels_to_avoid(tracks or (), len(seconds))


def import_objects(imported: ImportedClip, clip: "Clip") -> list[ObjectTrack] | None:
    """The objects of a layout's masks in a window; `None` where it has no masks.

    A name that is more than plain words becomes the `object` with its number, so that no phrase of a file can pass for
    markup or for the end of a prompt. What has no name at all stays the moving object.

    Raises:
        ClipError: `damaged`.
    """
    tracks = imported.objects(clip.timestamps, clip.frames[0].size)
    if tracks is None:
        return None
    return [
        track if track.name == NAME else replace(track, name=plain_name(track.name) or f"object {number}")
        for number, track in enumerate(tracks, start=1)
        if any(mask is not None for mask in track.masks)
    ]


def import_depths(imported: ImportedClip, clip: "Clip", tracks: Sequence[ObjectTrack]) -> list[ObjectTrack]:
    """The same objects with their depth in each frame, where the layout knows any."""
    maps = list(imported.depths(clip.timestamps))
    if all(depths is None for depths in maps):
        return list(tracks)
    found = [(track, object_depths(track.masks, maps)) for track in tracks]
    return [replace(track, depths=depths) if np.isfinite(depths).any() else track for track, depths in found]

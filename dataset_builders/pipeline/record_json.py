"""Clip records as JSON values and back, exactly."""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..clip_record import CameraPoses, ClipRecord, DepthMaps, ObjectTrack, Window
from .settings import WINDOW_STAGES
from .stage_files import StageFiles, StageResult

_PATHS = ("camera_to_world", "second_path")  # of shape `(T, 4, 4)`


def window_to_json(window: Window) -> dict[str, Any]:
    """A window as a JSON object."""
    value = {**asdict(window), "timestamps": list(window.timestamps)}
    pictures = value.pop("pictures")
    return value if pictures is None else {**value, "pictures": list(pictures)}


def window_from_json(value: Mapping) -> Window:
    """The window that [`window_to_json`] wrote."""
    pictures = value.get("pictures")
    return Window(
        **{
            **value,
            "timestamps": tuple(value["timestamps"]),
            "pictures": None if pictures is None else tuple(pictures),
        }
    )


def camera_to_json(camera: CameraPoses | None) -> dict[str, Any] | None:
    """Camera poses as a JSON object; frames without a pose are `null`."""
    if camera is None:
        return None
    paths = {name: _path_to_json(getattr(camera, name)) for name in _PATHS}
    return {**vars(camera), **paths, "intrinsics": np.asarray(camera.intrinsics).tolist()}


def camera_from_json(value: Mapping | None) -> CameraPoses | None:
    """The poses that [`camera_to_json`] wrote."""
    if value is None:
        return None
    paths = {name: _path_from_json(value[name]) for name in _PATHS}
    return CameraPoses(**{**value, **paths, "intrinsics": np.array(value["intrinsics"], dtype=float)})


def scale_camera(camera: CameraPoses | None, metres: float | None) -> CameraPoses | None:
    """Poses up to scale as metric ones.

    Args:
        camera ([`CameraPoses`], *optional*): Poses.
        metres (`float`, *optional*): Metres in one unit of the poses; without it they stay as they are.
    """
    if camera is None or metres is None:
        return camera
    unit = np.ones((4, 4))
    unit[:3, 3] = metres  # rotations stay
    second = None if camera.second_path is None else camera.second_path * unit
    depth = None if camera.scene_depth is None else camera.scene_depth * metres
    return replace(
        camera, kind="metric", camera_to_world=camera.camera_to_world * unit, scene_depth=depth, second_path=second
    )


def _path_to_json(poses: np.ndarray | None) -> list | None:
    return None if poses is None else [pose.tolist() if np.isfinite(pose).all() else None for pose in poses]


def _path_from_json(value: list | None) -> np.ndarray | None:
    unknown = np.full((4, 4), np.nan)
    if value is None:
        return None
    return np.stack([unknown if pose is None else np.array(pose, dtype=float) for pose in value])


def depth_to_json(depth: DepthMaps | None) -> dict[str, Any] | None:
    """Depth as a JSON object: half floats, compressed, as text; they keep three digits at any distance."""
    if depth is None:
        return None
    halves = np.asarray(depth.maps, dtype="<f2")
    text = base64.b64encode(zlib.compress(halves.tobytes(), 6)).decode("ascii")
    return {**vars(depth), "maps": text, "shape": list(halves.shape)}


def depth_from_json(value: Mapping | None) -> DepthMaps | None:
    """The depth that [`depth_to_json`] wrote."""
    if value is None:
        return None
    fields = dict(value)
    halves = np.frombuffer(zlib.decompress(base64.b64decode(fields["maps"])), "<f2").reshape(fields.pop("shape"))
    return DepthMaps(**{**fields, "maps": halves.astype(np.float32)})


def track_to_json(track: ObjectTrack) -> dict[str, Any]:
    """An object's track as a JSON object."""
    value = {**vars(track), "masks": list(track.masks), "sure": np.asarray(track.sure, dtype=bool).tolist()}
    depths = value.pop("depths")
    if depths is None:
        return value
    return {**value, "depths": [float(depth) if np.isfinite(depth) else None for depth in depths]}


def track_from_json(value: Mapping) -> ObjectTrack:
    """The track that [`track_to_json`] wrote."""
    depths = value.get("depths")
    return ObjectTrack(
        **{
            **value,
            "masks": tuple(value["masks"]),
            "sure": np.array(value["sure"], dtype=bool),
            "depths": None if depths is None else np.array(depths, dtype=float),
        }
    )


def build_record(
    clip: str, source: str, licence: str | None, window: Window, stages: Mapping[str, StageResult]
) -> ClipRecord:
    """The record of one window from what its stages have made so far.

    Args:
        clip (`str`): The window's name.
        source (`str`): The video, relative to the source folder.
        licence (`str`, *optional*): Terms of the video.
        window ([`Window`]): Which part of it.
        stages (`Mapping[str, StageResult]`): Results by stage.
    """
    values = {stage: result.value or {} for stage, result in stages.items()}
    poses, objects = values.get("poses", {}), values.get("objects", {})
    movers, resting = objects.get("objects"), objects.get("resting")
    depth = values.get("depth", {})
    return ClipRecord(
        clip=clip,
        source=source,
        licence=licence,
        window=window,
        size=tuple(objects.get("size") or poses.get("size") or (0, 0)),
        camera=scale_camera(camera_from_json(poses.get("camera")), depth.get("metres")),
        objects=None if movers is None else [track_from_json(track) for track in movers],
        resting=None if resting is None else [track_from_json(track) for track in resting],
        facts=values.get("facts", {}).get("facts", {}),
        depth=depth_from_json(depth.get("depth")),
    )


def read_record(clip: str, shots: Mapping, window: Window, stages: Mapping[str, StageResult]) -> ClipRecord:
    """The record of one window of a build.

    Args:
        clip (`str`): The window's name.
        shots (`Mapping`): Value of the video's stage `shots`.
        window ([`Window`]): Which part of the video.
        stages (`Mapping[str, StageResult]`): Results by stage.
    """
    record = build_record(clip, shots["source"], shots["licence"], window, stages)
    return replace(record, made_by=shots.get("made_by", {}))


def load_records(output: Path) -> list[ClipRecord]:
    """All records of a build, in the order of their names.

    Args:
        output (`Path`): The folder that `--output` named.
    """
    files = StageFiles(Path(output))
    records = []
    for path in sorted(files.folder.glob("*/shots.json")):
        video = path.parent.name
        shots = files.read(video, "shots")
        for number, value in enumerate((shots and shots.value or {}).get("windows", [])):
            clip = window_name(video, number)
            found = {stage: files.read(clip_folder(video, number), stage) for stage in WINDOW_STAGES}
            stages = {stage: result for stage, result in found.items() if result is not None}
            records.append(read_record(clip, shots.value, window_from_json(value), stages))
    return records


def window_name(video: str, number: int) -> str:
    """Name of a window of a video, safe in ids."""
    return f"{video}-{number:03d}"


def clip_folder(video: str, number: int) -> str:
    """Where a window's files lie below `.stages`."""
    return f"{video}/{number:03d}"

"""Where the moving objects of a window come from (`--objects`)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...modeling.errors import InputError
from ..clip_error import ClipError
from ..clip_record import CameraPoses, ObjectTrack, Window
from ..geometry.masks import pixels_to_avoid
from ..mask_models.checkpoints import KINDS
from ..sources.mask_files import NAMES_FILE, mask_folder, read_mask_files
from ..sources.video_files import folder_state
from .settings import BuildSettings

if TYPE_CHECKING:
    from ...modeling.clip import Clip
    from ..layouts.imported_clip import ImportedClip


def describe_masks(settings: BuildSettings, path: Path, source: str) -> dict[str, Any]:
    """What the objects of a video depend on beside the video, as JSON values.

    Args:
        settings ([`BuildSettings`]): What a user set.
        path (`Path`): The video.
        source (`str`): Its path under the source folder.
    """
    if settings.objects == "files":
        return {"masks": folder_state(mask_folder(path))}
    if settings.mask_model is None:
        return {}
    kind = KINDS[settings.mask_model.kind]
    return {"model": settings.mask_model.digest, "names": list(settings.names_of(source)) if kind.finds_names else []}


def describe_known_masks(settings: BuildSettings, path: Path) -> dict[str, Any]:
    """What the poses of a video depend on beside the video, as JSON values: mask files, if any, without `names.txt`.

    Args:
        settings ([`BuildSettings`]): What a user set.
        path (`Path`): The video.
    """
    folder = mask_folder(path)
    if settings.objects != "files" or not folder.is_dir():
        return {}
    return {"masks": [state for state in folder_state(folder) if state[0] != NAMES_FILE]}


def load_models(stage: str, settings: BuildSettings) -> bool:
    """Load the model of a stage into this process, unless it is there already; say whether the stage has one."""
    if stage == "objects" and settings.mask_model is not None:
        from ..mask_models.sessions import load_mask_model

        load_mask_model(settings.mask_model)
        return True
    if stage == "depth" and settings.depth is not None:
        from ..geometry.depth_model import load_depth_model

        load_depth_model(settings.depth)
        return True
    return False


@dataclass(frozen=True)
class Footage:
    """A window of a video.

    Attributes:
        path (`Path`): The video.
        source (`str`): Its path under the source folder.
        window ([`Window`]): Which part of it.
        clip ([`Clip`]): The frames of the window.
        imported ([`ImportedClip`], *optional*): What came along with the video.
    """

    path: Path
    source: str
    window: Window
    clip: "Clip"
    imported: "ImportedClip | None" = None

    @cached_property
    def file_masks(self) -> list[ObjectTrack]:
        """The objects of the mask files beside the video, read once for poses and objects; none without a folder.

        Raises:
            ClipError: As [`read_mask_files`] does.
        """
        folder = mask_folder(self.path)
        if not folder.is_dir():
            return []
        return read_mask_files(folder, _frame_numbers(self), self.clip.frames[0].size)


def find_known_masks(settings: BuildSettings, footage: Footage) -> list[np.ndarray | None] | None:
    """Where objects are in each frame of a window, as far as that is known before any pose: from mask files.

    Args:
        settings ([`BuildSettings`]): Says where objects come from.
        footage ([`Footage`]): The window.

    Returns:
        `list[np.ndarray | None]`: Boolean arrays `(height, width)`, true on objects, which poses are not found from;
        `None` where nothing is known.
    """
    if settings.objects != "files":
        return None
    try:
        tracks = footage.file_masks
    except ClipError:  # the stage of objects says so
        return None
    return pixels_to_avoid(tracks, len(footage.clip.frames))


def find_movers(settings: BuildSettings, footage: Footage, camera: CameraPoses | None) -> list[ObjectTrack]:
    """The moving objects of a window: those that came along with the video, if any, else those of the settings.

    Args:
        settings ([`BuildSettings`]): Says where they come from.
        footage ([`Footage`]): The window.
        camera ([`CameraPoses`], *optional*): Where the camera was.

    Raises:
        ClipError: If they cannot be told.
    """
    imported = footage.imported
    if imported is None or settings.objects == "none":
        return _find_movers(settings, footage, camera)
    from ..layouts.records import import_depths, import_objects

    with as_clip_errors():
        movers = import_objects(imported, footage.clip)
        if movers is None:
            movers = _find_movers(settings, footage, camera)
        return import_depths(imported, footage.clip, movers) if movers and camera is not None else movers


def _find_movers(settings: BuildSettings, footage: Footage, camera: CameraPoses | None) -> list[ObjectTrack]:
    if settings.objects == "files":
        return footage.file_masks
    if settings.objects == "none":
        return []
    checkpoint = settings.mask_model
    if checkpoint is not None and KINDS[checkpoint.kind].finds_names:
        from ..mask_models.objects import find_named_objects

        return find_named_objects(checkpoint, *_read_dense(footage), settings.names_of(footage.source))
    from ..geometry.object_tracks import find_objects

    tracks = find_objects(footage.clip, camera)
    if checkpoint is None or not tracks:
        return tracks
    from ..mask_models.objects import refine_objects

    return refine_objects(checkpoint, *_read_dense(footage), tracks)


def _read_dense(footage: Footage) -> "tuple[Clip, list[int]]":
    if footage.window.pictures is not None:  # a folder of pictures, whose window has all that there are
        return footage.clip, list(range(len(footage.clip.frames)))
    from ..sources.windows import read_dense

    with as_clip_errors():
        return read_dense(footage.path, footage.window)


def _frame_numbers(footage: Footage) -> Sequence[int]:
    """Which frames of the video those of the window are."""
    if footage.window.pictures is not None:
        return footage.window.pictures
    from ..sources.picture_sequence import frame_seconds

    with as_clip_errors():
        seconds = frame_seconds(footage.path)
    return [int(abs(seconds - moment).argmin()) for moment in footage.window.timestamps]


@contextmanager
def as_clip_errors() -> Iterator[None]:
    """Turn what reading a video raises into a [`ClipError`]."""
    from ...modeling.video_file import COPY_AGAIN, VideoError

    try:
        yield
    except ClipError:
        raise
    except VideoError as error:
        raise ClipError(error.code, error.reason, error.remedy) from error
    except InputError as error:  # frames that are no longer where they were
        raise ClipError("damaged", str(error), COPY_AGAIN) from error

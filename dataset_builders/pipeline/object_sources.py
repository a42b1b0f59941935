"""Where the moving objects of a window come from (`--objects`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...modeling.errors import InputError
from ..clip_error import ClipError
from ..clip_record import CameraPoses, ObjectTrack, Window
from ..mask_models.checkpoints import KINDS, Checkpoint
from ..sources.mask_files import mask_folder, read_mask_files
from ..sources.video_files import folder_state
from .settings import BuildSettings

if TYPE_CHECKING:
    from ...modeling.clip import Clip


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


def load_model(checkpoint: Checkpoint) -> None:
    """Load a mask model into this process, unless it is there already."""
    from ..mask_models.sessions import load_mask_model

    load_mask_model(checkpoint)


def find_movers(
    settings: BuildSettings, path: Path, source: str, window: Window, clip: "Clip", camera: CameraPoses | None
) -> list[ObjectTrack]:
    """The moving objects of a window.

    Args:
        settings ([`BuildSettings`]): Says where they come from.
        path (`Path`): The video.
        source (`str`): Its path under the source folder.
        window ([`Window`]): Which part of it.
        clip ([`Clip`]): The frames of the window.
        camera ([`CameraPoses`], *optional*): Where the camera was.

    Raises:
        ClipError: If they cannot be told.
    """
    if settings.objects == "files":
        return _read_masks(path, window, clip.frames[0].size)
    if settings.objects == "none":
        return []
    checkpoint = settings.mask_model
    if checkpoint is not None and KINDS[checkpoint.kind].finds_names:
        from ..mask_models.objects import find_named_objects

        return find_named_objects(checkpoint, *_read_dense(path, window), settings.names_of(source))
    from ..geometry.object_tracks import find_objects

    tracks = find_objects(clip, camera)
    if checkpoint is None or not tracks:
        return tracks
    from ..mask_models.objects import refine_objects

    return refine_objects(checkpoint, *_read_dense(path, window), tracks)


def _read_dense(path: Path, window: Window) -> "tuple[Clip, list[int]]":
    from ..sources.windows import read_dense

    with as_clip_errors():
        return read_dense(path, window)


def _read_masks(path: Path, window: Window, size: tuple[int, int]) -> list[ObjectTrack]:
    from ...modeling.video_timeline import read_timeline
    from ..mask_models.masklets import steady_track

    folder = mask_folder(path)
    if not folder.is_dir():
        return []
    with as_clip_errors():
        timeline = read_timeline(path)
    seconds = [(moment - timeline.origin) * timeline.tick for moment in timeline.moments]
    numbers = [min(range(len(seconds)), key=lambda index: abs(seconds[index] - now)) for now in window.timestamps]
    return [steady_track(track) for track in read_mask_files(folder, numbers, size)]


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

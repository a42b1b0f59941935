"""Which clips of a source folder come with poses, and in which layout."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...modeling.errors import InputError
from ..pipeline.settings import FORMATS
from ..sources.picture_sequence import is_sequence
from . import colmap, megasam, spatialvid, stereo4d, vipe
from .files import is_inside
from .imported_clip import ImportedClip
from .licences import find_licence
from .trajectory_files import trajectory_clips

AUTO = FORMATS[0]


@dataclass(frozen=True)
class Layout:
    """One layout of `--format`.

    Attributes:
        clip (`type[ImportedClip]`): What reads a clip.
        find (`Callable`): The frames of all clips of a folder; nothing where it is no such folder.
        needs (`str`): What a folder must hold, for errors.
    """

    clip: type[ImportedClip]
    find: Callable[[Path], list[Path]]
    needs: str


LAYOUTS = {
    "spatialvid": Layout(spatialvid.SpatialVidClip, spatialvid.find, "videos/ and annotations/GROUP/ID/poses.npy"),
    "vipe": Layout(vipe.VipeClip, vipe.find, "rgb/ and pose/NAME.npz"),
    "megasam": Layout(megasam.MegaSamClip, megasam.find, f"files *{megasam.ENDING}"),
    "stereo4d": Layout(stereo4d.Stereo4dClip, stereo4d.find, f"npz/ and NAME{stereo4d.ENDING}"),
    "colmap": Layout(colmap.ColmapClip, colmap.find, "images/ and sparse/0/cameras.bin, images.bin, points3D.bin"),
}


def find_imported(source: Path, layout: str = AUTO, fps: float | None = None) -> list[ImportedClip]:
    """The clips of a source folder that lie in a known layout, in the order of their frames' paths.

    Annotations without their video are left out: few users have all parts of a large set.

    Args:
        source (`Path`): A folder, searched to any depth, or one file.
        layout (`str`, *optional*, defaults to `"auto"`): One of `FORMATS`; `auto` takes any.
        fps (`float`, *optional*): Pictures a second, for layouts without times.

    Raises:
        InputError: If there is no clip of the layout asked for, or one needs `fps`.
    """
    kinds = LAYOUTS if layout == AUTO else {layout: LAYOUTS[layout]}
    found, missing = list[ImportedClip](), 0
    for root, below in _folders(source):
        videos = [(kind, video) for kind in kinds.values() for video in kind.find(root)]
        for kind, video in videos:
            if source.is_file() and video != source:
                continue
            if not video.exists():
                missing += 1
            elif is_inside(video, root):
                found.append(kind.clip(video, root, find_licence(root, kind.clip.layout), fps))
        if videos:
            below.clear()
    if not found and layout != AUTO:
        without = f" ({missing} without their video)" if missing else ""
        raise InputError(f"{source} holds no clip in the layout of {layout}{without}: it needs {kinds[layout].needs}")
    pictures = next((clip for clip in found if is_sequence(clip.video)), None)
    if pictures is not None and fps is None:
        raise InputError(f"{pictures.video} says nothing of time: give its pictures a second with --fps")
    return sorted(found, key=lambda clip: clip.video)


def trajectory_clip(video: Path) -> ImportedClip | None:
    """The clip of a video that has a trajectory beside it.

    Raises:
        InputError: If it has several.
    """
    kinds = list(trajectory_clips(video))
    if len(kinds) > 1:
        endings = " and ".join(kind.ending for kind in kinds)
        raise InputError(f"{video} has trajectories of several kinds ({endings}): keep one")
    return kinds[0](video, video.parent) if kinds else None


def _folders(source: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and all below it, links left out, each with the names of those below that are still to be searched.

    Of a file its own folder and those above that may be its layout's.
    """
    if source.is_file():
        yield from ((folder, []) for folder in list(source.parents)[:3])
        return
    for folder, below, _ in os.walk(source):
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield Path(folder), below

"""Objects from instance masks beside a clip (`--objects files`): `clip.masks/00000.png` for the first frame."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from ...modeling.video_file import MAX_FRAME_PIXELS
from ..clip_error import ClipError
from ..clip_record import ObjectTrack
from ..geometry.masks import encode_mask

NAMES_FILE = "names.txt"
_MAX_AREA_RATIO = 4.0  # between neighbouring frames in which an object's masks do not overlap
_NAME_LINE = re.compile(r"\s*(\d{1,9})\s*:\s*(.+?)\s*$")


def mask_folder(video: Path) -> Path:
    """Where the masks of a video are looked for: `clip.masks` beside `clip.mp4`."""
    return video.with_suffix(".masks")


def read_mask_files(
    folder: Path, frame_numbers: Sequence[int], size: tuple[int, int], names: Sequence[str] = ()
) -> list[ObjectTrack]:
    """Read the instance masks of the frames of a window.

    A mask is a PNG with one channel or a palette whose values number the objects, 0 being the background; a frame
    without a file shows no object. Names come from the file `names.txt` in the folder (lines `1: black dog`, as ViPE
    writes them), else from `names` in the order of the numbers, else they are `object 1` and so on.

    Args:
        folder (`Path`): Holds `%05d.png`, numbered as the frames of the video from 0.
        frame_numbers (`Sequence[int]`): Those of the window's frames.
        size (`tuple[int, int]`): Width and height of the window's frames; masks are scaled to it.
        names (`Sequence[str]`, *optional*): What to call the objects.

    Returns:
        `list[ObjectTrack]`: One an object, by number; sure wherever it shows, but where its number seems to go over to
            another object, whose mask has another place and another size.

    Raises:
        ClipError: If no frame of the window has a mask, or a file is damaged, of another shape, or no number mask
            (`damaged`).
    """
    pictures = [_read_mask(folder / f"{number:05d}.png", size) for number in frame_numbers]
    if all(picture is None for picture in pictures):
        raise _fault(f"{folder.name} has no mask for frames {min(frame_numbers)} to {max(frame_numbers)}")
    numbers = sorted(set().union(*(np.unique(picture).tolist() for picture in pictures if picture is not None)) - {0})
    called = dict(zip(numbers, names, strict=False)) | _read_names(folder / NAMES_FILE)
    tracks = []
    for number in numbers:
        shown = [None if picture is None or number not in picture else picture == number for picture in pictures]
        masks = tuple(None if mask is None else encode_mask(mask) for mask in shown)
        name = called.get(number, f"object {number}")
        tracks.append(ObjectTrack(name, masks, _sure_frames(shown), {"masks": folder.name}))
    return tracks


def _sure_frames(masks: Sequence[np.ndarray | None]) -> np.ndarray:
    """Where an object shows, less the first frame after each jump to another one, so that no stretch goes across."""
    sure = np.array([mask is not None for mask in masks])
    for frame, (before, mask) in enumerate(pairwise(masks), start=1):
        if before is not None and mask is not None and not (before & mask).any():
            areas = sorted((before.sum(), mask.sum()))
            sure[frame] = areas[1] < _MAX_AREA_RATIO * areas[0]
    return sure


def _read_mask(path: Path, size: tuple[int, int]) -> np.ndarray | None:
    if not path.is_file():
        return None
    try:
        with Image.open(path, formats=("PNG",)) as opened:
            if opened.width * opened.height > MAX_FRAME_PIXELS:
                raise Image.DecompressionBombError
            opened.load()
            picture = opened.copy()
    except Image.DecompressionBombError as error:
        raise _fault(f"{path.name} has more pixels than an 8K frame") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged PNG files
        raise _fault(f"{path.name} cannot be read as a PNG") from error
    if picture.mode not in ("1", "L", "P", "I", "I;16"):
        raise _fault(f"{path.name} has colours ({picture.mode}) where one number a pixel is needed")
    if abs(picture.width * size[1] - picture.height * size[0]) > max(*picture.size, *size):
        raise _fault(f"{path.name} is {picture.width}x{picture.height}, the frames are {size[0]}x{size[1]}")
    return np.asarray(picture.resize(size, Image.Resampling.NEAREST)).astype(np.int64)


def _read_names(path: Path) -> dict[int, str]:
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {int(found[1]): found[2] for line in lines if (found := _NAME_LINE.match(line))}


def _fault(reason: str) -> ClipError:
    return ClipError("damaged", reason, "write one PNG a frame with object numbers, 00000.png for the first frame")

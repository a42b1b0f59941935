"""Objects from instance masks beside a clip (`--objects files`): `clip.masks/00000.png` for the first frame."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...modeling.video_file import MAX_FRAME_PIXELS
from ..clip_error import ClipError
from ..clip_record import ObjectTrack
from ..geometry.masks import encode_mask

NAMES_FILE = "names.txt"
_JUMP_AREA = 4.0  # times the area of the mask before, which it does not meet
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
            (`damaged`); or if `names.txt` has lines and none of this form.
    """
    pictures = [_read_mask(folder / f"{number:05d}.png", size) for number in frame_numbers]
    if all(picture is None for picture in pictures):
        raise _fault(f"{folder.name} has no mask for frames {min(frame_numbers)} to {max(frame_numbers)}")
    return number_tracks(folder, pictures, size, _read_names(folder / NAMES_FILE), {"masks": folder.name}, names)


def number_tracks(
    source: Path,
    pictures: Sequence[np.ndarray | None],
    size: tuple[int, int],
    called: Mapping[int, str],
    made_by: dict[str, str],
    names: Sequence[str] = (),
) -> list[ObjectTrack]:
    """Tracks from pictures whose values number the objects, 0 being the background.

    Where a mask jumps (it does not meet the one before, and its area is another by far), the number has gone to
    another thing: the track is not sure there, so that no label spans the jump.

    Args:
        source (`Path`): Where the pictures come from, for errors.
        pictures (`Sequence[np.ndarray | None]`): One a frame, `(h, w)`; `None` for a frame without.
        size (`tuple[int, int]`): Width and height of the frames; pictures are scaled to it.
        called (`Mapping[int, str]`): Names by number.
        made_by (`dict[str, str]`): Tool to version.
        names (`Sequence[str]`, *optional*): Names in the order of the numbers, for those that have none.

    Raises:
        ClipError: If a picture has another shape than the frames (`damaged`).
    """
    scaled = [None if picture is None else _scale_mask(source, picture, size) for picture in pictures]
    numbers = sorted(set().union(*(np.unique(picture).tolist() for picture in scaled if picture is not None)) - {0})
    in_order = dict(zip(numbers, names, strict=False))
    tracks = []
    for number in numbers:
        masks = [None if p is None or not (p == number).any() else p == number for p in scaled]
        name = called.get(number) or in_order.get(number) or f"object {number}"
        encoded = tuple(None if mask is None else encode_mask(mask) for mask in masks)
        tracks.append(ObjectTrack(name, encoded, _sure(masks), made_by))
    return tracks


def _sure(masks: Sequence[np.ndarray | None]) -> np.ndarray:
    """Where something is shown, but not where the mask has jumped to another thing."""
    sure = np.array([mask is not None for mask in masks])
    for index in range(1, len(masks)):
        before, mask = masks[index - 1], masks[index]
        if before is None or mask is None or (before & mask).any():
            continue
        ratio = mask.sum() / before.sum()
        sure[index] = 1 / _JUMP_AREA < ratio < _JUMP_AREA
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
    return _scale_mask(path, np.asarray(picture).astype(np.int64), size)


def _scale_mask(source: Path, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = picture.shape
    if abs(width * size[1] - height * size[0]) > max(width, height, *size):
        raise _fault(f"{source.name} is {width}x{height}, the frames are {size[0]}x{size[1]}")
    rows, columns = (_nearest(side, wanted) for side, wanted in zip((height, width), size[::-1], strict=True))
    return picture[rows[:, None], columns]


def _nearest(side: int, wanted: int) -> np.ndarray:
    """For each pixel of a scaled side the nearest one of the stored side."""
    return np.minimum(((np.arange(wanted) + 0.5) * side / wanted).astype(int), side - 1)


def _read_names(path: Path) -> dict[int, str]:
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    names = {int(found[1]): found[2] for line in lines if (found := _NAME_LINE.match(line))}
    if not names and any(map(str.strip, lines)):
        raise ClipError("damaged", f"{path.name} names no object", "write lines such as 1: brown dog, or leave it out")
    return names


def _fault(reason: str) -> ClipError:
    return ClipError("damaged", reason, "write one PNG a frame with object numbers, 00000.png for the first frame")

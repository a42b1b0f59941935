"""The pictures of a preview: frames as small JPEG files, with the outlines of what the record knows."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..clip_record import ClipRecord, ObjectTrack
from ..geometry.masks import decode_mask

MOVER, RESTING = (255, 190, 0), (0, 220, 220)  # RGB of the outlines; red is the imagery's
_SIDE = 360  # pixels of a picture's longer side: sharp on a phone, small on the disk
_QUALITY = 85


def open_picture(stored: dict[str, Any]) -> Image.Image:
    """A picture of a row, as RGB."""
    return Image.open(io.BytesIO(stored["bytes"])).convert("RGB")


def draw_tracks(picture: Image.Image, record: ClipRecord, second: float) -> Image.Image:
    """Outline what moves and what rests in the frame of a record that lies nearest to a time."""
    frame = int(np.abs(np.array(record.window.timestamps) - second).argmin())
    pixels = np.array(_shrink(picture))
    for tracks, colour in ((record.resting, RESTING), (record.objects, MOVER)):
        for mask in _masks(tracks or (), frame):
            seen = cv2.resize(mask.astype(np.uint8), pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
            outlines, _ = cv2.findContours(seen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(pixels, outlines, -1, colour, 2)
    return Image.fromarray(pixels)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture as JPEG, shrunk to what a page shows."""
    _shrink(picture).save(path, format="JPEG", quality=_QUALITY)


def _masks(tracks: Iterable[ObjectTrack], frame: int) -> Iterable[np.ndarray]:
    return (decode_mask(mask) for track in tracks if (mask := track.masks[frame]) is not None)


def _shrink(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return small

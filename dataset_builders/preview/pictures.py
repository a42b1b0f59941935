"""The pictures of a preview: frames as small JPEG files."""

import io
from pathlib import Path
from typing import IO, Any

from PIL import Image

_SIDE = 360  # pixels of a picture's longer side: sharp on a phone, small on the disk
_QUALITY = 85


def open_picture(stored: dict[str, Any]) -> Image.Image:
    """A picture of a row, as RGB and shrunk to what a page shows."""
    picture = Image.open(io.BytesIO(stored["bytes"])).convert("RGB")
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return picture


def save_picture(picture: Image.Image, target: Path | IO[bytes]) -> None:
    """Write a picture as JPEG."""
    picture.save(target, format="JPEG", quality=_QUALITY)

"""Decode images as people see them: upright, eight bits a channel, RGB."""

import io
import struct
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageOps

# What PIL raises at an image that it cannot read: a foreign or cut off file, a broken chunk, a forged size.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)

_ORIENTATION_TAG = 0x0112  # of EXIF
_LYING = (5, 6, 7, 8)


def decode_image(image: Image.Image | Mapping) -> Image.Image:
    """An upright RGB image from a `PIL` image or from the `{"bytes", "path"}` record that `datasets` stores.

    The EXIF orientation is applied, as `datasets` does, and images of 16 bits a channel keep their upper eight (PIL
    alone would clip them to white).
    """
    if not isinstance(image, Image.Image):
        image = Image.open(io.BytesIO(image["bytes"]) if image.get("bytes") else image["path"])
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    return _to_eight_bits(image).convert("RGB")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height that [`decode_image`] gives an image, without decoding it."""
    width, height = image.size
    if image.format == "PNG" and "exif" not in image.info:  # PIL would decode all of it to look for a late one
        return width, height
    return (height, width) if _orientation(image) in _LYING else (width, height)


def _orientation(image: Image.Image) -> int:
    return image.getexif().get(_ORIENTATION_TAG, 1)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":  # linear values, by convention from 0 to 1
        values = np.asarray(image)
        scale = 255.0 if values.size and values.max() <= 1 else 1.0
        return Image.fromarray(np.nan_to_num(values * scale).clip(0, 255).astype(np.uint8))
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image)
    deep = image.mode != "I" or (values.size and values.max() > 255)
    return Image.fromarray((values >> 8 if deep else values).clip(0, 255).astype(np.uint8))

"""Masks as COCO run-length encoding, in records and on disk."""

import numpy as np


def encode_mask(mask: np.ndarray) -> dict:
    """Encode a mask as COCO run-length encoding that JSON can hold.

    Args:
        mask (`np.ndarray` of shape `(height, width)`, bool): The pixels of one object.

    Returns:
        `dict`: `size` (height, width) and `counts` as ASCII text.
    """
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def decode_mask(encoded: dict) -> np.ndarray:
    """Decode a mask of [`encode_mask`] to `(height, width)`, bool."""
    from pycocotools import mask as coco

    return coco.decode({"size": encoded["size"], "counts": encoded["counts"].encode("ascii")}).astype(bool)

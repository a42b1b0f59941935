"""Small clips for tests: a textured scene before a camera that stands still, and a thing that moves through it."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from .made_videos import encode

SIZE = (256, 192)


def textured(size: tuple[int, int], seed: int) -> np.ndarray:
    """Blobs of a few sizes, which corners and flow find; `(height, width, 3)`, uint8."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(
            rng.uniform(0, 1, (size[1] // step + 2, size[0] // step + 2, 3)), size, interpolation=cv2.INTER_CUBIC
        )
        for step in (6, 15, 40)
    ]
    return (255 * np.clip(sum(layers) / len(layers) * 1.6 - 0.3, 0, 1)).astype(np.uint8)


def film_still_camera(path: Path, seed: int = 0, step: int = 0, count: int = 16, others: int = 0) -> Path:
    """Write a clip of 10 frames a second; with `step` a square goes so many pixels to the right each frame, and above
    it so many `others` go the same way."""
    scene, thing = textured(SIZE, seed), textured((48, 48), seed + 1000)

    def draw(number: int, size: tuple[int, int]) -> np.ndarray:
        picture = scene.copy()
        if step:
            left = 20 + step * number
            for row in range(others + 1):
                top = 70 - 60 * row
                picture[top : top + 48, left : left + 48] = thing
        return picture

    return encode(path, count, size=SIZE, options={"crf": "12"}, draw=draw)


def draw_masks(folder: Path, step: int, count: int = 16, others: int = 0) -> Path:
    """Write what `--objects files` reads beside a clip of [`film_still_camera`] with the same `step`."""
    folder.mkdir()
    for number in range(count):
        mask = np.zeros(SIZE[::-1], np.uint8)
        for row in range(others + 1):
            mask[70 - 60 * row : 118 - 60 * row, 20 + step * number : 68 + step * number] = row + 1
        Image.fromarray(mask).save(folder / f"{number:05d}.png")
    (folder / "names.txt").write_text("1: blue square\n", encoding="utf-8")
    return folder

"""What the cells of a rendered clip's frames show: dense targets with which the tiny vision tower learns to see."""

import numpy as np

from .renderer import WorldClip
from .scene import COLOURS

SKY_METRES = 100.0  # where the sky is taken to be
_MOST_FLOW = 8.0  # pixels a frame; faster is as good as gone
CONTENTS = (*COLOURS, "ground", "sky")
CELL_NUMBERS = len(CONTENTS) + 3


def cell_targets(clip: WorldClip, cells: int) -> np.ndarray:
    """Contents, depth and motion of each cell of every second frame.

    Args:
        clip ([`WorldClip`]): An even number of frames, since the tower sees two at a time.
        cells (`int`): Along each side of the image.

    Returns:
        `np.ndarray` of shape `(frames / 2, cells, cells, CELL_NUMBERS)`, float16: the share of each of `CONTENTS`, the
        mean of the natural logarithm of the depth in metres, and the mean way of its points to the next frame in
        pixels, right and down.
    """
    side = clip.rgb.shape[1]
    rows, columns = np.mgrid[:side, :side]
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    rays = pixels @ np.linalg.inv(clip.intrinsics).T
    targets = []
    for frame in range(0, len(clip.rgb), 2):
        mask, depth = clip.masks[frame], np.minimum(np.nan_to_num(clip.depth[frame], posinf=SKY_METRES), SKY_METRES)
        here, there = clip.camera_to_world[frame], clip.camera_to_world[frame + 1]
        points = (rays * depth[..., None]) @ here[:3, :3].T + here[:3, 3]
        shares = np.zeros((side, side, len(CONTENTS)))
        shares[..., -2] = (mask < 0) & (depth < SKY_METRES)
        shares[..., -1] = (mask < 0) & (depth >= SKY_METRES)
        for index, name in enumerate(clip.names):
            points[mask == index] += clip.centres[frame + 1, index] - clip.centres[frame, index]
            shares[mask == index, CONTENTS.index(name.split()[0])] = 1
        seen = (points - there[:3, 3]) @ there[:3, :3] @ clip.intrinsics.T
        flow = seen[..., :2] / np.maximum(seen[..., 2:], 0.1) - pixels[..., :2]
        numbers = np.concatenate([shares, np.log(depth)[..., None], np.clip(flow, -_MOST_FLOW, _MOST_FLOW)], axis=-1)
        targets.append(numbers.reshape(cells, side // cells, cells, side // cells, -1).mean(axis=(1, 3)))
    return np.stack(targets).astype(np.float16)

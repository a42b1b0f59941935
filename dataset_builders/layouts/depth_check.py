"""Whether imported depth is that of the points that imported poses triangulate."""

from collections.abc import Mapping

import numpy as np

from ..clip_error import ClipError
from ..geometry.sift_matches import Matches
from .imported_clip import Lens
from .sights import Sights

_MIN_POINTS = 30
_MAX_RATIO = 1.6


def check_depths(
    matches: Matches, poses: np.ndarray, lens: Lens, maps: Mapping[int, np.ndarray | None]
) -> float | None:
    """Compare depth maps with the depth of matched points.

    Args:
        matches ([`Matches`]): Between frames.
        poses (`np.ndarray` of shape `(T, 4, 4)`): Camera-to-world, checked already.
        lens ([`Lens`]): Of the frames.
        maps (`Mapping[int, np.ndarray | None]`): Depth maps of frames by their numbers.

    Returns:
        `float`, *optional*: Median ratio of map to point; `None` where too few points can be compared.

    Raises:
        ClipError: `poses_disagree`, if the two are of different units or the map is the inverse of a depth.
    """
    if not matches.pairs:
        return None
    sights = Sights(matches.pairs, matches.size)
    points = sights.by_pair(sights.triangulate(poses, lens))
    ratios, inverses = [], []
    for pair, depths in zip(sights.pairs, points, strict=True):
        found = maps.get(pair.first)
        if found is None:
            continue
        height, width = found.shape
        columns, rows = (pair.before / matches.size * (width, height)).astype(int).T
        stored = found[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
        known = np.isfinite(stored) & np.isfinite(depths)
        ratios.append(stored[known] / depths[known])
        inverses.append(1 / stored[known] / depths[known])
    compared = np.concatenate(ratios) if ratios else np.empty(0)
    if len(compared) < _MIN_POINTS:
        return None
    ratio, inverse = float(np.median(compared)), float(np.median(np.concatenate(inverses)))
    if 1 / _MAX_RATIO < ratio < _MAX_RATIO:
        return ratio
    reason = f"the depth is {ratio:.2g} times that of the same points by the poses"
    if 1 / _MAX_RATIO < inverse < _MAX_RATIO:
        raise ClipError("poses_disagree", f"{reason}, and {inverse:.2g} times if it is inverted", "invert the depth")
    raise ClipError("poses_disagree", f"{reason}: they are in different units", "scale one of the two")

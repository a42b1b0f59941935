"""What splits share: sources, clips, and pictures that look the same."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from ..world.scene import WORLD_SOURCE
from .rows import Row

_ALIKE_BITS = 4  # of 64, the mean over first, middle and last frame, from which two clips count as copies
_PLAIN = 2.0  # deviation of the pixels, of 255: a picture that shows nothing has a hash of noise


def shared_sources(rows: Sequence[Row]) -> list[str]:
    """Names of sources with rows in two splits. The rendered world names none."""
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        splits[row.source].add(row.split)
    return sorted(source for source, found in splits.items() if len(found) > 1 and source != WORLD_SOURCE)


def shared_clips(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Rows whose frames are, by half or more, those of another split's row, byte by byte: names of such pairs."""
    seen: dict[bytes, Row] = {}
    pairs = []
    for row in sorted(rows, key=lambda row: row.split):
        found = [seen[frame] for frame in set(row.frames) if frame in seen and seen[frame].split != row.split]
        if found and 2 * len(found) >= len(set(row.frames)):
            pairs.append((row.name, found[0].name))
        for frame in row.frames:
            seen.setdefault(frame, row)
    return pairs


def near_duplicates(sample: Sequence[Row]) -> list[tuple[str, str]]:
    """Pairs of rows of two splits whose first, middle and last frames look the same, by perceptual hashes."""
    clips: dict[str, dict[tuple[bytes, ...], Row]] = defaultdict(dict)
    for row in sample:
        if any(picture.pixels.std() > _PLAIN for picture in row.pictures):
            clips[row.split].setdefault(row.frames, row)
    pairs = []
    for one, other in combinations(sorted(clips), 2):
        pairs += _alike(list(clips[one].values()), list(clips[other].values()))
    return pairs


def _alike(left: Sequence[Row], right: Sequence[Row]) -> Iterator[tuple[str, str]]:
    one, other = _bits(left), _bits(right)
    differing = one @ (1 - other).T + (1 - one) @ other.T
    for first, second in zip(*np.nonzero(differing <= 3 * _ALIKE_BITS), strict=True):
        yield left[first].name, right[second].name


def _bits(rows: Sequence[Row]) -> np.ndarray:
    return np.stack([np.concatenate([picture.bits for picture in row.pictures]) for row in rows]).astype(np.float32)

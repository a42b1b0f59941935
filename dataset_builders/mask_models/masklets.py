"""What a mask model has found: one object's masks over dense frames, made into the tracks of a window."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..clip_record import ObjectTrack
from ..geometry.masks import decode_mask, encode_mask, mask_area, overlap
from ..geometry.object_chains import MIN_PICTURE_SHARE, centre
from ..geometry.object_tracks import name_by_place

MAX_OBJECTS = 10
_SAME_OBJECT = 0.7  # intersection over union, over all frames, from which two are one
_MAX_AREA_RATIO = 2.5  # between neighbouring masks of one object
_MAX_JUMP = 1.5  # of the square root of its area, between neighbouring centres
_MAX_GAIN = 0.5  # logarithm of an area against those around it: parts of the object were won or lost
_MEMORY = 7  # frames around


@dataclass
class Masklet:
    """One object over dense frames.

    Attributes:
        name (`str`): What it was found by.
        masks (`dict[int, dict]`): Dense frame number to mask, as [`encode_mask`] gives it.
        scores (`dict[int, float]`): Dense frame number to how certain the model was that the object is there.
        sure (`set[int]`): Frames whose masks may be used for labels.
    """

    name: str
    masks: dict[int, dict]
    scores: dict[int, float] = field(default_factory=dict)
    sure: set[int] = field(default_factory=set)

    @property
    def weight(self) -> float:
        """How much of it there is: pixels times the model's scores, summed over the frames."""
        return sum(mask_area(mask) * self.scores.get(frame, 1.0) for frame, mask in self.masks.items())


def merge_duplicates(found: Sequence[Masklet], least: float = _SAME_OBJECT) -> list[Masklet]:
    """Keep one of those that cover the same pixels, whatever they are called, and at most [`MAX_OBJECTS`].

    A model's own suppression of duplicates works within one name, and needs a kernel that is rarely there.

    Args:
        found (`Sequence[Masklet]`): In any order.
        least (`float`, *optional*, defaults to 0.7): Intersection over union of all frames in which either shows.

    Returns:
        `list[Masklet]`: The heaviest first. Of duplicates the one with the higher mean score gives name and masks, and
            the other one the frames that it lacks.
    """
    kept: list[Masklet] = []
    for one in sorted(found, key=lambda item: -_mean_score(item)):
        twin = next((other for other in kept if masklet_iou(one, other) >= least), None)
        if twin is None:
            kept.append(one)
            continue
        twin.masks = one.masks | twin.masks
        twin.scores = one.scores | twin.scores
    return sorted(kept, key=lambda item: -item.weight)[:MAX_OBJECTS]


def masklet_iou(one: Masklet, other: Masklet) -> float:
    """Intersection over union of two objects over the frames in which both show; 0 if they hardly meet in time."""
    shared = one.masks.keys() & other.masks.keys()
    if 2 * len(shared) < min(len(one.masks), len(other.masks)) or not shared:
        return 0.0
    both, either = np.sum([overlap(one.masks[frame], other.masks[frame]) for frame in shared], axis=0)
    return float(both / either)


def keep_steady(masklet: Masklet) -> None:
    """Drop what belongs to another object, and note which masks are sure.

    Where a mask's area or place jumps from one dense frame to the next, the model has gone over to something else:
    only the longest stretch without such a jump is kept. In it those masks are sure whose area is like that of the
    masks around them.
    """
    sizes = {frame: mask_area(mask) for frame, mask in masklet.masks.items()}
    frames = sorted(f for f, size in sizes.items() if size >= MIN_PICTURE_SHARE * np.prod(masklet.masks[f]["size"]))
    centres = {frame: centre(decode_mask(masklet.masks[frame])) for frame in frames}
    stretches: list[list[int]] = []
    for frame in frames:
        if not stretches or _jumps(sizes, centres, stretches[-1][-1], frame):
            stretches.append([])
        stretches[-1].append(frame)
    kept = max(stretches, key=len, default=[])
    masklet.masks = {frame: masklet.masks[frame] for frame in kept}
    masklet.scores = {frame: score for frame, score in masklet.scores.items() if frame in masklet.masks}
    areas = np.log([sizes[frame] for frame in kept])
    around = [np.median(areas[max(0, n - _MEMORY // 2) : n + _MEMORY // 2 + 1]) for n in range(len(kept))]
    masklet.sure = {frame for n, frame in enumerate(kept) if abs(areas[n] - around[n]) < _MAX_GAIN}


def to_tracks(
    found: Sequence[Masklet], numbers: Sequence[int], made_by: dict[str, str], errors: dict[str, float]
) -> list[ObjectTrack]:
    """The tracks of a window, named so that a question can tell them apart.

    Several objects of one name are called by their places where that holds throughout; else they are sure in no
    frame, since no question could name them.

    Args:
        found (`Sequence[Masklet]`): At most [`MAX_OBJECTS`].
        numbers (`Sequence[int]`): Which of the dense frames are the window's.
        made_by (`dict[str, str]`): Tool to version.
        errors (`dict[str, float]`): Noise of the clip, see [`ObjectTrack`].
    """
    names: dict[int, str] = {}
    for name in dict.fromkeys(item.name for item in found):
        group = [number for number, item in enumerate(found) if item.name == name]
        masks = [{f: decode_mask(mask) for f, mask in found[number].masks.items()} for number in group]
        names.update(zip(group, name_by_place(name, masks), strict=False))
    tracks = []
    for number, item in enumerate(found):
        masks = tuple(item.masks.get(frame) for frame in numbers)
        sure = np.array([frame in item.sure for frame in numbers]) & (number in names)
        more = {"score": round(_mean_score(item), 4)} if item.scores else {}
        tracks.append(ObjectTrack(names.get(number, item.name), masks, sure, made_by, {**errors, **more}))
    return tracks


def encode_masks(masks: np.ndarray) -> list[dict | None]:
    """Encode masks `(n, height, width)`; `None` for empty ones."""
    return [encode_mask(mask) if mask.any() else None for mask in masks]


def _jumps(sizes: dict[int, int], centres: dict[int, np.ndarray], before: int, after: int) -> bool:
    smaller, larger = sorted((sizes[before], sizes[after]))
    if larger > _MAX_AREA_RATIO * smaller:
        return True
    # What was hidden for a while may have gone on as fast as before.
    reach = _MAX_JUMP * np.sqrt(larger) * (after - before)
    return bool(np.linalg.norm(centres[after] - centres[before]) > reach)


def _mean_score(masklet: Masklet) -> float:
    return float(np.mean(list(masklet.scores.values()))) if masklet.scores else 0.0

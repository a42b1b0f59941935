"""Follow moving objects over the frames of a clip, through rests, to where place, size or colour jump."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from .masks import connected_parts, disc, refine_mask
from .object_flow import Motion, warp_mask

MIN_PICTURE_SHARE = 0.001  # of a mask; below, a person sees a dot
MIN_MOVING_FRAMES = 4

_MIN_OVERLAP = 0.3  # of the smaller of a component and the place that the track predicts
_PART = 0.8  # of the predicted area; a component below is a part of an object whose rest stands still
_MAX_AREA_RATIO = 1.8  # between a frame and the frames before it
_MAX_JUMP = 0.6  # of the square root of the area, between the predicted centre and the one found
_MIN_COLOUR_MATCH = 0.6  # Bhattacharyya coefficient of the colour histograms
_MEMORY = 5  # frames that the expected area is the median of
_MIN_TRAVEL = 0.15  # of the square root of its area, over as many frames
_MAX_GUESSES = 2  # frames in a row in which a mask is carried on although something else seems to move there
_MIN_EVIDENT = 0.1  # of a component's pixels, for a new object
_MAX_GAIN = 0.5  # logarithm of an area: a part of two fifths was lost, or two thirds were won
_BULK = 4  # pixels of half the width of what may be an object beside another; less is a seam
_TOUCHING = 4  # pixels between the masks of parts of one object


@dataclass
class Chain:
    """One object while it is being followed, at the size of the flow.

    Attributes:
        masks (`dict[int, np.ndarray]`): Frame number to mask.
        moved (`dict[int, np.ndarray]`): Frame number to the part of the mask that was seen moving.
        colours (`np.ndarray`): Its histogram.
        doubtful (`set[int]`): Frames in which the mask is a guess.
        gained (`dict[int, float]`): Frame number to the logarithm of how much larger the mask is than flow alone would
            have carried it there from where it was first seen: parts of the object that were won or lost.
    """

    masks: dict[int, np.ndarray]
    moved: dict[int, np.ndarray]
    colours: np.ndarray
    doubtful: set[int] = field(default_factory=set)
    gained: dict[int, float] = field(default_factory=dict)
    guesses: int = 0  # doubtful frames in a row

    @property
    def weight(self) -> int:
        """Pixels times frames of what was seen moving."""
        return sum(int(part.sum()) for part in self.moved.values())

    def expected_area(self, frame: int) -> float:
        """Median area of the masks nearest in time."""
        near = sorted(self.masks, key=lambda other: abs(other - frame))[:_MEMORY]
        return float(np.median([self.masks[other].sum() for other in near]))

    def sure_frames(self) -> set[int]:
        """Frames whose masks are no guess and show as much of the object as most others do."""
        return {frame for frame, gain in self._gains().items() if abs(gain) < _MAX_GAIN} - self.doubtful

    def size_error(self) -> float:
        """How much parts that masks win or lose change the linear size over the sure frames, as a logarithm."""
        gains = self._gains()
        return float(np.ptp([gains[frame] for frame in self.sure_frames()] or [0.0])) / 2

    def _gains(self) -> dict[int, float]:
        """What each mask has more than flow alone would have carried there, against the typical one."""
        frames = sorted(self.masks)
        gained = np.array([self.gained.get(frame, 0.0) for frame in frames])
        if len(frames) > 1:  # carrying loses a little of the edge each time
            gained -= np.median(np.diff(gained)) * np.arange(len(frames))
        return dict(zip(frames, gained - np.median(gained), strict=True))

    def forget(self, frame: int) -> None:
        """Take a frame out."""
        del self.masks[frame]
        self.moved.pop(frame, None)
        self.gained.pop(frame, None)
        self.doubtful.discard(frame)


def follow_objects(motion: Motion) -> list[Chain]:
    """Follow every moving component over the frames, forth and then back into the time before it was seen moving.

    Args:
        motion ([`Motion`]): What moves in each frame.

    Returns:
        `list[Chain]`: Those seen moving in at least [`MIN_MOVING_FRAMES`] frames, the largest and longest first.
    """
    components = [_components(moving) for moving in motion.moving]
    found: list[Chain] = []
    active: list[Chain] = []
    for frame in range(len(motion.frames)):
        active = [chain for chain in active if _extend(chain, frame - 1, frame, components[frame], motion)]
        active = _drop_doubles(active, frame)
        free = [c for c in components[frame] if not any((c & chain.masks[frame]).any() for chain in active)]
        free += _left_over(components[frame], active, frame, motion)
        started = [chain for component in free for chain in _start_chains(component, frame, motion)]
        active += started
        found += started
    found = [chain for chain in found if len(chain.moved) >= MIN_MOVING_FRAMES]
    found.sort(key=lambda chain: -chain.weight)
    for number, chain in enumerate(found):
        _extend_back(chain, components, found[:number], motion)
    return join_parts(found)


def join_parts(chains: list[Chain]) -> list[Chain]:
    """Join chains that touch and go together for most of the shorter one's time: parts of one object."""
    kept: list[Chain] = []
    for chain in sorted(chains, key=lambda chain: -chain.weight):
        whole = next((other for other in kept if _goes_with(chain, other)), None)
        if whole is None:
            kept.append(chain)
            continue
        for frame in chain.masks.keys() & whole.masks.keys():
            whole.masks[frame] = whole.masks[frame] | chain.masks[frame]
    return kept


def _goes_with(part: Chain, whole: Chain) -> bool:
    shared = sorted(part.masks.keys() & whole.masks.keys())
    if len(shared) < 0.6 * len(part.masks):
        return False
    near = disc(_TOUCHING)
    touching = [(cv2.dilate(whole.masks[f].astype(np.uint8), near)[part.masks[f]] > 0).any() for f in shared]
    offsets = np.array([centre(part.masks[f]) - centre(whole.masks[f]) for f in shared])
    side = np.sqrt(whole.masks[shared[0]].sum())
    return bool(np.mean(touching) > 0.7 and np.linalg.norm(offsets[-1] - offsets[0]) < 0.3 * side)


def _drop_doubles(chains: list[Chain], frame: int) -> list[Chain]:
    """End chains that have slid onto a heavier one."""
    kept: list[Chain] = []
    for chain in sorted(chains, key=lambda chain: -chain.weight):
        if _claimed(chain.masks[frame], frame, kept):
            chain.forget(frame)
        else:
            kept.append(chain)
    return kept


def _left_over(components: list[np.ndarray], chains: list[Chain], frame: int, motion: Motion) -> list[np.ndarray]:
    """What of the components is evident but in no object's mask: another object that touches it."""
    taken = np.zeros_like(motion.moving[frame])
    for chain in chains:
        taken |= chain.masks[frame]
    taken = cv2.dilate(taken.astype(np.uint8), disc(_TOUCHING)) > 0
    rest = [component & motion.evident[frame] & ~taken for component in components if (component & taken).any()]
    opened = [cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_OPEN, disc(_BULK)) for part in rest]
    return [part for mask in opened for part in connected_parts(mask, MIN_PICTURE_SHARE)]


def _start_chains(component: np.ndarray, frame: int, motion: Motion) -> list[Chain]:
    if motion.evident[frame][component].mean() < _MIN_EVIDENT:
        return []
    picture = motion.frames[frame]
    parts = connected_parts(refine_mask(picture, component), MIN_PICTURE_SHARE)
    return [Chain({frame: part}, {frame: part}, _colours(picture, part)) for part in parts]


def _extend_back(chain: Chain, components: list[list[np.ndarray]], larger: list[Chain], motion: Motion) -> None:
    chain.guesses = 0
    for frame in range(min(chain.masks) - 1, -1, -1):
        free = [c for c in components[frame] if not _claimed(c, frame, larger)]
        if not _extend(chain, frame + 1, frame, free, motion):
            return
        if _claimed(chain.masks[frame], frame, larger):
            chain.forget(frame)
            return


def _claimed(mask: np.ndarray, frame: int, chains: list[Chain]) -> bool:
    return any((mask & chain.masks[frame]).sum() > 0.3 * mask.sum() for chain in chains if frame in chain.masks)


def _extend(chain: Chain, known: int, frame: int, components: list[np.ndarray], motion: Motion) -> bool:
    """Carry a chain from a known frame to its neighbour; whether it goes on."""
    pair = min(known, frame)
    flow = motion.backward[pair] if frame > known else motion.forward[pair]
    predicted = warp_mask(chain.masks[known], flow)
    if predicted.sum() < MIN_PICTURE_SHARE * predicted.size:
        return False
    own = [c for c in components if (c & predicted).sum() > _MIN_OVERLAP * min(c.sum(), predicted.sum())]
    for mask, moved in _candidates(chain, frame, predicted, own, motion):
        if _continues(chain, mask, predicted, frame, motion.frames[frame]):
            chain.masks[frame] = mask
            chain.gained[frame] = chain.gained.get(known, 0.0) + float(np.log(mask.sum() / predicted.sum()))
            chain.colours = 0.8 * chain.colours + 0.2 * _colours(motion.frames[frame], mask)
            if moved is not None:
                chain.moved[frame] = moved
            if not motion.explained[pair] or (moved is None and own):
                chain.doubtful.add(frame)
                chain.guesses += 1
            else:
                chain.guesses = 0
            return chain.guesses <= _MAX_GUESSES
    return False


def _candidates(
    chain: Chain, frame: int, predicted: np.ndarray, own: list[np.ndarray], motion: Motion
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """What an object's mask in a frame may be, the likeliest first, and which part of it was seen moving."""
    picture = motion.frames[frame]
    if own:
        union = np.any(own, axis=0)
        moving = refine_mask(picture, union, predicted)
        if moving.sum() < _PART * predicted.sum() and not _travels(chain, moving, frame, motion):
            yield refine_mask(picture, union | predicted, predicted), moving
        yield moving, moving
    yield refine_mask(picture, predicted), None


def _travels(chain: Chain, moving: np.ndarray, frame: int, motion: Motion) -> bool:
    """Whether the moving part went elsewhere over a few frames, so that what stays behind is no part of it."""
    earlier = [other for other in chain.moved if 0 < abs(other - frame) <= _MEMORY]
    if not earlier:
        return False
    start = max(earlier, key=lambda other: abs(other - frame))
    before = motion.carry_point(centre(chain.moved[start]), start, frame)
    return bool(np.linalg.norm(centre(moving) - before) > _MIN_TRAVEL * np.sqrt(moving.sum()))


def _continues(chain: Chain, mask: np.ndarray, predicted: np.ndarray, frame: int, picture: np.ndarray) -> bool:
    """Whether a mask may be the same object: no jump of place, area or colour."""
    area = mask.sum()
    if area < MIN_PICTURE_SHARE * mask.size:
        return False
    ratio = area / chain.expected_area(frame)
    jump = np.linalg.norm(centre(mask) - centre(predicted)) / np.sqrt(area)
    match = np.sqrt(chain.colours * _colours(picture, mask)).sum()
    return bool(1 / _MAX_AREA_RATIO < ratio < _MAX_AREA_RATIO and jump < _MAX_JUMP and match > _MIN_COLOUR_MATCH)


def _components(moving: np.ndarray) -> list[np.ndarray]:
    """Connected parts of what moves, without thin strands."""
    mask = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_CLOSE, disc(2))
    return connected_parts(cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(2)), MIN_PICTURE_SHARE)


def _colours(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    histogram = cv2.calcHist([picture], [0, 1, 2], mask.astype(np.uint8), [6, 6, 6], [0, 256] * 3).ravel()
    return histogram / max(histogram.sum(), 1.0)


def centre(mask: np.ndarray) -> np.ndarray:
    """Column and row of the middle of a mask."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()])

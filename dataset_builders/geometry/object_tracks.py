"""Moving objects of a clip without any weights: what moves against the background, followed through rests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...modeling.processing import Clip
from ..clip_record import CameraPoses, ObjectTrack
from .masks import encode_mask
from .object_flow import Motion, measure_motion, warp_mask

NAME = "moving object"
MIN_PICTURE_SHARE = 0.001  # of a mask; below, a person sees a dot
MIN_MOVING_FRAMES = 4
MAX_OBJECTS = 3

_MIN_OVERLAP = 0.3  # of the smaller of a component and the place that the track predicts
_PART = 0.5  # of the predicted area; a component below is a part of an object whose rest stands still
_MAX_AREA_RATIO = 1.8  # between a frame and the frames before it
_MAX_JUMP = 0.6  # of the square root of the area, between the predicted centre and the one found
_MIN_COLOUR_MATCH = 0.6  # Bhattacharyya coefficient of the colour histograms
_MEMORY = 5  # frames that the expected area is the median of
_MIN_TRAVEL = 0.05  # of the square root of its area, from frame to frame
_CORE = 0.6  # of the greatest distance from a rough mask's edge; what lies deeper is the object
_MAX_BLIND = 2  # pairs of frames in a row that the background does not explain


@dataclass
class _Chain:
    """An object while it is being followed, at the size of the flow.

    `masks` holds frame number to mask, `moved` the parts of them that were seen moving; `colours` is a histogram.
    """

    masks: dict[int, np.ndarray]
    moved: dict[int, np.ndarray]
    colours: np.ndarray
    blind: int = 0
    guessed: int = 0

    def expected_area(self, frame: int) -> float:
        """Median area of the masks nearest in time."""
        near = sorted(self.masks, key=lambda other: abs(other - frame))[:_MEMORY]
        return float(np.median([self.masks[other].sum() for other in near]))


def find_objects(
    clip: Clip, camera: CameraPoses | None = None, names: Sequence[str] = (NAME,), max_objects: int = MAX_OBJECTS
) -> list[ObjectTrack]:
    """Find what moves in a clip against its background, the clearest first.

    Args:
        clip ([`Clip`]): The frames of one window, near enough in time that neighbours overlap (6 to 15 a second).
        camera ([`CameraPoses`], *optional*): Its camera.
        names (`Sequence[str]`, *optional*): What to call the objects.
        max_objects (`int`, *optional*, defaults to 3): At most so many.

    Returns:
        `list[ObjectTrack]`: Masks at the size of the frames; empty where nothing moves.

    Raises:
        ObjectError: If the background cannot be told from what moves; the message holds the numbers.
    """
    motion = measure_motion(clip)
    return [_track(chain, clip, motion, names[0]) for chain in _link(motion)[:max_objects]]


def _track(chain: _Chain, clip: Clip, motion: Motion, name: str) -> ObjectTrack:
    import cv2

    size = clip.frames[0].size
    masks: list[dict | None] = [None] * len(clip.frames)
    for frame, mask in chain.masks.items():
        masks[frame] = encode_mask(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5)
    sure = np.zeros(len(clip.frames), dtype=bool)
    sure[list(chain.masks)] = True
    return ObjectTrack(name, tuple(masks), sure, {"opencv": cv2.__version__})


def _link(motion: Motion) -> list[_Chain]:
    """Follow every moving component over the frames, forth and then back into the time before it was seen moving."""
    found: list[_Chain] = []
    active: list[_Chain] = []
    components = []
    for frame in range(len(motion.frames)):
        components.append(_components(motion.moving[frame]))
        free = list(components[frame])
        active = [chain for chain in active if _extend(chain, frame - 1, frame, free, motion)]
        for component in free:
            for mask in _parts(refine_mask(motion.frames[frame], component)):
                chain = _Chain({frame: mask}, {frame: mask}, _colours(motion.frames[frame], mask))
                active.append(chain)
                found.append(chain)
    found = [chain for chain in found if len(chain.moved) >= MIN_MOVING_FRAMES]
    found.sort(key=lambda chain: -sum(part.sum() for part in chain.moved.values()))
    for number, chain in enumerate(found):
        chain.blind = 0
        for frame in range(min(chain.masks) - 1, -1, -1):
            free = [c for c in components[frame] if not _claimed(c, frame, found[:number])]
            if not _extend(chain, frame + 1, frame, free, motion):
                break
            if _claimed(chain.masks[frame], frame, found[:number]):
                del chain.masks[frame]
                chain.moved.pop(frame, None)
                break
    return found


def _claimed(mask: np.ndarray, frame: int, chains: list[_Chain]) -> bool:
    return any((mask & chain.masks[frame]).sum() > 0.3 * mask.sum() for chain in chains if frame in chain.masks)


def _extend(chain: _Chain, known: int, frame: int, components: list[np.ndarray], motion: Motion) -> bool:
    """Carry a chain from a known frame to its neighbour, and take its components out of the list; whether it goes on."""
    pair = min(known, frame)
    flow = motion.backward[pair] if frame > known else motion.forward[pair]
    predicted = warp_mask(chain.masks[known], flow)
    chain.blind = 0 if motion.explained[pair] else chain.blind + 1
    if predicted.sum() < MIN_PICTURE_SHARE * predicted.size or chain.blind > _MAX_BLIND:
        return False
    own = [c for c in components if (c & predicted).sum() > _MIN_OVERLAP * min(c.sum(), predicted.sum())]
    components[:] = [c for c in components if not any(c is other for other in own)]
    for mask, moved in _candidates(chain, known, frame, predicted, own, motion):
        if _continues(chain, mask, predicted, frame, motion.frames[frame]):
            chain.masks[frame] = mask
            chain.colours = 0.8 * chain.colours + 0.2 * _colours(motion.frames[frame], mask)
            if moved is not None:
                chain.moved[frame] = moved
            chain.guessed = chain.guessed + 1 if moved is None and own else 0
            return chain.guessed <= _MAX_BLIND
    return False


def _candidates(
    chain: _Chain, known: int, frame: int, predicted: np.ndarray, own: list[np.ndarray], motion: Motion
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """What an object's mask in a frame may be, the likeliest first, and which part of it was seen moving."""
    picture = motion.frames[frame]
    if own:
        union = np.any(own, axis=0)
        moving = refine_mask(picture, union, predicted)
        if moving.sum() < _PART * predicted.sum() and not _travels(chain, known, moving, frame, motion):
            yield refine_mask(picture, union | predicted, predicted), moving
        yield moving, moving
    yield refine_mask(picture, predicted), None


def _travels(chain: _Chain, known: int, moving: np.ndarray, frame: int, motion: Motion) -> bool:
    """Whether the moving part goes elsewhere, so that what stays behind is no part of it."""
    if known not in chain.moved:
        return False
    homography = motion.homographies[min(known, frame)]
    if frame < known:
        homography = np.linalg.inv(homography)
    before = homography @ np.append(_centre(chain.moved[known])[::-1], 1.0)
    step = _centre(moving)[::-1] - before[:2] / before[2]
    return bool(np.linalg.norm(step) > _MIN_TRAVEL * np.sqrt(moving.sum()))


def _continues(chain: _Chain, mask: np.ndarray, predicted: np.ndarray, frame: int, picture: np.ndarray) -> bool:
    """Whether a mask may be the same object: no jump of place, area or colour."""
    area = mask.sum()
    if area < MIN_PICTURE_SHARE * mask.size:
        return False
    ratio = area / chain.expected_area(frame)
    jump = np.linalg.norm(_centre(mask) - _centre(predicted)) / np.sqrt(area)
    match = np.sqrt(chain.colours * _colours(picture, mask)).sum()
    return bool(1 / _MAX_AREA_RATIO < ratio < _MAX_AREA_RATIO and jump < _MAX_JUMP and match > _MIN_COLOUR_MATCH)


def _components(moving: np.ndarray) -> list[np.ndarray]:
    """Connected parts of what moves, without thin strands."""
    import cv2

    mask = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_CLOSE, _disc(2))
    return _parts(cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(2)))


def _parts(mask: np.ndarray) -> list[np.ndarray]:
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    large = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] >= MIN_PICTURE_SHARE * mask.size]
    return [labels == number for number in large]


def refine_mask(picture: np.ndarray, rough: np.ndarray, predicted: np.ndarray | None = None) -> np.ndarray:
    """Tighten a rough mask to the edges in the picture by colour (GrabCut).

    Args:
        picture (`np.ndarray` of shape `(h, w, 3)`, uint8): RGB.
        rough (`np.ndarray` of shape `(h, w)`, bool): The object with some of its surroundings.
        predicted (`np.ndarray` of shape `(h, w)`, bool, *optional*): Where the object is by what went before; what
            lies far from it is taken for surroundings unless its colours say otherwise.

    Returns:
        `np.ndarray` of shape `(h, w)`, bool: The rough mask itself where colour cannot tell the two apart.
    """
    import cv2

    likely = rough
    if predicted is not None:
        grown = cv2.dilate(predicted.astype(np.uint8), _disc(int(2 + 0.04 * np.sqrt(predicted.sum())))) > 0
        likely = rough & grown if (rough & grown).any() else rough
    mask = likely
    rows, columns = np.nonzero(mask)
    margin = int(6 + 0.4 * np.sqrt(len(rows)))
    window = (
        slice(max(rows.min() - margin, 0), rows.max() + margin + 1),
        slice(max(columns.min() - margin, 0), columns.max() + margin + 1),
    )
    inside = mask[window].astype(np.uint8)
    near = cv2.dilate(np.maximum(inside, rough[window].astype(np.uint8)), _disc(2))
    if near.all():
        return mask
    labels = np.where(near > 0, np.where(inside > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD), cv2.GC_BGD).astype(np.uint8)
    depth = cv2.distanceTransform(cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)[
        1:-1, 1:-1
    ]
    labels[depth > _CORE * depth.max()] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    cv2.grabCut(
        np.ascontiguousarray(picture[window]),
        labels,
        None,
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        3,
        cv2.GC_INIT_WITH_MASK,
    )
    tight = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    tight = cv2.morphologyEx(tight, cv2.MORPH_OPEN, _disc(1))
    if tight.sum() < 0.35 * inside.sum():
        return mask
    refined = np.zeros_like(mask)
    refined[window] = tight > 0
    return refined


def _disc(radius: int) -> np.ndarray:
    import cv2

    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _colours(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    import cv2

    histogram = cv2.calcHist([picture], [0, 1, 2], mask.astype(np.uint8), [6, 6, 6], [0, 256] * 3).ravel()
    return histogram / max(histogram.sum(), 1.0)


def _centre(mask: np.ndarray) -> np.ndarray:
    return np.array([axis.mean() for axis in np.nonzero(mask)])

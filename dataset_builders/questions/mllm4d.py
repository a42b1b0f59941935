"""MLLM-4D's seven kinds of question about two frames of a clip: measurement, wording and options.

Left open by MLLM-4D and decided here: the smallest motion and the smallest change that are asked about, how
frames are named, and how options are drawn so that they do not reveal the answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MOVED_METRES = 0.5  # shorter ways are not asked for in metres
DOMINANT = 2.0  # times as far along one axis as along any other, or the direction has no name
STILL_METRES, STILL_SHARE = 0.1, 0.05  # smaller changes count as none: of metres, and of the distances compared
CLEAR = 2.0  # times that threshold, from where a change is clear; what lies between is not asked
_UNIT_ERRORS = 4.0  # standard errors of the metre between two options
STEPS = (1.2, 1.5)  # from one distance on offer to the next larger one

_OPPOSITES = (("To the Left", "To the Right"), ("Upward", "Downward"), ("Backward", "Forward"))
DIRECTIONS = tuple(label for pair in _OPPOSITES for label in pair)
OPPOSITE = {one: other for pair in _OPPOSITES for one, other in (pair, pair[::-1])}
NEARER = ("Closer", "Farther Away", "Neither of Both")
SIDEWAYS = ("To the Left", "To the Right", "Neither of Both")
METRES = "metres"  # stands for the label of every question that a distance answers


@dataclass(frozen=True)
class TwoFrames:
    """Facts of two frames, in metres, in the axes of the camera at the first: x right, y down, z forward.

    Attributes:
        numbers (`tuple[int, int]`): Their places in the clip, the earlier one first.
        seconds (`tuple[float, float]`): Their times.
        camera (`np.ndarray` of shape `(2, 3)`): The camera's centres, of which the first is the origin.
        object_centers (`np.ndarray` of shape `(2, 3)`): The object's centres.
        nearest (`np.ndarray` of shape `(2, 2)`): How near the object's visible points come in each frame (rows) to
            where the camera is in each frame (columns).
        clear (`float`): Times what counts as no change, from where a change is clear.
    """

    numbers: tuple[int, int]
    seconds: tuple[float, float]
    camera: np.ndarray
    object_centers: np.ndarray
    nearest: np.ndarray
    clear: float = CLEAR


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    Attributes:
        question (`str`): With `{name}`, `{start}` and `{end}`.
        labels (`tuple[str, ...]`): What can be right.
        measure (`Callable`): The right answer, a number of metres or a label, or nothing where it is not clear.
        camera, object (`tuple[bool, bool]`): In which of the two frames the answer needs to know where they are.
    """

    question: str
    labels: tuple[str, ...]
    measure: Callable[[TwoFrames], float | str | None]
    camera: tuple[bool, bool]
    object: tuple[bool, bool]


def pick_two_frames(
    camera_to_world: np.ndarray,
    centres: np.ndarray,
    points: tuple[np.ndarray, np.ndarray],
    timestamps: list[float],
    numbers: tuple[int, int],
    clear: float = CLEAR,
) -> TwoFrames:
    """Put what is known of a clip into the axes of the camera at the first of two frames.

    Args:
        camera_to_world (`np.ndarray` of shape `(T, 4, 4)`): Poses in metres, OpenCV axes.
        centres (`np.ndarray` of shape `(T, 3)`): The object's centre in world metres.
        points (`tuple[np.ndarray, np.ndarray]`): World points `(n, 3)` of what is seen of it in either frame.
        timestamps (`list[float]`): Seconds.
        numbers (`tuple[int, int]`): The two frames.
        clear (`float`, *optional*, defaults to 2.0): See [`TwoFrames`]; less where everything is exact.
    """
    start, chosen = camera_to_world[numbers[0]], list(numbers)
    cameras = camera_to_world[chosen, :3, 3]
    nearest = [[np.linalg.norm(seen - camera, axis=1).min() for camera in cameras] for seen in points]
    return TwoFrames(
        numbers=numbers,
        seconds=(timestamps[numbers[0]], timestamps[numbers[1]]),
        camera=_to_camera_axes(start, cameras),
        object_centers=_to_camera_axes(start, centres[chosen]),
        nearest=np.array(nearest),
        clear=clear,
    )


def _to_camera_axes(camera_to_world: np.ndarray, points: np.ndarray) -> np.ndarray:
    """World points `(n, 3)` in a camera's own axes: Rᵀ (P - C)."""
    return (points - camera_to_world[:3, 3]) @ camera_to_world[:3, :3]


def word_question(kind: Kind, name: str, numbers: tuple[int, int], seconds: tuple[float, float]) -> str:
    """The words of a question.

    Args:
        kind ([`Kind`]): Which.
        name (`str`): What the object is called, without its article.
        numbers (`tuple[int, int]`): Places of the two frames among those that are shown.
        seconds (`tuple[float, float]`): Their times.
    """
    start, end = (f"frame {number} ({time:.1f} s)" for number, time in zip(numbers, seconds, strict=True))
    return kind.question.format(name=name, start=start, end=end)


def offer_labels(right: str, labels: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    """All labels if there are no more than four, the right one first; of more, two axes with both ends of each."""
    if len(labels) <= 4:
        return [right, *(label for label in labels if label != right)]
    (mine,) = (pair for pair in _OPPOSITES if right in pair)
    others = [pair for pair in _OPPOSITES if pair is not mine]
    return [right, *(label for label in mine if label != right), *others[int(rng.integers(len(others)))]]


def offer_metres(right: float, rng: np.random.Generator, scale_error: float = 0.0) -> list[str]:
    """Four distances, each at least a fifth larger than the one before; the right one stands first in the list.

    By size it is any of the four equally often, and the steps between them do not depend on which. MLLM-4D draws the
    others from 25 % to 175 % of the right one, which so comes to lie in the middle three times in four, and can be
    picked without any video. Where the metre itself is uncertain, the steps are so large that four standard errors
    do not lead from one option to the next.
    """
    widening = least_step(scale_error) / STEPS[0]
    sizes = np.cumprod([1.0, *(widening * rng.uniform(*STEPS, 3))])
    place = int(rng.integers(4))
    others = [size for number, size in enumerate(sizes) if number != place]
    return [metres(right), *(metres(right * size / sizes[place]) for size in others)]


def least_step(scale_error: float) -> float:
    """Ratio of two distances on offer, at least: the more, the less certain the metre is."""
    return max(STEPS[0], float(np.exp(_UNIT_ERRORS * scale_error)))


def metres(distance: float) -> str:
    """Format a distance as in options."""
    return f"{distance:.2f} m"


def _moved_metres(places: np.ndarray) -> float | None:
    distance = float(np.linalg.norm(places[1] - places[0]))
    return distance if distance >= MOVED_METRES else None


def camera_distance(frames: TwoFrames) -> float | None:
    """Distance that the camera moved: ‖C_j - C_i‖."""
    return _moved_metres(frames.camera)


def camera_direction(frames: TwoFrames) -> str | None:
    """Direction of the camera, seen from its start: the strongest part of R_iᵀ (C_j - C_i), poses camera-to-world.

    MLLM-4D prints this formula beside world-to-camera ones, for which its sign would be the opposite.
    """
    shift = frames.camera[1] - frames.camera[0]
    *_, second, axis = np.argsort(np.abs(shift))
    if np.linalg.norm(shift) < MOVED_METRES or abs(shift[axis]) < DOMINANT * abs(shift[second]):
        return None
    return _OPPOSITES[axis][int(shift[axis] > 0)]


def object_distance(frames: TwoFrames) -> float | None:
    """Distance that the object's centre moved."""
    return _moved_metres(frames.object_centers)


def object_camera_distance(frames: TwoFrames) -> float:
    """From the camera in the first frame to the nearest visible point of the object in the second."""
    return float(frames.nearest[1, 0])


def object_camera_change(frames: TwoFrames) -> str | None:
    """Whether the object's nearest visible point comes nearer to the camera, each frame with its own camera."""
    change = float(frames.nearest[1, 1] - frames.nearest[0, 0])
    return _label_change(change, frames.nearest.diagonal(), NEARER, frames.clear)


def object_camera_sideways(frames: TwoFrames) -> str | None:
    """Whether the object's centre goes left or right, in the axes of the camera at the start."""
    shift = frames.object_centers[1] - frames.object_centers[0]
    return _label_change(float(shift[0]), np.linalg.norm(frames.object_centers, axis=1), SIDEWAYS, frames.clear)


def object_camera_forward(frames: TwoFrames) -> str | None:
    """Whether the object's centre comes nearer along the line of sight of the camera at the start."""
    shift = frames.object_centers[1] - frames.object_centers[0]
    return _label_change(float(shift[2]), np.linalg.norm(frames.object_centers, axis=1), NEARER, frames.clear)


def _label_change(change: float, distances: np.ndarray, labels: tuple[str, str, str], clear: float) -> str | None:
    """Choose one of three labels for a change: the first if it is negative, the last if it is close to zero."""
    still = max(STILL_METRES, STILL_SHARE * float(np.mean(distances)))
    if abs(change) <= still:
        return labels[2]
    return labels[int(change > 0)] if abs(change) >= clear * still else None


_BOTH, _NONE, _FIRST, _SECOND = (True, True), (False, False), (True, False), (False, True)
KINDS = {
    "camera_distance": Kind(
        "Approximately how far (in metres) did the camera move between {start} and {end}?",
        (METRES,),
        camera_distance,
        camera=_BOTH,
        object=_NONE,
    ),
    "camera_direction": Kind(
        "From {start} to {end}, what was the camera's primary translation, relative to its position at the start?",
        DIRECTIONS,
        camera_direction,
        camera=_BOTH,
        object=_NONE,
    ),
    "object_distance": Kind(
        "Approximately how far (in metres) did the {name} move between {start} and {end}?",
        (METRES,),
        object_distance,
        camera=_NONE,
        object=_BOTH,
    ),
    "object_camera_distance": Kind(
        "What is the approximate distance (in metres) between the camera in {start} and the nearest point of the "
        "{name} in {end}?",
        (METRES,),
        object_camera_distance,
        camera=_FIRST,
        object=_SECOND,
    ),
    "object_camera_change": Kind(
        "From {start} to {end}, is the distance between the {name} and the camera getting closer or farther away?",
        NEARER,
        object_camera_change,
        camera=_BOTH,
        object=_BOTH,
    ),
    "object_camera_sideways": Kind(
        "From {start} to {end}, is the {name} getting left or right, relative to the camera's position at the start?",
        SIDEWAYS,
        object_camera_sideways,
        camera=_FIRST,
        object=_BOTH,
    ),
    "object_camera_forward": Kind(
        "From {start} to {end}, is the {name} getting closer or farther away, relative to the camera's position at "
        "the start?",
        NEARER,
        object_camera_forward,
        camera=_FIRST,
        object=_BOTH,
    ),
}


def asks_for_metres(task: str) -> bool:
    """Whether distances answer a kind of question."""
    return task in KINDS and KINDS[task].labels == (METRES,)

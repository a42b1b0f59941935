"""Scenes for questions about what comes after a cut: places first, then an answer, then motions that give it.

Where camera and objects are, in the first frame or in the last one shown, is drawn before any motion, and only scenes
are kept in which each answer is possible from there; which of them it will be is then drawn evenly. So that frame says
nothing of the answer. Objects rest until shortly before the cut and go on evenly after it, so that other frames say
little: most of the way is still to come.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from .scene import COLOURS, SHAPES, Scene, SceneObject, project

SHOWN_FRAMES = 8
FRAMES, FPS = 13, 2.0  # of a whole clip
AHEAD = (3, 4, 5)  # frames after the cut
TASKS: Mapping[str, tuple[str, ...]] = {
    "future_place": ("Shifted Right", "Shifted Up", "Shifted Left", "Shifted Down"),
    "future_distance": ("Nearer to the Camera", "Farther from the Camera", "About as Far as Before"),
    "future_nearer": ("keeps", "changes"),
    "future_meet": (
        "They Will Meet",
        "They Will Come Closer without Meeting",
        "They Will Move Apart",
        "They Will Keep Their Distance",
    ),
}

_FIELD_OF_VIEW = np.radians(66.0)
_FOCAL = 0.5 / np.tan(_FIELD_OF_VIEW / 2)  # in image sides
_HEIGHT, _PITCH, _ROLL = (5.0, 9.0), (25.0, 60.0), (-20.0, 20.0)  # metres, degrees
_OBJECTS = (3, 5)
_SIZE = (1.0, 1.4)  # metres, half an object's height
_WINDOW, _MIDDLE = (0.1, 0.9), (0.15, 0.85)  # of the image, in which objects begin; those in question
_IN_VIEW = (0.07, 0.93)  # in which those in question stay
_DEPTHS = (4.0, 17.0)
_SPEED = (1.0, 3.0)  # metres a second
_BEGIN = (2.6, 3.0)  # seconds at which motions begin, shortly before the cut
# Shares of scenes in which places are drawn as of the last shown frame, not of the first.
_AT_CUT = {"future_place": 0.1, "future_distance": 0.1, "future_nearer": 0.5, "future_meet": 0.35}
_RESTS, _AIMS = 0.25, 0.5  # shares of objects
_DRAWN = 250  # motions among which those of an answer are looked for
_SPOTS = 24  # places among which each object takes the first that is free
_TRIES = 200
# Radius of a shape, in halves of its height, and the distance of two middles that count as touching, in sums of radii.
_RADII = {"ball": 1.0, "box": 0.95, "can": 0.65}
_TOUCHING, _FREE = 1.03, 1.65
_MIN_SHIFT, _MAX_ANGLE = 0.09, 28.0  # of the image; degrees off an axis
_LEAST_ROOM, _ROOM_SIZES = 0.05, 0.3  # beside an object, of the image and of its own height
_NEARER, _SAME, _TIE = 0.16, 0.03, 0.22  # logarithms of ratios of distances
_CLOSER, _KEPT = 0.7, 0.05


@dataclass(frozen=True)
class FuturePlan:
    """What a clip is made to be asked.

    Attributes:
        task (`str`): One of `TASKS`.
        label (`str`): The right answer.
        until (`int`): The frame that the question is about.
    """

    task: str
    label: str
    until: int


@dataclass(frozen=True)
class _Motions:
    """Ways of all objects of a scene: many draws at once.

    Attributes:
        paths (`np.ndarray` of shape `(draws, frames, objects, 3)`): World metres.
        seen (`np.ndarray` of shape `(draws, frames, asked, 3)`): Of objects in question column and row in image sides
            and depth in metres.
        apart (`np.ndarray` of shape `(draws, frames)`): Distance of the first two objects, in sums of their radii.
        metres (`np.ndarray` of shape `(draws, frames, asked)`): Their distances from the camera.
        known (`int`): The frame whose places were drawn.
        until (`int`): The frame that is asked about.
    """

    paths: np.ndarray
    seen: np.ndarray
    apart: np.ndarray
    metres: np.ndarray
    known: int
    until: int


def draw_future_scene(seed: int, task: str) -> tuple[Scene, FuturePlan]:
    """Draw a scene and what is asked about its first object or its first two.

    Args:
        seed (`int`): Which.
        task (`str`): One of `TASKS`.
    """
    rng = np.random.default_rng([seed, 19, list(TASKS).index(task)])
    for _ in range(_TRIES):
        found = _try_scene(rng, task)
        if found is not None:
            return found
    raise RuntimeError(f"no scene for {task} among {_TRIES}")


def _try_scene(rng: np.random.Generator, task: str) -> tuple[Scene, FuturePlan] | None:
    pose = _draw_camera(rng)
    count = int(rng.integers(_OBJECTS[0], _OBJECTS[1] + 1))
    sizes, shapes = rng.uniform(*_SIZE, count), [str(shape) for shape in rng.choice(SHAPES, count)]
    radii = sizes * [_RADII[shape] for shape in shapes]
    asked = 1 if task in ("future_place", "future_distance") else 2
    starts = _draw_places(rng, pose, sizes, radii, asked)
    if starts is None:
        return None
    until = SHOWN_FRAMES - 1 + int(rng.choice(AHEAD))
    known = SHOWN_FRAMES - 1 if rng.random() < _AT_CUT[task] else 0
    motions = _draw_motions(rng, pose, starts, radii, known, until, task, asked)
    usable = _stays_in_view(motions, sizes[:asked]) & _keeps_clear(motions, radii, asked, task)
    if task == "future_place":
        usable &= _has_room(motions, float(sizes[0]))
    labels = _LABELS[task](motions)
    fitting = [np.flatnonzero(usable & (labels == number)) for number in range(len(TASKS[task]))]
    if not all(len(draws) for draws in fitting):
        return None  # an answer that cannot be makes the others likelier
    number = int(rng.integers(len(fitting)))
    paths = motions.paths[rng.choice(fitting[number])]
    colours = rng.permutation(list(COLOURS))[:count]
    objects = tuple(
        SceneObject(str(colour), shape, float(size), paths[:, index])
        for index, (colour, shape, size) in enumerate(zip(colours, shapes, sizes, strict=True))
    )
    light = np.array([rng.uniform(-1, 1), rng.uniform(-1.5, -0.5), 2.0])
    scene = Scene(objects, np.tile(pose, (FRAMES, 1, 1)), float(_FIELD_OF_VIEW), int(rng.integers(8)), light)
    return scene, FuturePlan(task, TASKS[task][number], until)


def _draw_camera(rng: np.random.Generator) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0.0]])  # right, down, forward along the world's +y
    angles = np.radians([-rng.uniform(*_PITCH), rng.uniform(*_ROLL)])
    pose[:3, :3] = pose[:3, :3] @ Rotation.from_euler("xz", angles).as_matrix()
    pose[2, 3] = rng.uniform(*_HEIGHT)
    return pose


def _draw_places(
    rng: np.random.Generator, pose: np.ndarray, sizes: np.ndarray, radii: np.ndarray, asked: int
) -> np.ndarray | None:
    """Middles of objects that stand on the ground, evenly spread over the picture; `None` if one finds no room."""
    places: list[np.ndarray] = []
    for index, size in enumerate(sizes):
        low, high = _MIDDLE if index < asked else _WINDOW
        spots = (rng.uniform(low, high, (_SPOTS, 2)) - 0.5) / _FOCAL
        rays = np.column_stack([spots, np.ones(_SPOTS)]) @ pose[:3, :3].T
        depths = (pose[2, 3] - size) / np.maximum(-rays[:, 2], 1e-3)
        found = pose[:3, 3] + rays * depths[:, None]
        free = (depths > _DEPTHS[0]) & (depths < _DEPTHS[1])
        for other, place in enumerate(places):
            free &= np.linalg.norm(found - place, axis=1) > _FREE * (radii[index] + radii[other])
        if not free.any():
            return None
        places.append(found[np.argmax(free)])
    return np.array(places)


def _draw_motions(
    rng: np.random.Generator,
    pose: np.ndarray,
    starts: np.ndarray,
    radii: np.ndarray,
    known: int,
    until: int,
    task: str,
    asked: int,
) -> _Motions:
    """Many ways that the objects in question may go, and one of all others."""
    count = len(starts)
    shape = (_DRAWN, count)
    angles, speeds, begins = rng.uniform(0, 2 * np.pi, shape), rng.uniform(*_SPEED, shape), rng.uniform(*_BEGIN, shape)
    speeds[rng.random(shape) < _RESTS] = 0
    for values in (angles, speeds, begins):
        values[:, asked:] = values[0, asked:]
    if task == "future_place":
        along = _angles_along_picture(pose, starts[0])
        angles[:, 0] = along[rng.integers(4, size=_DRAWN)] + rng.normal(0, 0.1, _DRAWN)
    # Two in question go for each other in some draws: chance alone would hardly ever make them meet.
    for one, other in ((0, 1), (1, 0)) if task == "future_meet" else ():
        way = starts[other] - starts[one]
        aimed = np.arctan2(way[1], way[0]) + rng.normal(0, 0.35, _DRAWN)
        angles[:, one] = np.where(rng.random(_DRAWN) < _AIMS, aimed, angles[:, one])
    seconds = np.arange(FRAMES) / FPS
    gone = speeds[:, None] * np.maximum(seconds[None, :, None] - begins[:, None], 0)
    gone -= gone[:, known : known + 1]
    ways = np.stack([np.cos(angles), np.sin(angles), np.zeros(shape)], axis=-1)
    paths = starts + gone[..., None] * ways[:, None]
    apart = np.linalg.norm(paths[:, :, 0] - paths[:, :, 1], axis=-1) / (radii[0] + radii[1])
    if task == "future_meet":
        _stop_at_touch(paths, apart)
    questioned = paths[:, :, :asked]
    away = np.linalg.norm(questioned - pose[:3, 3], axis=-1)
    return _Motions(paths, project(questioned, pose, _FOCAL), apart, away, known, until)


def _angles_along_picture(pose: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Headings on the ground that look like right, up, left and down in the picture, in radians."""
    steps = 0.01 * np.array([[1.0, 0, 0], [0, 1.0, 0]])
    moved = (project(place + steps, pose, _FOCAL) - project(place, pose, _FOCAL))[:, :2]
    ways = np.array([[1, 0], [0, -1], [-1, 0], [0, 1]]) @ np.linalg.inv(moved)
    return np.arctan2(ways[:, 1], ways[:, 0])


def _stop_at_touch(paths: np.ndarray, apart: np.ndarray) -> None:
    """Let the first two objects stop where they touch, to the frame before it if that is nearer (in place)."""
    for draw in np.flatnonzero((apart < _TOUCHING).any(axis=1)):
        frame = int(np.argmax(apart[draw] < _TOUCHING))
        if frame == 0:
            continue
        before, after = apart[draw, frame - 1], apart[draw, frame]
        share = (before - _TOUCHING) / (before - after)
        meeting = paths[draw, frame - 1, :2] + share * (paths[draw, frame, :2] - paths[draw, frame - 1, :2])
        paths[draw, frame:, :2] = meeting
        apart[draw, frame:] = _TOUCHING


def _stays_in_view(motions: _Motions, sizes: np.ndarray) -> np.ndarray:
    """Draws in which the objects in question are whole in the picture in every frame up to the one asked about."""
    part = motions.seen[:, : motions.until + 1]
    half = _FOCAL * sizes / np.maximum(part[..., 2], 0.1)
    low, high = _IN_VIEW
    inside = (part[..., :2] - half[..., None] > low - 0.05) & (part[..., :2] + half[..., None] < high + 0.05)
    return (inside.all(axis=-1) & (part[..., 2] > 2.0)).all(axis=(1, 2))


def _has_room(motions: _Motions, size: float) -> np.ndarray:
    """Draws that `future_facts` does not leave out for lack of room, which would make last places tell answers."""
    before, after = motions.seen[:, SHOWN_FRAMES - 1, 0], motions.seen[:, motions.until, 0, :2]
    half = _FOCAL * size / np.maximum(before[:, 2:], 0.1)
    opposite = 2 * before[:, :2] - after
    room = np.minimum(before[:, :2], 1 - before[:, :2]) - np.maximum(_LEAST_ROOM, _ROOM_SIZES * 2 * half)
    return ((np.minimum(opposite, 1 - opposite) > half) & (room > half)).all(axis=1)


def _keeps_clear(motions: _Motions, radii: np.ndarray, asked: int, task: str) -> np.ndarray:
    """Draws in which nobody walks through one in question, but for two that may meet."""
    count = len(radii)
    clear: np.ndarray = np.ones(len(motions.paths), bool)
    for one in range(asked):
        for other in range(one + 1, count):
            if (one, other) == (0, 1) and task == "future_meet":
                continue
            gaps = np.linalg.norm(motions.paths[:, :, one] - motions.paths[:, :, other], axis=-1)
            clear &= (gaps[:, : motions.until + 1] > 1.2 * (radii[one] + radii[other])).all(axis=1)
    return clear


def _label_places(motions: _Motions) -> np.ndarray:
    shift = motions.seen[:, motions.until, 0, :2] - motions.seen[:, SHOWN_FRAMES - 1, 0, :2]
    angle = np.degrees(np.arctan2(-shift[:, 1], shift[:, 0])) % 360
    sector = np.round(angle / 90).astype(int) % 4
    off = np.abs((angle - 90 * sector + 180) % 360 - 180)
    sure = (off < _MAX_ANGLE / 2) & (np.linalg.norm(shift, axis=1) > _MIN_SHIFT)
    return np.where(sure, sector, -1)


def _label_distances(motions: _Motions) -> np.ndarray:
    change = np.log(motions.metres[:, motions.until, 0] / motions.metres[:, SHOWN_FRAMES - 1, 0])
    return np.select([change < -_NEARER, change > _NEARER, np.abs(change) < _SAME], [0, 1, 2], -1)


def _label_order(motions: _Motions) -> np.ndarray:
    """Whether the nearer of two, where places were drawn, is still the nearer one: what is seen there is no help."""
    ratios = np.log(motions.metres[..., 0] / motions.metres[..., 1])
    before, after = ratios[:, motions.known], ratios[:, motions.until]
    sure = np.abs(after) > _TIE
    return np.where(sure, (before * after < 0).astype(int), -1)


def _label_meetings(motions: _Motions) -> np.ndarray:
    cut, until = SHOWN_FRAMES - 1, motions.until
    before, after = motions.apart[:, cut], motions.apart[:, until]
    met = motions.apart[:, cut : until + 1].min(axis=1) <= _TOUCHING + 1e-6
    clear = (motions.apart[:, : until + 1] > _FREE).all(axis=1)
    ratio = after / before
    found = np.select(
        [met, ratio < _CLOSER, ratio > 1 / _CLOSER, np.abs(np.log(ratio)) < _KEPT],
        [0, 1, 2, 3],
        -1,
    )
    return np.where((before > _FREE) & (met | clear), found, -1)


_LABELS: Mapping[str, Callable[[_Motions], np.ndarray]] = {
    "future_place": _label_places,
    "future_distance": _label_distances,
    "future_nearer": _label_order,
    "future_meet": _label_meetings,
}

"""Draw scenes whose single frames do not reveal how anything moves.

Where the camera starts and where the objects stand is drawn before any motion, and only what would stay in view
whichever motion follows is asked about; so the first frame says nothing. Later frames say little because the scene
looks the same everywhere: objects are scattered evenly over the ground, and the camera's height, pitch and roll vary
by more than a clip changes them. Half of the clips run backward, so that what the last frame still tells is shared
between both ends.
"""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from ..geometry.camera_motion import CAMERA_LABELS
from .scene import COLOURS, SHAPES, Scene, SceneObject, project

_FIELD_OF_VIEW = np.radians(66.0)
_FOCAL = 0.5 / np.tan(_FIELD_OF_VIEW / 2)  # in image sides

# Where the camera starts: metres above the ground, degrees below the horizon, degrees about the line of sight.
_HEIGHT = (4.5, 9.0)
_PITCH = (12.0, 72.0)
_ROLL = (-45.0, 45.0)
# How far it goes over a clip, smallest and largest: degrees for turns, metres for moves.
_CAMERA_REACH = {
    "Pan": (20, 35),
    "Tilt": (9, 14),
    "Roll": (20, 35),
    "Dolly": (2.0, 2.8),
    "Truck": (3.0, 5.0),
    "Pedestal": (1.6, 2.4),
}
_STILL_CAMERAS = 0.3  # share of clips
# Of clips that run backward: what an end tells of the motion to it is so shared evenly between first and last frame.
_BACKWARD = 0.5

_FIELD_RADIUS = 24.0  # metres around the camera
_DENSITY = 0.018  # objects a square metre
_SIZE = (1.4, 2.0)  # metres, half an object's height
_STILL_OBJECTS = 0.3  # share of those that could move
_REACH_SIDEWAYS, _REACH_DEPTH = (1.3, 1.7), (1.4, 1.9)  # metres over a clip
_SLANT = 0.2  # of the way, at right angles to it
_CLEARANCE = 4.6  # metres between centres, so that nobody walks through anybody

# The window in which an object shows, about the middle of the image, in image sides; and how tall it must be there.
_WINDOW = 0.46
_HEIGHT_IN_IMAGE = 7.0 / 56

# The axis of each motion of the camera, in its own axes: about which it turns, or along which it goes.
LOCAL_AXES = {
    "Pan Left": (0, -1, 0), "Pan Right": (0, 1, 0), "Tilt Up": (1, 0, 0), "Tilt Down": (-1, 0, 0),
    "Roll Clockwise": (0, 0, 1), "Roll Counterclockwise": (0, 0, -1),
    "Dolly In": (0, 0, 1), "Dolly Out": (0, 0, -1), "Truck Left": (-1, 0, 0), "Truck Right": (1, 0, 0),
    "Pedestal Up": (0, -1, 0), "Pedestal Down": (0, 1, 0),
}  # fmt: skip
# Ways along the ground as seen from the camera: right, forward.
_WAYS = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])


def sample_scene(rng: np.random.Generator, frames: int, grounds: int, slowest: float = 1.0) -> Scene:
    """Draw a scene: objects around a camera that mostly moves, at least one of them at rest.

    Args:
        rng (`np.random.Generator`): Source of every choice.
        frames (`int`): Length of the paths.
        grounds (`int`): How many ground textures there are.
        slowest (`float`, *optional*, defaults to 1.0): Some objects go a share of their way, at least this.
    """
    progress = np.linspace(0.0, 1.0, frames)
    objects: tuple[SceneObject, ...] = ()
    while not objects:
        start = _sample_start(rng)
        cameras = _sample_cameras(rng, start, progress)
        label = str(rng.choice(CAMERA_LABELS)) if rng.random() >= _STILL_CAMERAS else None
        poses = np.tile(start, (frames, 1, 1)) if label is None else cameras[CAMERA_LABELS.index(label)]
        objects = _sample_objects(rng, progress, start, cameras, poses, slowest)
    if rng.random() < _BACKWARD:
        poses = poses[::-1]
        objects = tuple(replace(item, path=item.path[::-1]) for item in objects)
    return _turn_about_z(
        rng.uniform(0, 2 * np.pi),
        Scene(
            objects=objects,
            camera_to_world=poses,
            field_of_view=float(_FIELD_OF_VIEW),
            ground=int(rng.integers(grounds)),
            light=np.array([rng.uniform(-1, 1), rng.uniform(-1.5, -0.5), 2.0]),
        ),
    )


def _sample_start(rng: np.random.Generator) -> np.ndarray:
    """A camera-to-world pose above the origin that looks along +y, downwards and tilted to one side."""
    pitch = np.radians(rng.uniform(*_PITCH))
    start = np.eye(4)
    # Columns: the camera's right, down and forward in the world.
    start[:3, 0] = (1, 0, 0)
    start[:3, 1] = (0, -np.sin(pitch), -np.cos(pitch))
    start[:3, 2] = (0, np.cos(pitch), -np.sin(pitch))
    start[:3, 3] = (0, 0, rng.uniform(*_HEIGHT))
    start[:3, :3] = start[:3, :3] @ Rotation.from_rotvec([0, 0, rng.uniform(*_ROLL)], degrees=True).as_matrix()
    return start


def _sample_cameras(rng: np.random.Generator, start: np.ndarray, progress: np.ndarray) -> np.ndarray:
    """A path from one start for every label, in the order of `CAMERA_LABELS`: `(labels, frames, 4, 4)`."""
    paths = []
    for label in CAMERA_LABELS:
        kind, axis = label.split()[0], np.array(LOCAL_AXES[label], dtype=float)
        way = rng.uniform(*_CAMERA_REACH[kind]) * progress[:, None] * axis
        steps = np.tile(np.eye(4), (len(progress), 1, 1))
        if kind in ("Pan", "Tilt", "Roll"):
            steps[:, :3, :3] = Rotation.from_rotvec(way, degrees=True).as_matrix()
        else:
            steps[:, :3, 3] = way
        paths.append(start @ steps)
    return np.stack(paths)


def _sample_objects(
    rng: np.random.Generator,
    progress: np.ndarray,
    start: np.ndarray,
    cameras: np.ndarray,
    poses: np.ndarray,
    slowest: float,
) -> tuple[SceneObject, ...]:
    """The objects that some camera could see; none where there are more than colours to tell them apart."""
    places = _scatter(rng)
    sizes = rng.uniform(*_SIZE, len(places))
    centres = np.column_stack([places, sizes])
    ends = np.concatenate([start[None], cameras[:, -1]])
    near = _shows(centres, sizes, ends[:, None], window=0.6).any(axis=0)
    if not 2 <= near.sum() <= len(COLOURS):
        return ()
    centres, sizes = centres[near], sizes[near]
    ways = _sample_ways(rng, start, len(sizes))
    if slowest < 1.0:
        ways *= rng.uniform(slowest, 1.0, (len(sizes), 1))
    chosen, free = _choose_ways(rng, centres, ways)
    # Where each object would end, by its way (the last one is to stay) and by object.
    targets = centres + np.concatenate([ways, np.zeros_like(ways[:1])])
    went = targets[chosen, np.arange(len(sizes))]
    fits_any_camera = _shows(centres, sizes, start) & _shows(went, sizes, ends[:, None]).all(axis=0)
    fits_any_motion = free & _shows(centres, sizes, start) & _shows(targets, sizes, poses[-1]).all(axis=0)
    colours = rng.permutation(list(COLOURS))
    return tuple(
        SceneObject(
            colour=str(colours[index]),
            shape=str(rng.choice(SHAPES)),
            size=float(sizes[index]),
            path=centres[index] + (went[index] - centres[index]) * progress[:, None],
            fits_any_camera=bool(fits_any_camera[index]),
            fits_any_motion=bool(fits_any_motion[index]),
        )
        for index in rng.permutation(len(sizes))
    )


def _scatter(rng: np.random.Generator) -> np.ndarray:
    """Places on the ground, evenly spread and nowhere too close together: `(n, 2)` metres."""
    count = rng.poisson(_DENSITY * np.pi * _FIELD_RADIUS**2)
    angles, radii = rng.uniform(0, 2 * np.pi, count), _FIELD_RADIUS * np.sqrt(rng.random(count))
    places = np.column_stack([radii * np.cos(angles), radii * np.sin(angles)])
    apart = np.linalg.norm(places[:, None] - places, axis=2) > _CLEARANCE
    kept: list[int] = []
    for index in range(count):
        if apart[index, kept].all():
            kept.append(index)
    return places[kept]


def _sample_ways(rng: np.random.Generator, start: np.ndarray, count: int) -> np.ndarray:
    """How far each object would go in each of `_WAYS`, world metres: `(4, count, 3)`."""
    right = start[:2, 0] / np.linalg.norm(start[:2, 0])
    axes = np.array([right, (-right[1], right[0])])  # the camera's right and forward along the ground
    reach = np.stack([rng.uniform(*bounds, count) for bounds in (_REACH_SIDEWAYS, _REACH_DEPTH)])
    lengths = np.repeat(reach, 2, axis=0)[..., None]
    across = _WAYS[:, None, ::-1] * rng.uniform(-_SLANT, _SLANT, (4, count, 1))
    ways = np.zeros((4, count, 3))
    ways[..., :2] = lengths * (_WAYS[:, None] + across) @ axes
    return ways


def _choose_ways(rng: np.random.Generator, centres: np.ndarray, ways: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A way for each object, 4 to stay; and which objects are free to go any way, of which all others stay."""
    count = len(centres)
    chosen, free = np.full(count, 4), np.zeros(count, bool)
    went = centres.copy()
    steps = np.linspace(0, 1, 5)[:, None]
    for index in rng.permutation(count):
        others = [other for other in range(count) if other != index]
        theirs = centres[others] + steps[..., None] * (went - centres)[others]
        mine = centres[index] + steps * ways[:, None, index]
        # Of shape (ways, steps, objects, 3): wherever this object may be when the others are where they are.
        gaps = np.linalg.norm(mine[:, :, None] - theirs, axis=-1)
        free[index] = bool((gaps > _CLEARANCE).all())
        if free[index] and rng.random() >= _STILL_OBJECTS:
            chosen[index] = rng.integers(4)
            went[index] = centres[index] + ways[chosen[index], index]
    return chosen, free


def _shows(centres: np.ndarray, sizes: np.ndarray, poses: np.ndarray, window: float = _WINDOW) -> np.ndarray:
    """Whether points are inside a window of the image and large enough, for poses that broadcast with the points."""
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = project(centres, poses, _FOCAL)
        tall = 2 * sizes * _FOCAL / seen[..., 2]
    return (seen[..., 2] > 1.5) & (np.abs(seen[..., :2] - 0.5) < window).all(axis=-1) & (tall > _HEIGHT_IN_IMAGE)


def _turn_about_z(angle: float, scene: Scene) -> Scene:
    """The same scene with another heading."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([0, 0, angle]).as_matrix()
    objects = tuple(replace(item, path=item.path @ turn[:3, :3].T) for item in scene.objects)
    return Scene(objects, turn @ scene.camera_to_world, scene.field_of_view, scene.ground, turn[:3, :3] @ scene.light)

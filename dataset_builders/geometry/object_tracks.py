"""Find the moving objects of a clip without any weights (`--objects flow`)."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import combinations

import cv2
import numpy as np

from ...modeling.clip import Clip
from ..clip_record import CameraPoses, ObjectTrack
from .masks import connected_parts, disc, encode_mask
from .object_chains import MIN_PICTURE_SHARE, Chain, centre, follow_objects
from .object_flow import Motion, measure_motion, static_size_noise

NAME = "moving object"
MAX_OBJECTS = 3
_MIN_WEIGHT = 0.25  # of the clearest mover; what is less is nothing that a person would be asked about
_MIN_APART = 0.15  # of the picture's width or height, between objects that are told apart by their places
_PLACES = {
    2: (("on the left", "on the right"), ("at the top", "at the bottom")),
    3: (("on the left", "in the middle", "on the right"), ("at the top", "in the middle", "at the bottom")),
}
_BESIDE = 6  # pixels from an object's mask, within which its own edge and shadow may move
_MIN_EPIPOLAR_PIXELS = 0.5
_EPIPOLAR_FACTOR = 4.0


def find_objects(
    clip: Clip, camera: CameraPoses | None = None, names: Sequence[str] = (), max_objects: int = MAX_OBJECTS
) -> list[ObjectTrack]:
    """Find what moves in a clip against its background, the clearest first.

    Args:
        clip ([`Clip`]): The frames of one window, near enough in time that neighbours overlap (6 to 15 a second).
        camera ([`CameraPoses`], *optional*): Its camera. Of a camera that changes its place, what may stand still
            nearer or farther than the rest is left out; without one it may be taken for a moving object.
        names (`Sequence[str]`, *optional*): What to call the objects, the clearest first. By default `moving object`,
            with a place (`on the left`) where there are two or three. Objects that their places do not tell apart are
            sure only while nothing else moves, so that a question about that time can name them.
        max_objects (`int`, *optional*, defaults to 3): Most objects that are kept.

    Returns:
        `list[ObjectTrack]`: Masks at the size of the frames; empty where nothing moves.

    Raises:
        ClipError: If the clip is too short, or the background cannot be told from what moves (`unclear`).
    """
    motion = measure_motion(clip, still=camera is not None and camera.kind == "still")
    chains = follow_objects(motion)
    if camera is not None and camera.kind in ("up_to_scale", "metric"):
        chains = [chain for chain in chains if not _may_be_parallax(chain, motion, camera, clip.frames[0].size)]
    clear = [chain for chain in chains if chain.weight >= _MIN_WEIGHT * chains[0].weight]
    chains = clear[:max_objects]
    errors = {
        "background_share": float(np.median(motion.share)),
        "background_pixels": float(np.median(motion.residual)),
    }
    if np.isfinite(static := static_size_noise(motion)):
        errors["static_size"] = static
    called = list(names[: len(chains)])
    if not called and len(clear) == len(chains):
        called = name_by_place(NAME, [chain.masks for chain in chains])
    size, count = clip.frames[0].size, len(clip.frames)
    tracks = [_as_track(chain, size, count, name, errors) for chain, name in zip(chains, called, strict=False)]
    return tracks + [
        _as_track(chain, size, count, NAME, errors, _frames_alone(chain, motion)) for chain in chains[len(called) :]
    ]


def _as_track(
    chain: Chain,
    size: tuple[int, int],
    frames: int,
    name: str,
    errors: dict[str, float],
    known: Iterable[int] | None = None,
) -> ObjectTrack:
    """A chain at the size of the frames, sure only in some of them if these are given."""
    masks: list[dict | None] = [None] * frames
    for frame, mask in chain.masks.items():
        masks[frame] = encode_mask(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5)
    sure = chain.sure_frames() if known is None else chain.sure_frames() & set(known)
    errors = {**errors, "mask_size": chain.size_error()}
    made_by = {"opencv": version("opencv-python-headless")}
    return ObjectTrack(name, tuple(masks), np.isin(np.arange(frames), sorted(sure)), made_by, errors)


def _frames_alone(chain: Chain, motion: Motion) -> list[int]:
    """The frames in which nothing else of a size that counts moves."""
    near, alone = disc(_BESIDE), []
    for frame, mask in chain.masks.items():
        others = motion.moving[frame] & (cv2.dilate(mask.astype(np.uint8), near) == 0)
        opened = cv2.morphologyEx(others.astype(np.uint8), cv2.MORPH_OPEN, disc(2))
        if not connected_parts(opened, max(MIN_PICTURE_SHARE, _MIN_WEIGHT * mask.mean())):
            alone.append(frame)
    return alone


def name_by_place(name: str, objects: Sequence[Mapping[int, np.ndarray]]) -> list[str]:
    """Names for one object, or for two or three that keep their order from left to right or from top to bottom.

    Args:
        name (`str`): What each of them is.
        objects (`Sequence[Mapping[int, np.ndarray]]`): For each object frame number to mask `(h, w)`, bool.

    Returns:
        `list[str]`: Empty where their places do not tell them apart.
    """
    if len(objects) == 1:
        return [name]
    if len(objects) not in _PLACES:
        return []
    for axis, places in enumerate(_PLACES[len(objects)]):
        order = _order(objects, axis)
        if order is not None:
            return [f"{name} {places[rank]}" for rank in order]
    return []


def _order(objects: Sequence[Mapping[int, np.ndarray]], axis: int) -> list[int] | None:
    """The rank of each object along columns (0) or rows (1), if it is the same in all frames that two share."""
    ranks = [0] * len(objects)
    for one, other in combinations(range(len(objects)), 2):
        first, second = objects[one], objects[other]
        gaps = [
            (centre(second[frame])[axis] - centre(first[frame])[axis]) / first[frame].shape[1 - axis]
            for frame in first.keys() & second.keys()
        ]
        if not gaps or not (min(gaps) > _MIN_APART or max(gaps) < -_MIN_APART):
            return None
        ranks[other if gaps[0] > 0 else one] += 1
    return ranks


def _may_be_parallax(chain: Chain, motion: Motion, camera: CameraPoses, size: tuple[int, int]) -> bool:
    """Whether the flow within an object runs along epipolar lines, as that of a resting object would."""
    scale = motion.frames.shape[2] / size[0]
    intrinsics = np.diag([scale, scale, 1.0]) @ camera.intrinsics
    votes = []
    for frame in chain.moved:
        if frame + 1 >= len(motion.frames) or not camera.registered[frame : frame + 2].all():
            continue
        fundamental = _fundamental_matrix(camera.camera_to_world[frame], camera.camera_to_world[frame + 1], intrinsics)
        distance = _sampson_pixels(fundamental, motion.forward[frame])
        inside = chain.moved[frame]
        around = np.median(distance[~motion.moving[frame]])
        votes.append(np.median(distance[inside]) > max(_EPIPOLAR_FACTOR * around, _MIN_EPIPOLAR_PIXELS))
    return not votes or float(np.mean(votes)) < 0.5


def _fundamental_matrix(first: np.ndarray, second: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    relative = np.linalg.inv(second) @ first
    x, y, z = relative[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ relative[:3, :3]
    inverse = np.linalg.inv(intrinsics)
    return inverse.T @ essential @ inverse


def _sampson_pixels(fundamental: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """First-order distance of each flow vector `(h, w, 2)` from agreeing with a fundamental matrix, in pixels."""
    rows, columns = np.mgrid[: flow.shape[0], : flow.shape[1]]
    here = np.stack([columns, rows, np.ones_like(rows)], axis=-1).astype(float)
    there = here + np.concatenate([flow, np.zeros((*flow.shape[:2], 1))], axis=-1)
    line_there, line_here = here @ fundamental.T, there @ fundamental
    product = (there * line_there).sum(axis=-1)
    slope = (line_there[..., :2] ** 2).sum(axis=-1) + (line_here[..., :2] ** 2).sum(axis=-1)
    return np.abs(product) / np.sqrt(np.maximum(slope, 1e-12))

"""Clips of textured planes whose camera path is known: one wall, or a scene with depth."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from fourdthinker.modeling.processing import Clip

_TEXTURE_SIDE, _PIXELS_A_METRE = 1024, 120.0


@dataclass(frozen=True)
class Plane:
    """A rectangle with a texture of its own, in the axes of the world (x right, y down, z forward), in metres."""

    origin: tuple[float, float, float]
    right: tuple[float, float, float]
    down: tuple[float, float, float]
    half_width: float
    half_height: float
    texture: int


def one_wall(rng: np.random.Generator, distance: float = 4.0) -> list[Plane]:
    """A wall that fills the view, seldom met at a right angle."""
    turned = Rotation.from_euler("yx", rng.uniform(-25, 25, 2), degrees=True).as_matrix()
    middle = (0, 0, distance)
    return [Plane(middle, tuple(turned[:, 0]), tuple(turned[:, 1]), 40, 40, int(rng.integers(1000)))]


def scene_with_depth(rng: np.random.Generator, nearest: float = 2.5) -> list[Plane]:
    """A back wall, a ground, and boards at many distances."""
    seed = int(rng.integers(1000))
    planes = [
        Plane((0, 0, 9.0), (1, 0, 0), (0, 1, 0), 60, 60, seed),
        Plane((0, 1.6, 4.0), (1, 0, 0), (0, 0, -1), 40, 12, seed + 1),
    ]
    for number in range(7):
        depth = nearest + 5 * rng.random()
        turned = Rotation.from_euler("y", rng.uniform(-30, 30), degrees=True).as_matrix()
        middle = (rng.uniform(-0.6, 0.6) * depth, rng.uniform(-0.4, 0.3) * depth, depth)
        planes.append(Plane(middle, tuple(turned[:, 0]), (0, 1, 0), *rng.uniform(0.3, 0.9, 2), seed + 2 + number))
    return planes


def render(
    planes: list[Plane], poses: np.ndarray, focal: float, size: tuple[int, int] = (320, 240), rate: float = 8.0
) -> Clip:
    """Frames seen from camera-to-world poses `(T, 4, 4)`, with a focal length in pixels."""
    noise = np.random.default_rng(0)
    frames = []
    for picture, _ in _views(planes, poses, focal, size):
        noisy = picture + noise.normal(0, 1.5, picture.shape)  # a sensor's
        frames.append(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).convert("RGB"))
    return Clip(frames, [index / rate for index in range(len(frames))])


def depth_maps(planes: list[Plane], poses: np.ndarray, focal: float, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    """Depth along the view axis in metres, `(T, height, width)`, of the frames of [`render`]."""
    return np.stack([nearest for _, nearest in _views(planes, poses, focal, size)])


def _views(
    planes: list[Plane], poses: np.ndarray, focal: float, size: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Brightness and depth of each frame."""
    width, height = size
    across = (np.arange(width) - width / 2)[None] / focal
    along = (np.arange(height) - height / 2)[:, None] / focal
    for pose in poses:
        eye = pose[:3, 3]
        picture = np.full((height, width), 120.0)
        nearest = np.full((height, width), np.inf)

        def project(axis: np.ndarray, turn: np.ndarray = pose[:3, :3]) -> np.ndarray:
            """Each pixel's ray, which has depth 1, along an axis of the world."""
            x, y, z = axis @ turn
            return x * across + (y * along + z)

        for plane in planes:
            right, down, origin = np.asarray(plane.right), np.asarray(plane.down), np.asarray(plane.origin)
            normal = np.cross(right, down)
            with np.errstate(divide="ignore", invalid="ignore"):
                away = ((origin - eye) @ normal) / project(normal)
                u = (eye - origin) @ right + away * project(right)
                v = (eye - origin) @ down + away * project(down)
            hit = (away > 0.05) & (away < nearest) & (abs(u) < plane.half_width) & (abs(v) < plane.half_height)
            if not hit.any():
                continue
            part = np.ix_(hit.any(axis=1), hit.any(axis=0))  # the rectangle around it: no more is sampled
            maps = [np.mod(a[part] * _PIXELS_A_METRE, _TEXTURE_SIDE).astype(np.float32) for a in (u, v)]
            seen = cv2.remap(_texture(plane.texture), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            picture[hit], nearest[hit] = seen[hit[part]], away[hit]
        yield picture, nearest


def path(label: str, amount: float, frames: int = 16) -> np.ndarray:
    """Poses of one pure motion: degrees for turns, metres for moves, about and along the camera's own axes."""
    turns = {
        "Pan Left": (0, -1, 0), "Pan Right": (0, 1, 0), "Tilt Up": (1, 0, 0), "Tilt Down": (-1, 0, 0),
        "Roll Clockwise": (0, 0, 1), "Roll Counterclockwise": (0, 0, -1),
    }  # fmt: skip
    moves = {
        "Dolly In": (0, 0, 1), "Dolly Out": (0, 0, -1), "Truck Left": (-1, 0, 0), "Truck Right": (1, 0, 0),
        "Pedestal Up": (0, -1, 0), "Pedestal Down": (0, 1, 0),
    }  # fmt: skip
    poses = np.tile(np.eye(4), (frames, 1, 1))
    shares = np.linspace(0, amount, frames)[:, None]
    if label in turns:
        poses[:, :3, :3] = Rotation.from_rotvec(np.radians(shares * turns[label])).as_matrix()
    elif label in moves:
        poses[:, :3, 3] = shares * moves[label]
    return poses


@cache
def _texture(seed: int) -> np.ndarray:
    """Blobs of many sizes, for features to find."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(
            rng.integers(0, 256, (size, size), dtype=np.uint8), (_TEXTURE_SIDE,) * 2, interpolation=cv2.INTER_CUBIC
        )
        for size in (16, 64, 128)
    ]
    mean = np.mean(layers, axis=0)
    return np.clip(128 + 1.8 * (mean - 128), 0, 255).astype(np.float32)

"""The rendered world: seeded clips with exact geometry, drawn on the CPU by PyBullet's TinyRenderer."""

import os
import sys
import threading
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from PIL import Image

from ...modeling.atomic import scratch_dir
from .sampling import sample_scene
from .scene import COLOURS, Scene

_NEAR, _FAR = 0.1, 100.0
_GROUND_HALF_SIDE = 60.0
_GROUND_TEXTURES = 8
_SKY = (176, 206, 235)
_IMPORT_LOCK = threading.Lock()


@dataclass(frozen=True)
class WorldClip:
    """One rendered clip with everything that is known about it.

    Attributes:
        rgb (`np.ndarray` of shape `(frames, side, side, 3)`, uint8).
        masks (`np.ndarray` of shape `(frames, side, side)`, int8): Object index, -1 for ground and sky.
        depth (`np.ndarray` of shape `(frames, side, side)`, float32): Metres along the view axis, inf for the sky.
        intrinsics (`np.ndarray` of shape `(3, 3)`): From camera axes to column and row of a pixel.
        camera_to_world (`np.ndarray` of shape `(frames, 4, 4)`): Metres, OpenCV axes.
        timestamps (`list[float]`): Seconds.
        names (`tuple[str, ...]`): One an object.
        centres (`np.ndarray` of shape `(frames, objects, 3)`): World metres.
        fits_any_motion (`tuple[bool, ...]`): One an object, see [`SceneObject`].
        right_rgb (`np.ndarray`, *optional*): The second camera's frames, shaped as `rgb`.
    """

    rgb: np.ndarray
    masks: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray
    camera_to_world: np.ndarray
    timestamps: list[float]
    names: tuple[str, ...]
    centres: np.ndarray
    fits_any_motion: tuple[bool, ...]
    right_rgb: np.ndarray | None = None


class World:
    """A source of rendered clips; the same seed gives the same bytes.

    Args:
        side (`int`, *optional*, defaults to 56): Frame side in pixels.
        frames (`int`, *optional*, defaults to 8): Frames a clip.
        fps (`float`, *optional*, defaults to 2.0): Frames a second.
        stereo_baseline (`float`, *optional*): Metres to a second camera at the right; none by default.
        slowest (`float`, *optional*, defaults to 1.0): See [`sample_scene`].

    Example:

    ```python
    with World() as world:
        clip = world.clip(seed=7)
    ```
    """

    def __init__(
        self,
        side: int = 56,
        frames: int = 8,
        fps: float = 2.0,
        stereo_baseline: float | None = None,
        slowest: float = 1.0,
    ):
        pybullet = _import_pybullet()
        self.side, self.frames, self.fps, self.stereo_baseline = side, frames, fps, stereo_baseline
        self.slowest = slowest
        self._bullet = pybullet
        self._client = pybullet.connect(pybullet.DIRECT)
        self._textures = self._load_textures()

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Free the renderer."""
        self._bullet.disconnect(self._client)

    def clip(self, seed: int) -> WorldClip:
        """Draw and render the clip of one seed."""
        scene = sample_scene(np.random.default_rng(seed), self.frames, _GROUND_TEXTURES, self.slowest)
        return self.render(scene)

    def render(self, scene: Scene) -> WorldClip:
        """Render a scene with exact masks, depth and poses."""
        focal = 0.5 * self.side / np.tan(scene.field_of_view / 2)
        # TinyRenderer samples a pixel at its left and lower edge, not at its middle.
        column, row = self.side / 2, self.side / 2 - 1
        intrinsics = np.array([[focal, 0, column], [0, focal, row], [0, 0, 1.0]])
        bodies = [self._ground(scene), *(self._body(item) for item in scene.objects)]
        try:
            views = [self._frame(scene, bodies, index) for index in range(self.frames)]
            right = None
            if self.stereo_baseline is not None:
                offset = np.eye(4)
                offset[0, 3] = self.stereo_baseline
                right = np.stack([self._frame(scene, bodies, index, offset)[0] for index in range(self.frames)])
        finally:
            for body in bodies:
                self._bullet.removeBody(body, physicsClientId=self._client)
        rgb, masks, depth = (np.stack(part) for part in zip(*views, strict=True))
        return WorldClip(
            rgb=rgb,
            masks=masks,
            depth=depth,
            intrinsics=intrinsics,
            camera_to_world=scene.camera_to_world,
            timestamps=[index / self.fps for index in range(self.frames)],
            names=tuple(item.name for item in scene.objects),
            centres=np.stack([item.path for item in scene.objects], axis=1),
            fits_any_motion=tuple(item.fits_any_motion for item in scene.objects),
            right_rgb=right,
        )

    def _frame(self, scene: Scene, bodies: list[int], index: int, offset: np.ndarray | None = None):
        bullet, client = self._bullet, self._client
        for body, item in zip(bodies[1:], scene.objects, strict=True):
            bullet.resetBasePositionAndOrientation(body, item.path[index], (0, 0, 0, 1), physicsClientId=client)
        pose = scene.camera_to_world[index]
        pose = pose if offset is None else pose @ offset
        eye, forward, up = pose[:3, 3], pose[:3, 2], -pose[:3, 1]
        view = bullet.computeViewMatrix(eye, eye + forward, up, physicsClientId=client)
        projection = bullet.computeProjectionMatrixFOV(
            float(np.degrees(scene.field_of_view)), 1.0, _NEAR, _FAR, physicsClientId=client
        )
        _, _, rgba, buffer, segments = bullet.getCameraImage(
            self.side,
            self.side,
            view,
            projection,
            lightDirection=scene.light.tolist(),
            shadow=0,
            renderer=bullet.ER_TINY_RENDERER,
            physicsClientId=client,
        )
        shape = (self.side, self.side)
        rgb = np.reshape(rgba, (*shape, 4))[..., :3].astype(np.uint8)
        segments = np.reshape(segments, shape)
        rgb[segments < 0] = _SKY
        masks = np.full(shape, -1, np.int8)
        for number, body in enumerate(bodies[1:]):
            masks[segments == body] = number
        # Inverse of the OpenGL depth mapping.
        depth = _FAR * _NEAR / (_FAR - (_FAR - _NEAR) * np.reshape(buffer, shape).astype(np.float64))
        depth[segments < 0] = np.inf
        return rgb, masks, depth.astype(np.float32)

    def _ground(self, scene: Scene) -> int:
        bullet, client, half = self._bullet, self._client, _GROUND_HALF_SIDE
        corners = [[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]]
        repeats = half / 5.0
        visual = bullet.createVisualShape(
            bullet.GEOM_MESH,
            vertices=corners,
            indices=[0, 1, 2, 0, 2, 3],
            uvs=[[0, 0], [repeats, 0], [repeats, repeats], [0, repeats]],
            normals=[[0, 0, 1]] * 4,
            rgbaColor=[1, 1, 1, 1],
            physicsClientId=client,
        )
        body = bullet.createMultiBody(baseVisualShapeIndex=visual, physicsClientId=client)
        texture = self._textures[scene.ground]
        bullet.changeVisualShape(body, -1, textureUniqueId=texture, physicsClientId=client)
        return body

    def _body(self, item) -> int:
        bullet, client, size = self._bullet, self._client, item.size
        geometry = {
            "ball": {"shapeType": bullet.GEOM_SPHERE, "radius": size},
            "box": {"shapeType": bullet.GEOM_BOX, "halfExtents": [size * 0.85, size * 0.85, size]},
            "can": {"shapeType": bullet.GEOM_CYLINDER, "radius": size * 0.6, "length": 2 * size},
        }[item.shape]
        colour = [*COLOURS[item.colour], 1.0]
        visual = bullet.createVisualShape(**geometry, rgbaColor=colour, physicsClientId=client)
        return bullet.createMultiBody(baseVisualShapeIndex=visual, physicsClientId=client)

    def _load_textures(self) -> list[int]:
        with scratch_dir("textures") as folder:
            ids = []
            for number in range(_GROUND_TEXTURES):
                file = folder / f"{number}.png"
                Image.fromarray(_ground_texture(number)).save(file)
                ids.append(self._bullet.loadTexture(str(file), physicsClientId=self._client))
            return ids


def _import_pybullet() -> ModuleType:
    """Import PyBullet without the line that its C code writes past Python's own `sys.stderr`."""
    with _IMPORT_LOCK:
        if "pybullet" not in sys.modules:
            sys.stderr.flush()
            stderr = os.dup(2)
            try:
                with open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), 2)
                import pybullet
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)
        import pybullet
    return pybullet


def _ground_texture(number: int) -> np.ndarray:
    """Two muted tones in an irregular check, so that every stretch of ground looks a little different."""
    rng = np.random.default_rng(number)
    tones = rng.integers(100, 180, (2, 1)) + rng.integers(-15, 15, (2, 3))
    cells = rng.random((16, 16)) < 0.5
    texture = np.where(cells[..., None], tones[0], tones[1]) + rng.integers(-12, 12, (16, 16, 1))
    return np.kron(np.clip(texture, 0, 255), np.ones((16, 16, 1))).astype(np.uint8)

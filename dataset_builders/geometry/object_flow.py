"""What moves in a clip against its background: dense optical flow less the motion of the background."""

from dataclasses import dataclass

import numpy as np

from ...modeling.errors import InputError
from ...modeling.processing import Clip

FLOW_SIDE = 384  # pixels of the longer side at which flow is measured; all pixel thresholds below are at this size
MIN_BACKGROUND_SHARE = 0.75  # of the flow that is to be trusted
MAX_RESIDUAL_PIXELS = 0.3  # median; above, the background has depth that a homography cannot explain
_RESIDUAL_FACTOR = 6.0
_LEAST_MOTION = 0.6  # pixels between two frames; flow is not more accurate where there is little texture
_BACKGROUND_PIXELS = 1.0  # residual up to which flow counts as explained
_GRID = 8  # pixels between flow samples for the homography


class ObjectError(InputError):
    """Moving objects cannot be told from the background of a clip; the message holds the numbers."""


@dataclass(frozen=True)
class Motion:
    """Flow of a clip at [`FLOW_SIDE`], and what of it the background does not explain.

    Attributes:
        frames (`np.ndarray` of shape `(T, h, w, 3)`, uint8): The shrunk frames, RGB.
        forward, backward (`np.ndarray` of shape `(T - 1, h, w, 2)`, float32): Flow in pixels from each frame to the
            next, and from the next frame back.
        homographies (`np.ndarray` of shape `(T - 1, 3, 3)`): The background's motion from each frame to the next.
        moving (`np.ndarray` of shape `(T, h, w)`, bool): Pixels that move against the background.
        share (`np.ndarray` of shape `(T - 1,)`): Share of the consistent flow within one pixel of the background's.
        residual (`np.ndarray` of shape `(T - 1,)`): Median distance in pixels between the flow and the background's.
    """

    frames: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    homographies: np.ndarray
    moving: np.ndarray
    share: np.ndarray
    residual: np.ndarray

    @property
    def explained(self) -> np.ndarray:
        """Whether the background explains the flow of each pair of neighbouring frames, shape `(T - 1,)`."""
        return (self.share >= MIN_BACKGROUND_SHARE) & (self.residual <= 2 * MAX_RESIDUAL_PIXELS)


def measure_motion(clip: Clip) -> Motion:
    """Measure dense flow between neighbouring frames and subtract the background's homography.

    Args:
        clip ([`Clip`]): At least three frames.

    Returns:
        [`Motion`].

    Raises:
        ObjectError: If there are fewer than three frames, the background cannot be found, or it explains too little of
            the flow ([`MIN_BACKGROUND_SHARE`], [`MAX_RESIDUAL_PIXELS`]).
    """
    import cv2

    if len(clip.frames) < 3:
        raise ObjectError(f"{len(clip.frames)} frames are too few to find moving objects; sample at least 3.")
    frames = np.stack([_shrink(np.asarray(frame)) for frame in clip.frames])
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forward = np.stack([flow.calc(a, b, None) for a, b in zip(grey[:-1], grey[1:], strict=True)])
    backward = np.stack([flow.calc(b, a, None) for a, b in zip(grey[:-1], grey[1:], strict=True)])
    pairs = [_compare(*pair) for pair in zip(grey[:-1], grey[1:], forward, backward, strict=True)]
    homographies, share, residual, leaving, arriving = (np.stack(part) for part in zip(*pairs, strict=True))
    if np.median(share) < MIN_BACKGROUND_SHARE or np.median(residual) > MAX_RESIDUAL_PIXELS:
        raise ObjectError(
            f"The background explains {np.median(share):.2f} of the flow to {np.median(residual):.2f} px of"
            f" {FLOW_SIDE} (needed: {MIN_BACKGROUND_SHARE} and {MAX_RESIDUAL_PIXELS}); use a clip whose camera stands"
            " or turns, or give masks."
        )
    # Flow bleeds over an object's edge on the side that is covered or uncovered, a different one in each direction.
    inner = leaving[1:] & arriving[:-1]
    first = leaving[0] & warp_mask(inner[0], forward[0])
    last = arriving[-1] & warp_mask(inner[-1], backward[-1])
    moving = np.concatenate([first[None], inner, last[None]])
    return Motion(frames, forward, backward, homographies, moving, share, residual)


def warp_mask(mask: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Carry a mask to another frame.

    Args:
        mask (`np.ndarray` of shape `(h, w)`, bool): In the frame where the flow ends.
        flow (`np.ndarray` of shape `(h, w, 2)`): From the other frame to the mask's, in pixels.

    Returns:
        `np.ndarray` of shape `(h, w)`, bool: The mask in the frame where the flow begins.
    """
    import cv2

    points = _pixel_grid(mask.shape) + flow
    return cv2.remap(mask.astype(np.float32), points[..., 0], points[..., 1], cv2.INTER_LINEAR) > 0.5


def _shrink(frame: np.ndarray) -> np.ndarray:
    import cv2

    height, width = frame.shape[:2]
    scale = FLOW_SIDE / max(height, width)
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _pixel_grid(shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.stack([columns, rows], axis=-1)


def _compare(first: np.ndarray, second: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> tuple:
    """Homography, share and residual of one pair of frames, and what moves in the first and in the second of them."""
    import cv2

    grid = _pixel_grid(first.shape)
    points = grid + forward
    returned = cv2.remap(
        backward,
        points[..., 0],
        points[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(1e3,) * 4,
    )
    consistent = np.linalg.norm(forward + returned, axis=-1) < 0.5 + 0.05 * np.linalg.norm(forward, axis=-1)
    sample = (slice(_GRID // 2, None, _GRID),) * 2
    chosen = consistent[sample]
    homography = None
    if chosen.sum() >= 16:
        homography, _ = cv2.findHomography(
            grid[sample][chosen],
            points[sample][chosen],
            cv2.USAC_MAGSAC,
            _BACKGROUND_PIXELS,
            maxIters=2000,
            confidence=0.999,
        )
    if homography is None:
        return np.full((3, 3), np.nan), 0.0, np.inf, np.zeros(first.shape, bool), np.zeros(first.shape, bool)
    leaving_field = _background_flow(grid, homography)
    arriving_field = _background_flow(grid, np.linalg.inv(homography))
    distance = np.linalg.norm(forward - leaving_field, axis=-1)
    residual = float(np.median(distance[consistent]))
    share = float((distance[consistent] < _BACKGROUND_PIXELS).mean())
    least = max(_RESIDUAL_FACTOR * residual, _LEAST_MOTION)
    leaving = _moving_pixels(first, second, forward, leaving_field, least)
    arriving = _moving_pixels(second, first, backward, arriving_field, least)
    return homography, share, residual, leaving, arriving


def _background_flow(grid: np.ndarray, homography: np.ndarray) -> np.ndarray:
    import cv2

    return (cv2.perspectiveTransform(grid.reshape(-1, 1, 2), homography).reshape(grid.shape) - grid).astype(np.float32)


def _moving_pixels(
    here: np.ndarray, there: np.ndarray, flow: np.ndarray, background: np.ndarray, least: float
) -> np.ndarray:
    """Pixels whose flow is not the background's, unless the background's explains their grey values clearly better."""
    import cv2

    grid = _pixel_grid(here.shape)
    errors = []
    for field in (flow, background):
        points = grid + field
        warped = cv2.remap(there, points[..., 0], points[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        errors.append(cv2.blur(cv2.absdiff(here, warped).astype(np.float32), (5, 5)))
    ends = grid + background
    inside = (ends >= 0).all(axis=-1) & (ends <= np.array(here.shape[::-1]) - 1).all(axis=-1)
    bleeding = errors[1] + 2.0 < 0.7 * errors[0]
    return (np.linalg.norm(flow - background, axis=-1) > least) & inside & ~bleeding

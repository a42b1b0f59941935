"""What moves in a clip against its background: dense optical flow less the motion of the background."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from ...modeling.clip import Clip
from ..clip_error import ClipError

FLOW_SIDE = 384  # pixels of the longer side at which flow is measured; all pixel thresholds below are at this size
MIN_BACKGROUND_SHARE = 0.75  # of the flow that is to be trusted
MIN_STILL_SHARE = 0.4  # of it, where the camera is known to stand still: what moves may then cover most of the picture
MAX_RESIDUAL_PIXELS = 0.3  # median; above, the background has depth that a homography cannot explain
_RESIDUAL_FACTOR = 6.0
_LEAST_MOTION = 0.6  # pixels between two frames; flow is not more accurate where there is little texture
_BACKGROUND_PIXELS = 1.0  # residual up to which flow counts as explained
_GRID = 8  # pixels between flow samples for the homography


@dataclass(frozen=True)
class Motion:
    """Flow of a clip at [`FLOW_SIDE`], and what of it the background does not explain.

    Attributes:
        frames (`np.ndarray` of shape `(T, h, w, 3)`, uint8): The shrunk frames, RGB.
        forward, backward (`np.ndarray` of shape `(T - 1, h, w, 2)`, float32): Flow in pixels from each frame to the
            next, and from the next frame back.
        homographies (`np.ndarray` of shape `(T - 1, 3, 3)`): The background's motion from each frame to the next.
        moving (`np.ndarray` of shape `(T, h, w)`, bool): Pixels that move against the background.
        evident (`np.ndarray` of shape `(T, h, w)`, bool): Those whose grey values the background's motion does not
            explain; within a plain surface flow is a guess, and only its edges are evident.
        share (`np.ndarray` of shape `(T - 1,)`): Share of the consistent flow within one pixel of the background's.
        residual (`np.ndarray` of shape `(T - 1,)`): Median distance in pixels between the flow and the background's.
        least_share (`float`): Of the flow that the background must explain.
    """

    frames: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    homographies: np.ndarray
    moving: np.ndarray
    evident: np.ndarray
    share: np.ndarray
    residual: np.ndarray
    least_share: float = MIN_BACKGROUND_SHARE

    def carry_point(self, point: np.ndarray, start: int, end: int) -> np.ndarray:
        """Where a resting point of one frame, column and row, lies in another."""
        place = np.append(point, 1.0)
        for pair in range(start, end):
            place = self.homographies[pair] @ place
        for pair in range(start - 1, end - 1, -1):
            place = np.linalg.solve(self.homographies[pair], place)
        return place[:2] / place[2]

    @property
    def explained(self) -> np.ndarray:
        """Whether the background explains the flow of each pair of neighbouring frames, shape `(T - 1,)`."""
        return (self.share >= self.least_share) & (self.residual <= 2 * MAX_RESIDUAL_PIXELS)


def measure_motion(clip: Clip, still: bool = False) -> Motion:
    """Measure dense flow between neighbouring frames and subtract the background's homography.

    Args:
        clip ([`Clip`]): At least three frames.
        still (`bool`, *optional*, defaults to `False`): Whether the camera is known to stand still, so that the
            background need not be what most of the picture shows.

    Returns:
        [`Motion`].

    Raises:
        ClipError: If there are fewer than three frames (`too_short`), or the background explains too little of the
            flow, as [`MIN_BACKGROUND_SHARE`], [`MIN_STILL_SHARE`] and [`MAX_RESIDUAL_PIXELS`] say (`unclear`).
    """
    if len(clip.frames) < 3:
        raise ClipError(
            "too_short",
            f"{len(clip.frames)} frames, 3 are needed to see what moves",
            "give a longer clip, or ask about the camera alone with --objects none",
        )
    frames = np.stack([_shrink(np.asarray(frame)) for frame in clip.frames])
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forward = np.stack([flow.calc(a, b, None) for a, b in zip(grey[:-1], grey[1:], strict=True)])
    backward = np.stack([flow.calc(b, a, None) for a, b in zip(grey[:-1], grey[1:], strict=True)])
    pairs = [_compare(*pair, still) for pair in zip(grey[:-1], grey[1:], forward, backward, strict=True)]
    homographies, share, residual, leaving, arriving, evident = (np.stack(part) for part in zip(*pairs, strict=True))
    typical_share, typical_residual = float(np.median(share)), float(np.median(residual))
    least_share = MIN_STILL_SHARE if still else MIN_BACKGROUND_SHARE
    if typical_share < least_share or typical_residual > MAX_RESIDUAL_PIXELS:
        raise ClipError(
            "unclear",
            "too much of the picture differs from one background motion to tell what moves by itself (the background "
            f"explains {typical_share:.2f} of the flow to {typical_residual:.2f} px of {FLOW_SIDE}; {least_share} are "
            f"needed, to {MAX_RESIDUAL_PIXELS} px)",
            "give a clip whose camera stands still or turns, or masks (--objects files)",
        )
    # Flow bleeds over an object's edge on the side that is covered or uncovered, a different one in each direction.
    inner = leaving[1:] & arriving[:-1]
    first = leaving[0] & warp_mask(inner[0], forward[0])
    last = arriving[-1] & warp_mask(inner[-1], backward[-1])
    moving = np.concatenate([first[None], inner, last[None]])
    evident = np.concatenate([evident[:1, 0], evident[1:, 0] | evident[:-1, 1], evident[-1:, 1]])
    return Motion(frames, forward, backward, homographies, moving, evident & moving, share, residual, least_share)


def static_size_noise(motion: Motion) -> float:
    """How much the size of regions that stand still seems to change over a clip, where it should not.

    In each cell of a grid the growth of what does not move is summed over the pairs of frames, less the growth that
    the background's homography gives it.

    Returns:
        `float`: 90th percentile over the cells of the absolute change of the logarithm of the linear size; NaN where
            no cell rests for most of the clip.
    """
    step = _GRID // 2
    grid = _pixel_grid(motion.moving.shape[1:])
    height, width = motion.moving.shape[1:]
    bounds = [np.linspace(0, side, cells + 1).astype(int) for side, cells in ((height, 4), (width, 6))]
    cells = [(slice(a, b, step), slice(c, d, step)) for a, b in pairwise(bounds[0]) for c, d in pairwise(bounds[1])]
    growth = np.full((len(motion.forward), len(cells)), np.nan)
    for pair, homography in enumerate(motion.homographies):
        rest = motion.forward[pair] - _background_flow(grid, homography)
        for number, cell in enumerate(cells):
            still = np.linalg.norm(rest[cell], axis=-1) < _BACKGROUND_PIXELS
            if still.mean() > 0.5:
                design = np.column_stack([grid[cell][still], np.ones(still.sum())])
                slopes = np.linalg.lstsq(design, rest[cell][still], rcond=None)[0]
                growth[pair, number] = (slopes[0, 0] + slopes[1, 1]) / 2
    seen = np.isfinite(growth).mean(axis=0) > 0.7
    if not seen.any():
        return float("nan")
    return float(np.percentile(np.abs(np.nansum(growth[:, seen], axis=0)), 90))


def warp_mask(mask: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Carry a mask to another frame.

    Args:
        mask (`np.ndarray` of shape `(h, w)`, bool): In the frame where the flow ends.
        flow (`np.ndarray` of shape `(h, w, 2)`): From the other frame to the mask's, in pixels.

    Returns:
        `np.ndarray` of shape `(h, w)`, bool: The mask in the frame where the flow begins.
    """
    points = _pixel_grid(mask.shape) + flow
    return cv2.remap(mask.astype(np.float32), points[..., 0], points[..., 1], cv2.INTER_LINEAR) > 0.5


def _shrink(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    scale = FLOW_SIDE / max(height, width)
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _pixel_grid(shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.stack([columns, rows], axis=-1)


def _compare(first: np.ndarray, second: np.ndarray, forward: np.ndarray, backward: np.ndarray, still: bool) -> tuple:
    """Homography, share and residual of one pair of frames, and what moves in the first and in the second of them."""
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
    homography = np.eye(3) if still else _fit_background(grid, points, consistent)
    if homography is None:
        nothing = np.zeros(first.shape, bool)
        return np.eye(3), 0.0, np.inf, nothing, nothing, np.stack([nothing, nothing])
    leaving_field = _background_flow(grid, homography)
    arriving_field = _background_flow(grid, np.linalg.inv(homography))
    distance = np.linalg.norm(forward - leaving_field, axis=-1)
    behind = consistent & (distance < _BACKGROUND_PIXELS) if still else consistent
    residual = float(np.median(distance[behind])) if behind.any() else np.inf
    share = float((distance[consistent] < _BACKGROUND_PIXELS).mean()) if consistent.any() else 0.0
    least = max(_RESIDUAL_FACTOR * residual, _LEAST_MOTION)
    leaving, leaving_evident = _moving_pixels(first, second, forward, leaving_field, least)
    arriving, arriving_evident = _moving_pixels(second, first, backward, arriving_field, least)
    return homography, share, residual, leaving, arriving, np.stack([leaving_evident, arriving_evident])


def _fit_background(grid: np.ndarray, points: np.ndarray, consistent: np.ndarray) -> np.ndarray | None:
    """The homography that most of the consistent flow follows, `None` where too little of it is consistent."""
    sample = (slice(_GRID // 2, None, _GRID),) * 2
    chosen = consistent[sample]
    if chosen.sum() < 16:
        return None
    homography, _ = cv2.findHomography(
        grid[sample][chosen],
        points[sample][chosen],
        cv2.USAC_MAGSAC,
        _BACKGROUND_PIXELS,
        maxIters=2000,
        confidence=0.999,
    )
    return homography


def _background_flow(grid: np.ndarray, homography: np.ndarray) -> np.ndarray:
    return (cv2.perspectiveTransform(grid.reshape(-1, 1, 2), homography).reshape(grid.shape) - grid).astype(np.float32)


def _moving_pixels(
    here: np.ndarray, there: np.ndarray, flow: np.ndarray, background: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels whose flow is not the background's, unless the background's explains their grey values clearly better,
    and pixels whose grey values it explains clearly worse."""
    grid = _pixel_grid(here.shape)
    errors = []
    for field in (flow, background):
        points = grid + field
        warped = cv2.remap(there, points[..., 0], points[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        errors.append(cv2.blur(cv2.absdiff(here, warped).astype(np.float32), (5, 5)))
    ends = grid + background
    inside = (ends >= 0).all(axis=-1) & (ends <= np.array(here.shape[::-1]) - 1).all(axis=-1)
    bleeding = errors[1] + 2.0 < 0.7 * errors[0]
    evident = errors[0] + 2.0 < 0.7 * errors[1]
    return (np.linalg.norm(flow - background, axis=-1) > least) & inside & ~bleeding, evident & inside

"""Cameras that stand still, or turn without changing place: found from tracks, without structure from motion.

Structure from motion needs a change of place; where there is none, it invents one. So these two come first.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation

from .point_tracks import MIN_TRACKS, TRACK_SIDE, PointTracks

STILL_PIXELS = 0.5  # of a picture 640 wide, as all the pixels here
TURN_STEP_PIXELS = 0.6  # largest median error of a turn between neighbouring frames
TURN_SPAN_PIXELS = 1.0  # and between frames far apart, over which tracks drift
TURN_SHARE, MOVE_SHARE = 0.6, 0.45  # of the tracks between frames far apart that a turn explains: at least, at most
MOVE_PIXELS = 2.0  # a larger error of the best turn is a change of place
MIN_FOCAL, MAX_FOCAL, _FOCAL_GUESS = 0.4, 4.0, 0.8  # longer sides of the picture
KEYSTONE_SIGMAS = 6.0  # by how many standard errors a turn's keystone must differ from none
_SHIFTING_PIXELS = 2.0  # a picture whose middle shifts by less only rolls: no keystone is to be seen
_OUTLIER_PIXELS = 1.5
_PLANE_POINTS = 4  # that a homography needs; where fewer agree, all points count
_EXPLAINED_PIXELS = 2.0
MIN_STANDING_SHARE = 0.25  # of the first frame's points, all over the picture, while others move by themselves
_EDGE = 0.12  # of a picture's side, where a programme's name or a ticker may be drawn onto it
_CELLS = 4  # of the inner picture's side
_STANDING_CELLS, _STANDING_CELLS_A_HALF = 6, 2  # with two standing points at least, in all and in each half


@dataclass(frozen=True)
class TurnFit:
    """How well the tracks are explained by a camera that turns and does not move.

    Errors are medians over pairs of frames of the median distance in pixels of a picture 640 wide.

    Attributes:
        focal (`float`): The focal length that explains most, in longer sides of the picture.
        step_pixels (`float`): Error of the best turns between neighbouring frames.
        span_pixels (`float`): The same between frames as far apart as tracks reach.
        span_share (`float`): Share of all tracks between these that the turn explains.
        homography_pixels (`float`): Error of homographies between these: what tracks alone are worth.
        shift_pixels (`float`): How far the middle of the picture goes between these.
        keystone, keystone_error (`float`): A turn that shifts the picture also tapers it, by the shift over the square
            of the focal length (in sides); a move along a wall, or along nothing near, only shifts it. This is the
            taper over the shift, as measured on all far pairs, and its standard error.
    """

    focal: float
    step_pixels: float
    span_pixels: float
    span_share: float
    homography_pixels: float
    shift_pixels: float
    keystone: float
    keystone_error: float

    @property
    def verdict(self) -> str:
        """`turn`, `move`, or `unclear` where the tracks fit either."""
        drift = 1.3 * self.homography_pixels
        if self.span_share < MOVE_SHARE or self.span_pixels > max(MOVE_PIXELS, 2 * drift):
            return "move"
        if self.step_pixels > MOVE_PIXELS:  # things at several distances move apart
            return "move"
        fits = (
            self.step_pixels <= TURN_STEP_PIXELS
            and self.span_pixels <= max(TURN_SPAN_PIXELS, drift)
            and self.span_share >= TURN_SHARE
        )
        return "turn" if fits and (self.shift_pixels < _SHIFTING_PIXELS or self._has_keystone) else "unclear"

    @property
    def _has_keystone(self) -> bool:
        """Whether the taper is that of the focal length found, and too strong for a move along a wall."""
        least, most = 0.5 / self.focal**2, 2 / self.focal**2
        return self.keystone > KEYSTONE_SIGMAS * self.keystone_error and least < self.keystone < most

    def describe(self) -> str:
        """The numbers that decide, in words."""
        return (
            f"the best turn explains {self.span_share:.0%} of the points, {TURN_SHARE:.0%} are needed, and misses "
            f"them by {self.step_pixels:.2f} px of {TRACK_SIDE} from frame to frame and {self.span_pixels:.2f} px "
            f"over longer spans; the picture shifts by {self.shift_pixels:.1f} px"
            + ("" if self._has_keystone else ", without the taper that a turn gives it")
        )

    def errors(self) -> dict[str, float]:
        """The numbers by name, rounded."""
        return {f"turn_{name}": round(value, 4) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class _Pair:
    """Rays of the tracks between two frames, in picture sides from its middle."""

    before: np.ndarray
    after: np.ndarray
    sound: np.ndarray


def still_pixels(tracks: PointTracks) -> float:
    """Farthest that the median track is from where it was in the first frame, in pixels of a picture 640 wide.

    Infinite where too few tracks last.
    """
    farthest = 0.0
    for index in range(1, len(tracks.positions)):
        before, after = tracks.pair(0, index)
        if len(before) < MIN_TRACKS:
            return np.inf
        farthest = max(farthest, float(np.median(np.linalg.norm(after - before, axis=1))))
    return farthest * TRACK_SIDE / max(tracks.size)


def standing_share(tracks: PointTracks) -> float:
    """Share of the first frame's points that stay where they were, if these lie all over the picture; else 0.

    Large things that move may carry most of the points along. But a camera that turns or moves leaves none in place,
    save about the middle of a roll or of a zoom, far away on one side of the picture, and in what is drawn onto its
    edges, which are left out.
    """
    begun = tracks.positions[:, np.isfinite(tracks.positions[0, :, 0])]
    gone = np.linalg.norm(begun - begun[0], axis=-1) * TRACK_SIDE / max(tracks.size)
    standing = begun[0, (gone < STILL_PIXELS).all(axis=0)] / tracks.size  # a point that was lost is at NaN
    if len(standing) < MIN_TRACKS:
        return 0.0
    inner = standing[((standing > _EDGE) & (standing < 1 - _EDGE)).all(axis=1)]
    cells = ((inner - _EDGE) / (1 - 2 * _EDGE) * _CELLS).astype(int)
    found, counts = np.unique(cells.reshape(-1, 2), axis=0, return_counts=True)
    after = (found[counts >= 2] >= _CELLS // 2).sum(axis=0)  # right of the middle, and below it
    count = (counts >= 2).sum()
    if count < _STANDING_CELLS or min(*after, *(count - after)) < _STANDING_CELLS_A_HALF:
        return 0.0
    return len(standing) / begun.shape[1]


def fit_turn(tracks: PointTracks) -> tuple[TurnFit, np.ndarray] | None:
    """Explain the tracks by one focal length and a turn from each frame to the next.

    Args:
        tracks ([`PointTracks`]): At least two frames.

    Returns:
        `tuple[TurnFit, np.ndarray] | None`: The fit, and camera-to-world matrices `(T, 4, 4)` without translation, the
        first one's axes being the world's. `None` where two neighbouring frames share too few tracks.
    """
    count = len(tracks.positions)
    steps = [_pair(tracks, index, index + 1) for index in range(count - 1)]
    spans = [_pair(tracks, *ends) for ends in tracks.far_pairs()]
    if any(pair is None for pair in steps) or any(pair is None for pair in spans):
        return None

    def span_error(log_focal: float) -> float:
        return _median(spans, lambda pair: _turn(pair, np.exp(log_focal))[1])

    grid = np.linspace(np.log(MIN_FOCAL), np.log(MAX_FOCAL), 10)
    best = grid[int(np.argmin([span_error(value) for value in grid]))]
    step = grid[1] - grid[0]
    bounds = (max(best - step, grid[0]), min(best + step, grid[-1]))
    focal = float(np.exp(minimize_scalar(span_error, bounds=bounds, method="bounded", options={"xatol": 0.01}).x))
    if _median(spans, _shift_of_middle) < _SHIFTING_PIXELS:
        focal = _FOCAL_GUESS  # a roll tells nothing of it
    keystone, keystone_error = _keystone(spans)
    fit = TurnFit(
        focal=focal,
        step_pixels=_median(steps, lambda pair: _turn(pair, focal)[1]),
        span_pixels=_median(spans, lambda pair: _turn(pair, focal)[1]),
        span_share=_median(spans, lambda pair: _explained(pair, focal), 1.0),
        homography_pixels=_median(spans, _homography_error),
        shift_pixels=_median(spans, _shift_of_middle),
        keystone=keystone,
        keystone_error=keystone_error,
    )
    poses = np.tile(np.eye(4), (count, 1, 1))
    for index, pair in enumerate(steps):
        poses[index + 1, :3, :3] = poses[index, :3, :3] @ _turn(pair, focal)[0].inv().as_matrix()
    return fit, poses


def _pair(tracks: PointTracks, first: int, last: int) -> _Pair | None:
    before, after = tracks.pair(first, last)
    if len(before) < MIN_TRACKS:
        return None
    outlier = _OUTLIER_PIXELS * max(tracks.size) / TRACK_SIDE
    _, mask = cv2.findHomography(before, after, cv2.USAC_MAGSAC, outlier)
    sound = np.ones(len(before), bool) if mask is None or mask.sum() < _PLANE_POINTS else mask.ravel() > 0
    middle, side = (np.array(tracks.size) - 1) / 2, max(tracks.size)
    return _Pair((before - middle) / side, (after - middle) / side, sound)


def _median(pairs: list[_Pair], measure: Callable[[_Pair], float], unit: float = TRACK_SIDE) -> float:
    return float(np.median([measure(pair) for pair in pairs])) * unit


def _turn(pair: _Pair, focal: float) -> tuple[Rotation, float]:
    """The turn that takes rays of the first frame to those of the second, and its median error in picture sides."""
    before, after = (_rays(points[pair.sound], focal) for points in (pair.before, pair.after))
    turn, _ = Rotation.align_vectors(after, before)
    return turn, float(np.median(_distances(turn, pair.before[pair.sound], pair.after[pair.sound], focal)))


def _explained(pair: _Pair, focal: float) -> float:
    turn, error = _turn(pair, focal)
    near = max(_EXPLAINED_PIXELS / TRACK_SIDE, 2 * _homography_error(pair) / TRACK_SIDE)
    return float((_distances(turn, pair.before, pair.after, focal) < near).mean())


def _rays(points: np.ndarray, focal: float) -> np.ndarray:
    rays = np.column_stack([points / focal, np.ones(len(points))])
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _distances(turn: Rotation, before: np.ndarray, after: np.ndarray, focal: float) -> np.ndarray:
    turned = turn.apply(_rays(before, focal))
    return np.linalg.norm(focal * turned[:, :2] / turned[:, 2:] - after, axis=1)


def _homography(pair: _Pair) -> np.ndarray:
    """The homography of the sound tracks, from picture sides to picture sides; the identity where there is none."""
    matrix, _ = cv2.findHomography(pair.before[pair.sound], pair.after[pair.sound], 0)
    return np.eye(3) if matrix is None else matrix / matrix[2, 2]


def _homography_error(pair: _Pair) -> float:
    """Median error of the best homography, in picture sides."""
    before, after = pair.before[pair.sound], pair.after[pair.sound]
    moved = cv2.perspectiveTransform(before[:, None], _homography(pair))[:, 0]
    return float(np.median(np.linalg.norm(moved - after, axis=1)))


def _shift_of_middle(pair: _Pair) -> float:
    """How far the middle of the picture goes, in picture sides."""
    return float(np.linalg.norm(_homography(pair)[:2, 2]))


def _keystone(pairs: list[_Pair]) -> tuple[float, float]:
    """Taper over shift, by least squares over pairs of frames, and its standard error.

    The homography of a turn R is K R K^-1. Its last row is (R31, R32) / (f R33), and the last column of its inverse is
    f (R31, R32) / R33: the one is the other divided by f^2.
    """
    matrices = np.stack([_homography(pair) for pair in pairs])
    inverses = np.linalg.inv(matrices)
    tapers = (matrices[:, 2, :2] / matrices[:, 2, 2:]).ravel()
    shifts = (inverses[:, :2, 2] / inverses[:, 2, 2:]).ravel()
    power = max(float(shifts @ shifts), 1e-12)
    slope = float(shifts @ tapers) / power
    spread = np.sqrt(np.mean((tapers - slope * shifts) ** 2))
    # A few pairs may agree by chance: their tapers are known no better than the tracks.
    noise = np.median([_homography_error(pair) for pair in pairs])
    return slope, float(max(spread, noise) / np.sqrt(power))

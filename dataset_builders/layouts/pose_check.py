"""Whether imported poses agree with the pixels, and which other reading of their file would agree better."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from ..clip_error import ClipError
from ..geometry.point_tracks import TRACK_SIDE
from ..geometry.sift_matches import Matches, PairMatches
from .imported_clip import Lens
from .sights import MIN_PARALLAX, Sights
from .trajectory import Trajectory

MAX_PIXELS = 2.0  # of a picture 640 wide, as all the pixels here
_BETTER = 0.5  # of the error: what another reading must stay below to be the better one
_LEAST_GAIN = 0.4  # pixels by which it must be better: less is noise
_MIN_SHIFT = 3.0  # pixels between the frames of a pair, or it tells nothing
_MIN_PAIRS = 3
_ALL_PAIRS, _TURNING_PAIRS = 16, 8  # that are counted, those with the most matches
_MIN_TURN = 3.0  # degrees
_SHARED_PAIRS = 0.6  # of the pairs, that another reading must have poses for
_AS_GOOD, _SAME_PIXELS = 1.25, 0.1  # times the least error and above: of such readings the simplest is named
_MAX_SHIFT_SECONDS, _MAX_SHIFT_FRAMES = 1.0, 3  # the longer of the two
_FOCALS = np.geomspace(0.45, 3.2, 9)  # longer sides of the picture
_FOCAL_STEPS = (0.88, 0.94, 1.0, 1.06, 1.12)
_TRIANGULATED = 0.5  # share of a pair's points that must be, for a depth of the scene
_FAR = 0.2  # degrees between the rays to points that count for it too: without the far ones it would be too small
_UNSEEN_PIXELS, _UNSEEN_SHARE = (
    1.0,
    0.75,
)  # most that this share of points shifts where no change of place shows
_LONG_WAY = 0.5  # of the longest way between the frames of a pair: pairs that must show it
_LEAST_PATH, _LEAST_STEPS = 0.1, 5.0  # of the whole path, and usual steps: below both, a way may be noise of the poses
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
_ROS = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # x forward, y left, z up


@dataclass(frozen=True)
class PoseCheck:
    """How well poses explain where points are seen.

    Attributes:
        pixels (`float`): Median distance of points from where the poses allow them, of points at any depth before
            both cameras: from their epipolar line, or from the one place where a mere turn puts them.
        behind (`float`): Share of the points that would have to lie behind a camera.
        pairs (`int`): Pairs of frames that were looked at.
        lens ([`Lens`]): That of the files, or the best of a few.
        depth (`float`, *optional*): Median depth of the points in the unit of the poses; `None` where no pair moves
            enough to tell.
    """

    pixels: float
    behind: float
    pairs: int
    lens: Lens
    depth: float | None = None


def check_poses(
    matches: Matches,
    seconds: Sequence[float],
    trajectory: Trajectory,
    lens: Lens | None,
    frame_step: float,
    shows: float | None = None,
) -> PoseCheck:
    """Compare a trajectory with matches between frames.

    Args:
        matches ([`Matches`]): Of frames of a window.
        seconds (`Sequence[float]`): Of all frames of the window.
        trajectory ([`Trajectory`]): As its layout reads.
        lens ([`Lens`], *optional*): Without it the focal length that fits best is taken, for every reading.
        frame_step (`float`): Seconds between frames of the video, by which a trajectory may be shifted.
        shows (`float`, *optional*): How far the camera goes, in the unit of the poses, where the pictures must show
            it; without it, a tenth of the whole path.

    Raises:
        ClipError: `poses_disagree` with both errors and the better reading, or where the camera goes far and nothing
            in the pictures shifts for it; `no_texture` where too few pairs of frames share enough points.
    """
    moving = [pair for pair in matches.pairs if _shift(pair, matches.size) >= _MIN_SHIFT]
    pairs = moving if len(moving) >= _MIN_PAIRS else matches.pairs
    if len(pairs) < _MIN_PAIRS:
        raise ClipError(
            "no_texture",
            f"imported poses cannot be checked: {len(pairs)} pairs of frames share enough points of {_MIN_PAIRS}",
            "give a clip with more texture, or take its trajectory out of --source to have the poses estimated",
        )
    sights, poses = Sights(pairs, matches.size), trajectory.at(seconds)
    given = _measure(sights, poses, lens)
    if given is None:
        raise ClipError("too_short", "too few frames of the window have poses", "give poses for all of the clip")
    better = _better_reading(given, sights, trajectory, seconds, lens, frame_step)
    if given.pixels <= MAX_PIXELS and better is None:
        _check_parallax(sights, poses, given.lens, _least_way(trajectory, poses) if shows is None else shows)
        return replace(given, depth=_median_depth(sights, poses, given.lens))
    missed = (
        f"the imported poses miss the pixels by {given.pixels:.1f} px of 640 over {given.pairs} pairs of frames, with"
        f" {100 * given.behind:.0f} % of the points behind a camera"
    )
    if better is None:
        reason = f"{missed}; no other reading is better: the lens, the clip or the poses may be others"
        raise ClipError("poses_disagree", reason, "leave the clip out, or let the builder find the poses")
    name, pixels = better
    raise ClipError("poses_disagree", f"{missed}, and by {pixels:.1f} px if {name}", f"correct the file: {name}")


def _check_parallax(sights: Sights, poses: np.ndarray, lens: Lens, shows: float) -> None:
    """Refuse a change of place that no point shows: at infinite depth every point fits any place of the camera."""
    relative, unit = sights.relative(poses), TRACK_SIDE / max(sights.size)
    ways = np.linalg.norm(relative[:, :3, 3], axis=1)
    longest = float(np.nanmax(ways))
    if longest <= shows:
        return
    shifts = sights.by_pair(unit * sights.shifts(relative, lens))
    far = [
        float(np.quantile(shift, _UNSEEN_SHARE))
        for shift, way in zip(shifts, ways, strict=True)
        if way >= _LONG_WAY * longest
    ]
    if np.median(far) < _UNSEEN_PIXELS:
        raise ClipError(
            "poses_disagree",
            f"by the imported poses the camera goes {longest:.3g} units far, and no more than"
            f" {np.median(far):.1f} px of 640 of it show in the pictures: the clip stands still or only turns and the"
            " poses are of another one, or all that is seen is very far away",
            "give the poses of this clip, or let the builder find them",
        )


def _least_way(trajectory: Trajectory, poses: np.ndarray) -> float:
    """A way that is more than noise, where neither the unit nor the depth of the scene is known."""
    path, known = trajectory.camera_to_world()[:, :3, 3], poses[np.isfinite(poses).all(axis=(1, 2)), :3, 3]
    steps = np.linalg.norm(np.diff(known, axis=0), axis=1)
    return max(_LEAST_PATH * float(np.ptp(path, axis=0).max()), _LEAST_STEPS * float(np.median(steps)))


def _shift(pair: PairMatches, size: tuple[int, int]) -> float:
    return TRACK_SIDE / max(size) * float(np.median(np.linalg.norm(pair.after - pair.before, axis=1)))


def _better_reading(
    given: PoseCheck,
    sights: Sights,
    trajectory: Trajectory,
    seconds: Sequence[float],
    lens: Lens | None,
    frame_step: float,
) -> tuple[str, float] | None:
    """The simplest of the readings that fit clearly better than the one given, and its error."""
    enough = min(_BETTER * given.pixels, given.pixels - _LEAST_GAIN)
    found = []
    for name, poses in _other_readings(trajectory, seconds, frame_step):
        other = _measure(sights, poses, lens)
        if other is not None and other.pairs >= _SHARED_PAIRS * given.pairs and other.pixels < enough:
            found.append((name, other.pixels))
    best = min((pixels for _, pixels in found), default=0.0)
    return next(((name, pixels) for name, pixels in found if pixels <= _AS_GOOD * best + _SAME_PIXELS), None)


def _other_readings(
    trajectory: Trajectory, seconds: Sequence[float], frame_step: float
) -> Iterator[tuple[str, np.ndarray]]:
    """Names of other readings of a trajectory, with the poses that they give."""
    way = "camera-to-world" if trajectory.world_to_camera else "world-to-camera"
    yield f"the matrices are inverted ({way})", trajectory.inverted().at(seconds)
    if trajectory.quaternion is not None:
        other = trajectory.reordered()
        place = "w first" if other.quaternion == "first" else "w last"
        yield f"the quaternions have {place}", other.at(seconds)
        yield f"the quaternions have {place} and the matrices are inverted ({way})", other.inverted().at(seconds)
    for name, axes in (("y up and z backward, as in OpenGL", _OPENGL), ("x forward, y left and z up", _ROS)):
        yield f"the camera's axes are {name}", replace(trajectory, mount=trajectory.mount @ axes).at(seconds)
    moments = np.asarray(seconds)
    for count in range(1, max(_MAX_SHIFT_FRAMES, int(_MAX_SHIFT_SECONDS / frame_step)) + 1):
        for sign in (1, -1):
            way = "late" if sign > 0 else "early"
            frames = "frame" if count == 1 else "frames"
            yield f"the poses come {count} {frames} too {way}", trajectory.at(moments + sign * count * frame_step)


def _measure(sights: Sights, poses: np.ndarray, lens: Lens | None) -> PoseCheck | None:
    """The check of poses, with the lens or the focal length that fits best; `None` without enough pairs."""
    if lens is not None:
        return _measure_with(sights, poses, lens)
    best, around, size = None, 1.0, sights.size
    for focals in (_FOCALS, _FOCAL_STEPS):
        checks = [_measure_with(sights, poses, _square_lens(float(around * focal), size)) for focal in focals]
        best = min((check for check in checks if check is not None), key=lambda check: check.pixels, default=None)
        if best is None:
            return None
        around = best.lens.focal[0] * size[0] / max(size)
    return best


def _square_lens(focal: float, size: tuple[int, int]) -> Lens:
    """The lens of a focal length in longer sides of the picture."""
    side = max(size)
    return Lens((round(focal * side / size[0], 6), round(focal * side / size[1], 6)))


def _measure_with(sights: Sights, poses: np.ndarray, lens: Lens) -> PoseCheck | None:
    relative, unit = sights.relative(poses), TRACK_SIDE / max(sights.size)
    distances, hidden = _distances(*sights.rays(lens), relative[sights.owners], lens.matrix(sights.size))
    known = np.isfinite(relative).all(axis=(1, 2))
    errors, turning, behind = [], [], []
    for number, (missed, lost) in enumerate(zip(*map(sights.by_pair, (unit * distances, hidden)), strict=True)):
        if not known[number]:
            continue
        errors.append(float(np.median(missed)))
        behind.append(float((lost & (missed > MAX_PIXELS)).mean()))
        if np.degrees(Rotation.from_matrix(relative[number, :3, :3]).magnitude()) >= _MIN_TURN:
            turning.append(errors[-1])
    if len(errors) < _MIN_PAIRS:
        return None
    pixels = float(np.median(errors[:_ALL_PAIRS]))
    if len(turning) >= _MIN_PAIRS:  # they tell the most, and may be few
        pixels = max(pixels, float(np.median(turning[:_TURNING_PAIRS])))
    return PoseCheck(pixels, float(np.median(behind)), len(errors), lens)


def _distances(
    rays: np.ndarray, seen: np.ndarray, relative: np.ndarray, intrinsics: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far points are seen from where any depth before both cameras puts them, in pixels.

    As its depth falls from infinity, a point goes in the last picture from where the turn alone puts it along its
    epipolar line toward the epipole (or away from it, where the camera goes forward). Returned besides is whether the
    nearest place of the whole line lies beyond that start.

    Args:
        rays, seen (`np.ndarray` of shape `(M, 3)`): Rays of the first and of the last camera.
        relative (`np.ndarray` of shape `(M, 4, 4)`): From the first camera's axes to the last one's.
        intrinsics (`np.ndarray` of shape `(3, 3)`): In pixels.
    """
    focal = np.array([intrinsics[0, 0], intrinsics[1, 1]])
    turned = np.einsum("mij,mj->mi", relative[:, :3, :3], rays)
    shift = relative[:, :3, 3]
    front = turned[:, 2] > 1e-6
    start = turned[:, :2] / np.where(front, turned[:, 2], 1.0)[:, None]
    direction = (shift[:, :2] - start * shift[:, 2:]) * focal
    length = np.linalg.norm(direction, axis=1)
    along = direction / np.maximum(length, 1e-12)[:, None]
    offset = (seen[:, :2] - start) * focal
    way = np.sum(offset * along, axis=1)
    back = shift[:, 2] > 1e-12  # then depth 0 is the epipole
    end = np.where(back, length / np.where(back, shift[:, 2], 1.0), np.inf)
    distances = np.linalg.norm(offset - np.clip(way, 0, end)[:, None] * along, axis=1)
    distances[~front] = 10 * focal.max()
    return distances, (way < 0) | ~front


def _median_depth(sights: Sights, poses: np.ndarray, lens: Lens) -> float | None:
    """Median depth of points triangulated between frames that move enough, median over pairs."""
    sure, all_depths = (sights.by_pair(sights.triangulate(poses, lens, least)) for least in (MIN_PARALLAX, _FAR))
    found = [
        float(np.nanmedian(depths))
        for depths, near in zip(all_depths, sure, strict=True)
        if np.isfinite(near).mean() > _TRIANGULATED
    ]
    return float(np.median(found)) if len(found) >= _MIN_PAIRS else None

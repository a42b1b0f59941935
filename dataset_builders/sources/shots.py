"""Cut a stretch of video into shots, and measure how fast its picture moves."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .dissolves import DissolveSearch
from .picture_sequence import FrameSource

LOOK_RATE = 15.0  # frames looked at a second
LOOK_PIXELS = 256 * 144
# Where a cut may be: what stands out from its neighbours, or is large enough by itself (PySceneDetect's defaults).
_CUT_RATIO, _CUT_FLOOR, _CUT_ALONE = 3.0, 15.0, 27.0
# It is one if corners cannot be followed across it: real cuts keep under 2 % of them, shaken hands over half.
_MOST_KEPT, _SURELY_LOST = 0.15, 0.05
_BLACK = 12  # mean of a picture in a fade through black
_CORNERS, _FEWEST_CORNERS, _FEWEST_KEPT = 50, 8, 0.3


@dataclass(frozen=True)
class Shot:
    """Frames without a cut between them.

    Attributes:
        seconds (`np.ndarray` of shape `(T,)`): When the frames that were looked at are shown, from the first frame of
            the video.
        steps (`np.ndarray` of shape `(T - 1,)`): How far the picture moves from each frame to the next, the median of
            its corners, in picture widths; infinite where it cannot be followed.
    """

    seconds: np.ndarray
    steps: np.ndarray


def find_shots(source: FrameSource, start: float, end: float) -> list[Shot]:
    """The shots from `start` to `end` (seconds from the first frame); those at both ends may go on beyond.

    Frames of a dissolve belong to neither of its shots.

    Args:
        source: A video, opened with `max_pixels=LOOK_PIXELS`.

    Raises:
        VideoError: Where the decoder finds the file damaged.
    """
    from scenedetect.common import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector, ContentDetector, ThresholdDetector

    detectors = (
        AdaptiveDetector(adaptive_threshold=_CUT_RATIO, min_scene_len=1, min_content_val=_CUT_FLOOR),
        ContentDetector(threshold=_CUT_ALONE, min_scene_len=0),
    )
    through_black = ThresholdDetector(threshold=_BLACK, min_scene_len=1)
    dissolves = DissolveSearch(follow_corners)
    seconds, steps, kept, candidates, fades, before = [], [], [1.0], set(), set(), None
    for number, (now, pixels) in enumerate(_look(source, start, end)):
        timecode, image = FrameTimecode(number, fps=LOOK_RATE), pixels[..., ::-1]
        for detector in detectors:
            candidates.update(cut.frame_num for cut in detector.process_frame(timecode, image))
        fades.update(cut.frame_num for cut in through_black.process_frame(timecode, image))
        dissolves.look(pixels)
        seconds.append(now)
        if before is not None:
            step, share = follow_corners(before, pixels)
            steps.append(step)
            kept.append(share)
        before = pixels
    lost = [number for number, share in enumerate(kept) if share < _SURELY_LOST]
    cuts = {number for number in candidates if kept[number] < _MOST_KEPT or np.isnan(kept[number])}
    mixed = dissolves.spans()
    bounds = {0, *cuts, *lost, *fades, *(end for span in mixed for end in span), len(seconds)}
    return [
        Shot(np.array(seconds[first:last]), np.array(steps[first : last - 1]))
        for first, last in pairwise(sorted(bounds))
        if not any(begin <= first < end for begin, end in mixed)
    ]


def _look(source: FrameSource, start: float, end: float) -> Iterator[tuple[float, np.ndarray]]:
    """Yield frames of at most `LOOK_RATE` a second with their times."""
    due = start
    for now, frame in source.frames(start):
        if now > end:
            return
        if now >= due:
            yield now, np.asarray(source.to_image(frame))
            due = max(due, now - 0.5 / LOOK_RATE) + 1 / LOOK_RATE - 1e-6


def follow_corners(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Follow corners from one RGB image to the next and back.

    Returns:
        `tuple[float, float]`: The median way of the corners in picture widths (infinite if most are lost), and the
            share of them that is found again; 0 and NaN where the first image has too few.
    """
    import cv2

    first, second = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    corners = cv2.goodFeaturesToTrack(first, _CORNERS, 0.01, 5)
    if corners is None or len(corners) < _FEWEST_CORNERS:
        return 0.0, float("nan")
    settings = {"winSize": (15, 15), "maxLevel": 3}
    moved, found, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, None, **settings)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(second, first, moved, None, **settings)
    kept = (found.ravel() == 1) & (found_back.ravel() == 1) & (np.linalg.norm(back - corners, axis=-1).ravel() < 1)
    if kept.mean() < _FEWEST_KEPT:
        return float("inf"), float(kept.mean())
    return float(np.median(np.linalg.norm(moved - corners, axis=-1).ravel()[kept]) / first.shape[1]), float(
        kept.mean()
    )

"""Cut a stretch of video into shots, and measure how fast its picture moves."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...modeling.video_source import VideoSource, WebpSource

LOOK_RATE = 15.0  # frames looked at a second
LOOK_PIXELS = 256 * 144
# A cut stands out from its neighbours (PySceneDetect's adaptive detector), or is so large that it needs no neighbours.
_CUT_RATIO, _CUT_FLOOR, _CUT_ALONE = 3.0, 15.0, 45.0
_CORNERS, _FEWEST_CORNERS = 80, 8


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


def find_shots(source: VideoSource | WebpSource, start: float, end: float) -> list[Shot]:
    """The shots from `start` to `end` (seconds from the first frame); those at both ends may go on beyond.

    Args:
        source: A video, opened with `max_pixels=LOOK_PIXELS`.

    Raises:
        VideoError: Where the decoder finds the file damaged.
    """
    from scenedetect.common import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector, ContentDetector

    adaptive = AdaptiveDetector(adaptive_threshold=_CUT_RATIO, min_scene_len=1, min_content_val=_CUT_FLOOR)
    alone = ContentDetector(threshold=_CUT_ALONE, min_scene_len=0)
    seconds, steps, cuts, before = [], [], set(), None
    for number, (now, pixels) in enumerate(_look(source, start, end)):
        timecode = FrameTimecode(number, fps=LOOK_RATE)
        for detector in (adaptive, alone):
            cuts.update(cut.frame_num for cut in detector.process_frame(timecode, pixels[..., ::-1]))
        seconds.append(now)
        if before is not None:
            steps.append(measure_step(before, pixels))
        before = pixels
    bounds = [0, *sorted(cuts - {0}), len(seconds)]
    return [
        Shot(np.array(seconds[first:last]), np.array(steps[first : last - 1]))
        for first, last in zip(bounds, bounds[1:], strict=False)
        if last > first
    ]


def _look(source: VideoSource | WebpSource, start: float, end: float) -> Iterator[tuple[float, np.ndarray]]:
    """Yield frames of at most `LOOK_RATE` a second with their times."""
    due = start
    for now, frame in source.frames(start):
        if now > end:
            return
        if now >= due:
            yield now, np.asarray(source.to_image(frame))
            due = max(due, now - 0.5 / LOOK_RATE) + 1 / LOOK_RATE - 1e-6


def measure_step(before: np.ndarray, after: np.ndarray) -> float:
    """The median way of the corners of one RGB image to the next, in picture widths; infinite if they are lost."""
    import cv2

    first, second = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    corners = cv2.goodFeaturesToTrack(first, _CORNERS, 0.01, 5)
    if corners is None or len(corners) < _FEWEST_CORNERS:
        return 0.0  # nothing to follow, and nothing that a denser sampling would help
    moved, found, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, None, winSize=(15, 15), maxLevel=3)
    kept = found.ravel() == 1
    if kept.mean() < 0.5:
        return float("inf")
    return float(np.median(np.linalg.norm((moved - corners)[kept], axis=-1)) / first.shape[1])

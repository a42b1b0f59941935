"""Windows of a video: stretches of one shot, short enough for a question, sampled so that neighbours overlap."""

import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...modeling.clip import Clip
from ...modeling.errors import count_noun
from ...modeling.video_decoding import read_frames
from ...modeling.video_source import open_source
from ..clip_error import ClipError
from ..clip_record import Window
from .picture_sequence import PictureSequence, is_sequence, open_frames
from .shots import LOOK_PIXELS, LOOK_RATE, Shot, find_shots

MAX_WINDOWS = 4
WINDOW_SECONDS = 4.0
WINDOW_PIXELS = 640 * 480
SLOWEST_RATE, FASTEST_RATE = 6.0, LOOK_RATE  # frames a second
DENSE_RATE = 12.0  # frames a second at least, for models that follow objects from frame to frame
LARGEST_STEP = 0.05  # picture widths that the picture may move between neighbours
FEWEST_FRAMES, SHORTEST_SECONDS = 6, 0.5
_SAME_TIME = 1e-3  # seconds
_STRETCH_SECONDS = 12.0  # of a long video, so much is looked at for each window


@dataclass
class WindowSearch:
    """What was found in a video.

    Attributes:
        windows (`list[Window]`): In the order of time.
        dropped (`list[str]`): Shots that give no window, and why.
    """

    windows: list[Window]
    dropped: list[str] = field(default_factory=list)


def find_windows(path: Path, seed: int = 0, max_windows: int = MAX_WINDOWS) -> list[Window]:
    """The windows of a video; raises as [`search_windows`]."""
    return search_windows(path, seed, max_windows).windows


def search_windows(
    path: Path,
    seed: int = 0,
    max_windows: int = MAX_WINDOWS,
    fps: float | None = None,
    annotated: np.ndarray | None = None,
) -> WindowSearch:
    """Look for windows of 4 s, or of whole shots that are shorter; none crosses a cut.

    Of a long video only `max_windows` stretches are decoded, spread over it.

    Args:
        path (`Path`): A video file or a sequence of pictures.
        seed (`int`, *optional*, defaults to 0): Which stretches of a long video, and which of many windows.
        max_windows (`int`, *optional*, defaults to 4): Most windows that are kept.
        fps (`float`, *optional*): Pictures a second of a sequence.
        annotated (`np.ndarray`, *optional*): Seconds of the frames about which something is known already; windows
            are sampled at these where they are dense enough.

    Raises:
        VideoError: If the file is no video or damaged.
        ClipError: `too_short`, if no shot is long enough.
    """
    source = open_frames(path, fps, LOOK_PIXELS)
    rng = np.random.default_rng([seed, zlib.crc32(path.name.encode("utf-8", "surrogateescape"))])
    shots: list[Shot] = []
    for start, end in _stretches(source.seconds, source.seekable, max_windows, rng):
        shots += find_shots(source, start, end)
    if not shots:  # a camera that records now and then: all stretches may fall between its frames
        shots = find_shots(source, 0.0, max_windows * _STRETCH_SECONDS)
    found, dropped = [], []
    for number, shot in enumerate(shots):
        windows = shot_windows(shot, number)
        found += windows
        if not windows:
            dropped.append(f"shot {number} ({_describe(shot)}) is too short")
    if not found:
        longest = f"the longest of {len(shots)} has {_describe(max(shots, key=_length))}" if shots else "all is mixed"
        raise ClipError(
            "too_short",
            f"no shot has {FEWEST_FRAMES} frames over {SHORTEST_SECONDS:g} to {WINDOW_SECONDS:g} s; {longest}",
            "name the true --fps of pictures without times"
            if is_sequence(path)
            else "give a clip with longer shots or more frames a second, or take it out of --source",
        )
    windows = _spread(found, max_windows, rng)
    if annotated is not None:
        windows = [_snap(window, annotated) for window in windows]
    if isinstance(source, PictureSequence):
        windows = [_name_pictures(window, source.times) for window in windows]
    return WindowSearch(windows, dropped)


def read_window(path: Path, window: Window, max_pixels: int = WINDOW_PIXELS) -> Clip:
    """The frames of a window, with seconds from the first frame of the video.

    Args:
        path (`Path`): The video.
        window ([`Window`]): Of the same video.
        max_pixels (`int`, *optional*, defaults to 307200): Larger frames are shrunk.

    Raises:
        VideoError: If the file is damaged there.
    """
    if window.pictures is not None:
        pictures = PictureSequence(path, 1.0, max_pixels)
        return Clip([pictures.to_image(number) for number in window.pictures], list(window.timestamps))
    return read_frames(path, times=window.timestamps, tolerance=_SAME_TIME, max_pixels=max_pixels)


def read_dense(path: Path, window: Window, max_pixels: int = WINDOW_PIXELS) -> tuple[Clip, list[int]]:
    """The frames of a window with others between them: at least [`DENSE_RATE`] a second where the video has that many.

    Args:
        path (`Path`): The video.
        window ([`Window`]): Of the same video.
        max_pixels (`int`, *optional*, defaults to 307200): Larger frames are shrunk.

    Returns:
        `tuple[Clip, list[int]]`: The frames, and which of them are the window's own.

    Raises:
        VideoError: If the file is damaged there.
        ClipError: `damaged`, if a frame of the window is no longer where it was.
    """
    source = open_source(path, max_pixels)
    due = list(window.timestamps)
    frames, seconds, own = [], list[float](), list[int]()
    passed = None  # the last frame that was not taken
    for now, frame in source.frames(window.start):
        if now > window.end + _SAME_TIME or not due:
            break
        if now < window.start - _SAME_TIME:
            continue
        if passed is not None and seconds and now - seconds[-1] > 1 / DENSE_RATE + _SAME_TIME:
            seconds.append(passed[0])
            frames.append(source.to_image(passed[1]))
        passed = now, frame
        if abs(now - due[0]) <= _SAME_TIME:
            own.append(len(frames))
            seconds.append(now)
            frames.append(source.to_image(frame))
            due.pop(0)
            passed = None
    if due:
        raise ClipError("damaged", f"no frame at {due[0]:.3f} s, where there was one", "copy the file again")
    return Clip(frames, seconds), own


def shot_windows(shot: Shot, number: int) -> list[Window]:
    """Windows of one shot, each overlapping the next by half; none if it is too short."""
    first, last = shot.seconds[0], shot.seconds[-1]
    starts = np.arange(first, max(first, last - WINDOW_SECONDS) + 1e-6, WINDOW_SECONDS / 2)
    windows = []
    for start in starts:
        inside = np.flatnonzero((shot.seconds >= start - 1e-6) & (shot.seconds <= start + WINDOW_SECONDS + 1e-6))
        if len(inside) < FEWEST_FRAMES:
            continue
        seconds = shot.seconds[inside]
        times = _sample(seconds, choose_rate(seconds, shot.steps[inside[:-1]]))
        if len(times) >= FEWEST_FRAMES and times[-1] - times[0] >= SHORTEST_SECONDS:
            windows.append(Window(number, float(times[0]), float(times[-1]), tuple(times.tolist())))
    return windows


def choose_rate(seconds: np.ndarray, steps: np.ndarray) -> float:
    """Frames a second at which neighbours overlap: the faster the picture moves, the more, from 6 to 15.

    Args:
        seconds (`np.ndarray` of shape `(T,)`): Times of frames.
        steps (`np.ndarray` of shape `(T - 1,)`): How far the picture moves between them, in picture widths.
    """
    if len(steps) == 0:
        return FASTEST_RATE
    speed = np.quantile(steps / np.diff(seconds), 0.9, method="lower")  # a few lost frames do not count
    return float(np.clip(speed / LARGEST_STEP, SLOWEST_RATE, FASTEST_RATE))


def _sample(seconds: np.ndarray, rate: float) -> np.ndarray:
    """Those times that lie nearest to an even grid of that many a second."""
    count = max(FEWEST_FRAMES, int(np.ceil((seconds[-1] - seconds[0]) * rate - 1e-6)) + 1)
    grid = np.linspace(seconds[0], seconds[-1], count)
    nearest = np.abs(seconds[:, None] - grid[None]).argmin(axis=0)
    return seconds[np.unique(nearest)]


def _snap(window: Window, annotated: np.ndarray) -> Window:
    """The window sampled at the annotated frames nearest to its own, unless these are too few."""
    inside = annotated[(annotated >= window.start - 1e-6) & (annotated <= window.end + 1e-6)]
    if len(inside) < FEWEST_FRAMES:
        return window
    nearest = {int(np.abs(inside - moment).argmin()) for moment in window.timestamps}
    times = inside[sorted(nearest)]
    if len(times) < FEWEST_FRAMES or times[-1] - times[0] < SHORTEST_SECONDS:
        return window
    return Window(window.shot, float(times[0]), float(times[-1]), tuple(times.tolist()))


def _name_pictures(window: Window, times: np.ndarray) -> Window:
    return replace(window, pictures=tuple(int(np.abs(times - moment).argmin()) for moment in window.timestamps))


def _stretches(
    seconds: float, seekable: bool, max_windows: int, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """The parts of a video to look at; all of it if it is short, its beginning if nothing else can be reached."""
    budget = max_windows * _STRETCH_SECONDS
    if seconds <= budget or not seekable:
        return [(0.0, min(seconds, budget))]
    part = seconds / max_windows
    starts = [number * part + rng.uniform(0, part - _STRETCH_SECONDS) for number in range(max_windows)]
    return [(start, start + _STRETCH_SECONDS) for start in starts]


def _spread(windows: list[Window], limit: int, rng: np.random.Generator) -> list[Window]:
    """At most `limit` windows, one drawn from each of `limit` equal parts of their list."""
    if len(windows) <= limit:
        return windows
    bounds = np.linspace(0, len(windows), limit + 1).round().astype(int)
    return [windows[rng.integers(first, last)] for first, last in zip(bounds, bounds[1:], strict=False)]


def _length(shot: Shot) -> tuple[int, float]:
    return len(shot.seconds), float(shot.seconds[-1] - shot.seconds[0])


def _describe(shot: Shot) -> str:
    count, seconds = _length(shot)
    return f"{count_noun(count, 'frame')} over {seconds:.1f} s"

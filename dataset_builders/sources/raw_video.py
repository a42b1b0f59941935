"""Camera-motion rows from a folder of raw clips: frames, poses, labels, questions."""

import hashlib
import json
import logging
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ...modeling.errors import InputError
from ...modeling.processing import Clip, fit_frame
from ..clip_error import ClipError
from ..clip_record import CameraPoses
from ..geometry.camera_motion import camera_labels, camera_strengths
from ..geometry.pose_process import TIME_LIMIT, PoseProcess
from ..geometry.poses import estimate_camera
from ..questions.motion import camera_question
from ..questions.motion_reasoning import camera_reasoning, checked_response
from .video_reader import VIDEO_SUFFIXES, read_frames

POSE_FPS, MAX_POSE_FRAMES = 6.0, 24
SEGMENT_SECONDS = 2.0
# How strong another motion may be, as a share of the weakest one that is named.
MAX_UNNAMED_BESIDE_ONE, MAX_UNNAMED_BESIDE_TWO = 0.4, 0.75
_MAX_NAME = 60

_logger = logging.getLogger(__name__)


def log_skip(path: Path, reason: str) -> None:
    """What happens to a clip that gives no row, unless the caller says otherwise: a warning."""
    _logger.warning("skipped %s: %s", path.name, reason)


def video_rows(
    source: Path,
    frames: int = 8,
    clips: int | None = None,
    seed: int = 0,
    num_threads: int = 1,
    on_skip: Callable[[Path, str], None] = log_skip,
    pose_seconds: float = TIME_LIMIT,
) -> Iterator[dict]:
    """Ask for the camera's motion over each clip and over parts of it.

    Poses are solved in a child process: a clip on which it crashes or exceeds its time is skipped.

    Args:
        source (`Path`): A folder of video files, searched to any depth, or one file.
        frames (`int`, *optional*, defaults to 8): Frames in a row, evenly spread over the clip.
        clips (`int`, *optional*): Stop after so many clips that gave rows.
        seed (`int`, *optional*, defaults to 0): Of wording, distractors and the poses' RANSAC.
        num_threads (`int`, *optional*, defaults to 1): Threads for the poses; with one they are reproducible.
        on_skip (`Callable[[Path, str], None]`, *optional*): Called with each clip that gives no row, and why.
        pose_seconds (`float`, *optional*, defaults to 300): Longest time for the poses of one clip.

    Yields:
        `dict`: The columns of the `dift` configuration. Imagery is the plain frame: raw video comes without masks.

    Raises:
        InputError: At the first row, if there is no video under `source`.
    """
    if frames < 2:
        raise InputError(f"a row of {frames} frames shows no motion; ask for at least 2")
    paths = find_videos(source)
    names = safe_names([path.relative_to(source) if path != source else Path(path.name) for path in paths])
    given = 0
    progress = tqdm(zip(paths, names, strict=True), total=len(paths), desc="clips", unit="clip", disable=None)
    with progress as bar, PoseProcess(pose_seconds) as pose_process:
        for path, name in bar:
            try:
                clip = read_frames(path, fps=POSE_FPS, max_frames=MAX_POSE_FRAMES)
                poses = estimate_camera(clip, seed, None, num_threads, pose_process.solve)
                rows = clip_rows(clip, poses, name, path.name, frames, seed)
            except InputError as error:
                on_skip(path, str(error))
                continue
            yield from rows
            given += 1
            if given == clips:
                return


def find_videos(source: Path) -> list[Path]:
    """Video files under a folder in the order of their names, or the one file given.

    Raises:
        InputError: If there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(f"{source} does not exist; name a folder of video files")
    found = sorted(
        path
        for path in source.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not found:
        raise InputError(f"{source} holds no video; it takes files named {', '.join(sorted(VIDEO_SUFFIXES))}")
    return found


def safe_names(paths: list[Path]) -> list[str]:
    """A name for each path that may stand in an id or a file name: ASCII, short, and no two alike in any case."""
    names: list[str] = []
    for path in paths:
        plain = str(path.with_suffix(""))
        ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", ascii_only).strip("-")[:_MAX_NAME]
        if name != plain or name.lower() in {other.lower() for other in names}:
            digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
            name = f"{name}-{digest}".lstrip("-")
        names.append(name)
    return names


def clip_rows(clip: Clip, poses: CameraPoses, name: str, source: str, frames: int = 8, seed: int = 0) -> list[dict]:
    """The rows of one clip whose poses are known.

    Args:
        clip ([`Clip`]): The frames.
        poses ([`CameraPoses`]): Their poses; frames without one are left out.
        name (`str`): What the rows' ids begin with.
        source (`str`): Where the clip comes from, for the column of that name.
        frames (`int`, *optional*, defaults to 8): Frames in a row, evenly spread.
        seed (`int`, *optional*, defaults to 0): Of wording and distractors.

    Returns:
        `list[dict]`: At least one row.

    Raises:
        ClipError: If no part of the clip has a clear camera motion.
    """
    usable = np.flatnonzero(poses.registered)
    shown = usable[np.unique(np.linspace(0, len(usable) - 1, frames).round().astype(int))]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    pictures = [fit_frame(clip.frames[index]) for index in shown]
    seconds = [clip.timestamps[index] for index in shown]
    rows = []
    for first, last in _segments(seconds):
        part = usable[(usable >= shown[first]) & (usable <= shown[last])]
        motion = camera_strengths(poses.camera_to_world[part], scene_depth=poses.scene_depth or 1.0)
        labels = camera_labels(poses.camera_to_world[part], scene_depth=poses.scene_depth or 1.0)
        if not _is_clear(labels, motion):
            continue
        start, end = seconds[first], seconds[last]
        asked = camera_question(labels, start, end, rng)
        numbers = {
            "seconds": [round(start, 3), round(end, 3)],
            "camera_degrees": {label: round(degrees, 1) for label, degrees in motion.items()},
        }
        rows.append(
            {
                "id": f"{name}-camera-{first}-{last}",
                "source": source,
                "task": "camera_motion",
                **asked,
                "frames": pictures,
                "timestamps": seconds,
                "facts": json.dumps(numbers),
                "response": checked_response(
                    camera_reasoning(labels, (start, end)), asked["answer"], asked["options"], imagery=2
                ),
                "imagery": [pictures[first], pictures[last]],
                "imagery_timestamps": [start, end],
                # Nothing is singled out: what is imagined is the whole frame.
                "imagery_masks": [Image.new("L", pictures[first].size, 255)] * 2,
            }
        )
    if not rows:
        raise ClipError(
            "unclear", "the camera stands still or moves in too many ways at once", "pick a clip with a clear motion"
        )
    return rows


def _segments(seconds: list[float]) -> list[tuple[int, int]]:
    """The whole clip and equal parts of about `SEGMENT_SECONDS`, as first and last index."""
    last = len(seconds) - 1
    parts = min(last, round((seconds[-1] - seconds[0]) / SEGMENT_SECONDS))
    bounds = np.linspace(0, last, parts + 1).round().astype(int).tolist() if parts > 1 else []
    return [(0, last), *pairwise(bounds)]


def _is_clear(labels: list[str], motion: dict[str, float]) -> bool:
    """Whether the labels tell the whole story, so that a question has one right option."""
    if not labels:
        return False
    # With one label, a wrong option names another motion; with two, wrong ones only reverse what is named.
    share = MAX_UNNAMED_BESIDE_ONE if len(labels) == 1 else MAX_UNNAMED_BESIDE_TWO
    weakest = min(motion[label] for label in labels)
    return all(degrees <= share * weakest for label, degrees in motion.items() if label not in labels)

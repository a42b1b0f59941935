"""In words, which frames of their videos a model was shown: as they were sampled, not as they were asked for."""

from typing import TYPE_CHECKING

from .benchmark import FramePolicy

if TYPE_CHECKING:
    from datasets import Dataset


def describe_frames(rows: "Dataset", policy: FramePolicy, video: str = "own", processor=None) -> str:
    """How many frames of each video are shown.

    Args:
        rows (`Dataset`): The rows.
        policy (`FramePolicy`): How videos are sampled; what it leaves open is as in training.
        video (`str`, *optional*, defaults to `"own"`): The control of the video.
        processor (*optional*): The model's processor, which may have a lower limit of pixels.
    """
    from ..modeling.dataset_files import keep_videos_encoded
    from ..modeling.processing import FRAMES_PER_SECOND, MAX_FRAMES, pixel_limits

    if video == "none":
        return "no video"
    stored = keep_videos_encoded(rows)
    counts = [len(row["frames"]) for row in stored if row.get("frames")]
    parts = []
    if counts:
        parts.append(
            f"{min(counts)} to {max(counts)} of the rows' own"
            if len(set(counts)) > 1
            else f"{counts[0]} of the rows' own"
        )
    if len(counts) < len(stored):
        rate = policy.fps or (None if policy.max_frames else FRAMES_PER_SECOND)
        parts.append(str(FramePolicy(rate, policy.max_frames or MAX_FRAMES)))
    pixels = pixel_limits(processor.video_processor, policy.max_pixels)[0] if processor else policy.max_pixels
    size = f", at most {pixels} pixels a frame" if pixels else ""
    still = ", the first of them repeated" if video == "first" else ""
    return f"{' or '.join(parts)}{size}{still}"

"""Render one held-out clip of the world to a video file, with a question about it."""

from itertools import count
from pathlib import Path

from ..world import World
from ..world.clip_file import write_clip
from .world_motion import SEED_RANGES, motion_questions

_SIDE = 224  # pixels; the model sees 56, a picture of that size would show little


def render_held_out_clip(path: Path) -> dict:
    """Write the first held-out clip that has a camera question, as a video file.

    Args:
        path (`Path`): The MP4 file to write.

    Returns:
        `dict`: Its row, with `question`, `options` and `answer` (letter).
    """
    with World(side=_SIDE) as world:
        for seed in count(SEED_RANGES["test"]):
            clip = world.clip(seed)
            for task, _, row in motion_questions(clip, seed):
                if task == "camera_motion":
                    write_clip(path, clip.rgb, world.fps)
                    return row
    raise RuntimeError("count() ended")  # it does not; the type checker cannot know

"""The first minute of `fourdthinker demo`: a rendered clip, a question about it, and the shipped model's answer."""

from itertools import count
from pathlib import Path

_SIDE = 224  # pixels; the model sees 56, a picture of that size would show little


def render_held_out_clip(path: Path) -> dict:
    """Write the first held-out clip that has a camera question, as a video file.

    Args:
        path (`Path`): The MP4 file to write.

    Returns:
        `dict`: Its row, with `question`, `options` and `answer` (letter).
    """
    from ..dataset_builders.sources.world_motion import SEED_RANGES, motion_questions
    from ..dataset_builders.world import World
    from ..dataset_builders.world.clip_file import write_clip

    with World(side=_SIDE) as world:
        for seed in count(SEED_RANGES["test"]):
            clip = world.clip(seed)
            for task, _, row in motion_questions(clip, seed):
                if task == "camera_motion":
                    write_clip(path, clip.rgb, world.fps)
                    return row
    raise RuntimeError("count() ended")  # it does not; the type checker cannot know

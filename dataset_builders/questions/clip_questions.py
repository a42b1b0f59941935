"""The questions about one clip, from its record alone: words, numbers and masks, no pixels."""

import json
import zlib
from typing import Any

import numpy as np

from ..clip_record import ClipRecord
from .motion import camera_question
from .motion_reasoning import camera_reasoning, checked_response


def ask_about_clip(
    record: ClipRecord, frames: int = 8, seed: int = 0, name: str | None = None
) -> list[dict[str, Any]]:
    """Everything that can be asked about a clip.

    Args:
        record ([`ClipRecord`]): With its facts.
        frames (`int`, *optional*, defaults to 8): Frames in a row, evenly spread.
        seed (`int`, *optional*, defaults to 0): Of wording and distractors.
        name (`str`, *optional*): What to call the moving object.

    Returns:
        `list[dict]`: The text columns of a row; `shown` (indices of its frames in the window) and `imagined` (for each
        imagery frame its `frame` index and its `mask`, or `None` for the plain frame).
    """
    rng = np.random.default_rng([seed, zlib.crc32(record.clip.encode())])
    times = np.array(record.window.timestamps)
    questions = []
    for number, fact in enumerate(record.facts.get("camera", ())):
        start, end = fact["span"]
        ends = [int(np.abs(times - moment).argmin()) for moment in (start, end)]
        asked = camera_question(fact["parts"][0], start, end, rng)
        reasoning = camera_reasoning(fact["parts"][0], (start, end))
        questions.append(
            {
                "id": f"{record.clip}-camera-{number}",
                "source": record.source,
                "task": "camera_motion",
                **asked,
                "facts": json.dumps({"seconds": [round(start, 3), round(end, 3)], "camera_degrees": fact["numbers"]}),
                "response": checked_response(reasoning, asked["answer"], asked["options"], imagery=2),
                "shown": show_frames(len(times), frames, ends),
                "imagined": [{"frame": index, "mask": None} for index in ends],
            }
        )
    return questions


def show_frames(count: int, frames: int, named: list[int]) -> list[int]:
    """Which frames of a window a row shows: evenly spread ones, and those that the text names.

    Args:
        count (`int`): Frames in the window.
        frames (`int`): How many to show, if there are so many.
        named (`list[int]`): Indices that must be among them; the nearest of the others make room.

    Returns:
        `list[int]`: Increasing indices.
    """
    shown = np.unique(np.linspace(0, count - 1, min(frames, count)).round().astype(int)).tolist()
    for index in named:
        if index not in shown:
            free = [other for other in shown if other not in named]
            shown.remove(min(free, key=lambda other: abs(other - index)))
            shown.append(index)
    return sorted(shown)

"""MLLM-4D's chain of thought in five steps, with the positions of camera and object."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...modeling.tokens import AnswerForm, format_answer, format_spatial_state
from .mllm4d import Kind, TwoFrames
from .motion_reasoning import describe_camera


def spatial_states(kind: Kind, frames: TwoFrames) -> tuple[list, list]:
    """The centres that an answer needs to know, of the camera and of the object, `None` in place of the others.

    Returns:
        `tuple[list, list]`: For each a pair of `[x, y, z]` in metres, for the first and the second frame.
    """
    return _select_needed(frames.camera, kind.camera), _select_needed(frames.object_centers, kind.object)


def answer_alone(row: Mapping[str, Any], form: AnswerForm = "letter") -> dict[str, Any]:
    """A row whose response is the answer without reasoning, as MLLM-4D's first stage trains on."""
    return {**row, "response": f"<answer>{format_answer(row['answer'], row['options'], form)}</answer>"}


def write_five_steps(
    kind: Kind, name: str, frames: TwoFrames, camera_labels: Sequence[str], places: tuple[str, str], answer: str
) -> str:
    """Objective, start state, progression, end state, synthesis: what MLLM-4D's reasoning goes through.

    Args:
        kind ([`Kind`]): What is asked.
        name (`str`): The object.
        frames ([`TwoFrames`]): The numbers.
        camera_labels (`Sequence[str]`): What the camera did in between.
        places (`tuple[str, str]`): Where in the image the object is at the start and at the end.
        answer (`str`): The right option.
    """
    cameras, objects = spatial_states(kind, frames)
    start, end = (format_spatial_state(*state) for state in zip(frames.numbers, cameras, objects, strict=True))
    first, last = frames.numbers
    asked_of_object = any(kind.object)
    subject = f"the {name}" if asked_of_object else "the camera"
    seen = f" The {name} goes from {places[0]} to {places[1]}." if asked_of_object else ""
    return (
        f"1. I look at {subject} from frame {first} to frame {last}.\n"
        f"2. At the start:\n{start}\n"
        f"3. In between: {describe_camera(camera_labels)}{seen}\n"
        f"4. At the end:\n{end}\n"
        f"5. So the answer is {answer}"
    )


def _select_needed(centres: np.ndarray, needed: tuple[bool, bool]) -> list:
    return [
        [round(float(axis), 3) for axis in centre] if is_needed else None
        for centre, is_needed in zip(centres, needed, strict=True)
    ]

"""Build rows of MLLM-4D's questions from the rendered world, for each of its three stages."""

import json
from collections.abc import Iterator

import numpy as np
from PIL import Image

from ...modeling.errors import InputError
from ...modeling.tokens import AnswerForm
from ..geometry.camera_motion import camera_labels
from ..questions.mllm4d import KINDS, METRES, Kind, TwoFrames, ask, metres, pick_two_frames
from ..questions.mllm4d_reasoning import answer_alone, spatial_states, write_five_steps
from ..questions.motion_reasoning import describe_place, format_checked_response
from ..world import WorldClip
from ..world.facts import SEEN_PIXELS_SHARE, visible_points
from ..world.scene import project
from .world_motion import balanced_rows, spread

# What each stage trains on: short answers, reasoning in five steps, questions with the true centres.
STAGES = ("sft", "cold_start", "grpo")


def mllm4d_rows(
    split: str, per_kind: int, stage: str, seed: int = 0, workers: int = 1, answer_form: AnswerForm = "letter"
) -> Iterator[dict]:
    """Rows of all seven kinds of question, as many of each, their answers evenly spread.

    Stages train on clips of their own; their test rows are the same questions.

    Args:
        split (`str`): `"train"` or `"test"`; they share no clip.
        per_kind (`int`): Questions of each kind.
        stage (`str`): One of `STAGES`.
        seed (`int`, *optional*, defaults to 0): Another seed gives other training clips.
        workers (`int`, *optional*, defaults to 1): Rendering processes; the rows do not depend on it.
        answer_form (`str`, *optional*, defaults to `"letter"`): Whether responses answer `B. 1.43 m` or with `"text"`
            `1.43 m`.

    Yields:
        `dict`: The columns of the configuration `mllm4d_<stage>`.

    Raises:
        InputError: If the stage or the split is unknown, or a number is out of range.
    """
    if stage not in STAGES:
        raise InputError(f"MLLM-4D has the stages {', '.join(STAGES)}, not {stage!r}")
    quotas = {name: spread(kind.labels, per_kind) for name, kind in KINDS.items()}
    of_stage = len(STAGES) * seed + STAGES.index(stage) if split == "train" else 0
    for row in balanced_rows(split, quotas, clip_questions, of_stage, workers):
        yield _add_response(row, stage, answer_form)


def clip_questions(clip: WorldClip, seed: int) -> list[tuple[str, str, dict]]:
    """Every question that two frames of a clip can answer, at least half of the clip apart.

    Returns:
        `list[tuple[str, str, dict]]`: Kind, label of the right answer, row with its `reasoning` and no response yet.
    """
    rng = np.random.default_rng([seed, 2])
    half = len(clip.rgb) // 2
    first = int(rng.integers(half))
    numbers = first, int(rng.integers(first + half, len(clip.rgb)))
    images = [Image.fromarray(frame) for frame in clip.rgb]
    found = []
    for index in range(len(clip.names)):
        if any((clip.masks[number] == index).mean() < SEEN_PIXELS_SHARE for number in numbers):
            continue
        points = tuple(visible_points(clip, number, index) for number in numbers)
        frames = pick_two_frames(clip.camera_to_world, clip.centres[:, index], points, clip.timestamps, numbers)
        for task, kind in KINDS.items():
            answer = kind.measure(frames)
            if answer is not None:
                label = answer if isinstance(answer, str) else METRES
                row = _row(clip, index, frames, task, answer, rng)
                found.append((task, label, {"id": f"world-{seed}-{task}-{index}", **row, "frames": images}))
    return found


def _row(
    clip: WorldClip, index: int, frames: TwoFrames, task: str, answer: float | str, rng: np.random.Generator
) -> dict:
    kind, name = KINDS[task], clip.names[index]
    right = answer if isinstance(answer, str) else metres(answer)
    cameras, objects = spatial_states(kind, frames)
    facts = {"frames": list(frames.numbers), "answer": right, **({"object": name} if any(kind.object) else {})}
    return {
        "source": "world",
        "task": task,
        **ask(kind, name, frames, answer, rng),
        "timestamps": list(clip.timestamps),
        "facts": json.dumps(facts),
        "camera_centers": cameras,
        "object_centers": objects,
        "reasoning": _reasoning(clip, index, frames, kind, right),
        "imagery": [],
        "imagery_timestamps": [],
        "imagery_masks": [],
    }


def _reasoning(clip: WorldClip, index: int, frames: TwoFrames, kind: Kind, right: str) -> str:
    first, last = frames.numbers
    ends = [first, last]
    focal = clip.intrinsics[0, 0] / clip.rgb.shape[1]
    seen = project(clip.centres[ends, index], clip.camera_to_world[ends], focal)
    start, end = (describe_place(column, depth) for column, _, depth in seen)
    went = camera_labels(clip.camera_to_world[first : last + 1])
    return write_five_steps(kind, clip.names[index], frames, went, (start, end), right)


def _add_response(row: dict, stage: str, form: AnswerForm) -> dict:
    reasoning, kept = row["reasoning"], {name: value for name, value in row.items() if name != "reasoning"}
    if stage == "sft":
        return answer_alone(kept, form)
    return {**kept, "response": format_checked_response(reasoning, row["answer"], row["options"], 0, form)}

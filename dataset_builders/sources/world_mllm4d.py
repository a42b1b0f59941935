"""Build rows of MLLM-4D's questions from the rendered world, for each of its three stages."""

import json
from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image

from ...modeling.errors import InputError
from ...modeling.tokens import AnswerForm
from ..geometry.camera_motion import camera_labels
from ..questions.mllm4d import (
    KINDS,
    METRES,
    Kind,
    TwoFrames,
    metres,
    offer_labels,
    pick_two_frames,
    word_question,
)
from ..questions.mllm4d_reasoning import answer_alone, spatial_states, write_five_steps
from ..questions.motion import shuffle_options
from ..questions.motion_reasoning import describe_place, format_checked_response
from ..questions.option_design import DistanceDesign
from ..world import World, WorldClip
from ..world.facts import SEEN_PIXELS_SHARE, visible_points
from ..world.scene import WORLD_SOURCE, project
from .world_motion import balanced_rows, spread

# What each stage trains on: short answers, reasoning in five steps, questions with the true centres.
STAGES = ("sft", "cold_start", "grpo")
SLOWEST = 0.4  # objects go less far, or how far would follow from how long
# What is rendered is known exactly: `clear` of `TwoFrames`, and the ratio of two distances on offer, at least.
_CLEAR, _LEAST_STEP = 1.25, 1.15
# How far distances are spread in this world, as 17 quantiles over 3,000 clips; wrong distances are drawn from them.
_QUANTILES = {
    "camera_distance": "1.44 1.58 1.71 1.77 1.83 1.89 1.95 2.02 2.10 2.19 2.33 2.65 2.90 3.22 3.49 3.80 4.16",
    "object_distance": "0.55 0.60 0.64 0.68 0.72 0.77 0.81 0.85 0.88 0.93 0.98 1.03 1.08 1.14 1.19 1.26 1.38",
    "object_camera_distance": "4.1 5.8 7.2 8.4 9.5 10.6 11.5 12.4 13.2 14.1 15.0 15.9 16.9 17.7 18.7 20.1 21.8",
}
_DESIGNS = {task: DistanceDesign({f"{value} m": 1 for value in values.split()}) for task, values in _QUANTILES.items()}


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
    for row in balanced_rows(split, quotas, clip_questions, of_stage, workers, partial(World, slowest=SLOWEST)):
        yield _add_response(row, stage, answer_form)


def clip_questions(clip: WorldClip, seed: int) -> list[tuple[str, str, dict]]:
    """Every question that two frames of a clip can answer, of which one starts and one ends it, or nearly.

    Returns:
        `list[tuple[str, str, dict]]`: Kind, label of the right answer, row with its `reasoning` and no response yet.
    """
    rng = np.random.default_rng([seed, 2])
    # Always as far apart, or the frames' numbers would tell how far something went.
    first = int(rng.integers(2))
    numbers = first, first + len(clip.rgb) - 2
    images = [Image.fromarray(frame) for frame in clip.rgb]
    # What a motion could have taken out of view is not asked about: that it shows would tell about the motion. The
    # camera is asked about whether or not anything shows.
    shown = [index for index in range(len(clip.names)) if clip.fits_any_motion[index] and _shows(clip, index, numbers)]
    found = []
    for index in [None, *shown]:
        frames = _two_frames(clip, index, numbers)
        for task, kind in KINDS.items():
            answer = kind.measure(frames) if any(kind.object) is (index is not None) else None
            options = None if answer is None else _offer(task, kind, answer, rng)
            if options:
                label = answer if isinstance(answer, str) else METRES
                name = f"world-{seed}-{task}-{'camera' if index is None else index}"
                found.append(
                    (task, label, {"id": name, **_row(clip, index, frames, task, options, rng), "frames": images})
                )
    return found


def _shows(clip: WorldClip, index: int, numbers: tuple[int, int]) -> bool:
    return all((clip.masks[number] == index).mean() >= SEEN_PIXELS_SHARE for number in numbers)


def _two_frames(clip: WorldClip, index: int | None, numbers: tuple[int, int]) -> TwoFrames:
    """The facts of two frames and of an object, or of the camera alone."""
    if index is None:
        nowhere = np.full((len(clip.rgb), 3), np.nan)
        centres, points = nowhere, (nowhere[:1], nowhere[:1])
    else:
        centres, points = clip.centres[:, index], tuple(visible_points(clip, number, index) for number in numbers)
    return pick_two_frames(clip.camera_to_world, centres, points, clip.timestamps, numbers, _CLEAR)


def _offer(task: str, kind: Kind, answer: float | str, rng: np.random.Generator) -> list[str] | None:
    """The options, the right one first, or nothing where two distances would be too near to each other."""
    if isinstance(answer, str):
        return offer_labels(answer, kind.labels, rng)
    right = metres(answer)
    wrong = _DESIGNS[task].draw(right, _LEAST_STEP, rng)
    return None if wrong is None else [right, *map(metres, wrong)]


def _row(
    clip: WorldClip, index: int | None, frames: TwoFrames, task: str, options: list[str], rng: np.random.Generator
) -> dict:
    kind, name = KINDS[task], "" if index is None else clip.names[index]
    cameras, objects = spatial_states(kind, frames)
    facts = {"frames": list(frames.numbers), "answer": options[0], **({"object": name} if name else {})}
    return {
        "source": WORLD_SOURCE,
        "task": task,
        **shuffle_options(word_question(kind, name, frames.numbers, frames.seconds), options, rng),
        "timestamps": list(clip.timestamps),
        "facts": json.dumps(facts),
        "camera_centers": cameras,
        "object_centers": objects,
        "reasoning": _reasoning(clip, index, frames, kind, options[0]),
        "imagery": [],
        "imagery_timestamps": [],
        "imagery_masks": [],
    }


def _reasoning(clip: WorldClip, index: int | None, frames: TwoFrames, kind: Kind, right: str) -> str:
    first, last = frames.numbers
    went = camera_labels(clip.camera_to_world[first : last + 1])
    if index is None:
        return write_five_steps(kind, "", frames, went, ("", ""), right)
    ends = [first, last]
    focal = clip.intrinsics[0, 0] / clip.rgb.shape[1]
    seen = project(clip.centres[ends, index], clip.camera_to_world[ends], focal)
    start, end = (describe_place(*place) for place in seen)
    return write_five_steps(kind, clip.names[index], frames, went, (start, end), right)


def _add_response(row: dict, stage: str, form: AnswerForm) -> dict:
    reasoning, kept = row["reasoning"], {name: value for name, value in row.items() if name != "reasoning"}
    if stage == "sft":
        return answer_alone(kept, form)
    return {**kept, "response": format_checked_response(reasoning, row["answer"], row["options"], 0, form)}

"""Build camera-motion and object-motion rows from the rendered world, with balanced answers."""

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ...modeling.errors import InputError
from ...modeling.tokens import AnswerForm
from ..geometry.camera_motion import CAMERA_LABELS
from ..geometry.object_motion import OBJECT_LABELS
from ..imagery import paint_object
from ..questions.motion import camera_question, object_question
from ..questions.motion_reasoning import camera_reasoning, format_checked_response, object_reasoning
from ..world import World, WorldClip
from ..world.facts import ClipFacts, ObjectFacts, clip_facts
from ..world.scene import WORLD_SOURCE
from ..world.worker_pool import worker_pool

# Clips of different purposes never share a seed.
SEED_RANGES = {"train": 0, "test": 2**40, "pretrain": 2**41}
_CLIPS_A_SEED = 2**24
_SEEDS = 2**16  # times `_CLIPS_A_SEED`: the distance of two ranges
_CLIPS_A_TASK = 16

Label = TypeVar("Label", bound=Hashable)
Candidates = Callable[[Any, int], list[tuple[str, str, dict]]]
OpenWorld = Callable[[], World]


def world_rows(
    split: str, per_task: int, seed: int = 0, workers: int = 1, answer_form: AnswerForm = "letter"
) -> Iterator[dict]:
    """Rows of camera-motion and object-motion questions, as many of each, their answers evenly spread.

    Args:
        split (`str`): `"train"` or `"test"`; they share no clip.
        per_task (`int`): Camera questions, and as many object questions.
        seed (`int`, *optional*, defaults to 0): Another seed gives other clips.
        workers (`int`, *optional*, defaults to 1): Rendering processes; the rows do not depend on it.
        answer_form (`str`, *optional*, defaults to `"letter"`): Whether responses answer `B. Pan Right`, as published,
            or with `"text"` `Pan Right`.

    Yields:
        `dict`: The columns of the `dift` configuration.

    Raises:
        InputError: If the split is not one of these, or a number is out of range.
    """
    quotas = {
        "camera_motion": spread(CAMERA_LABELS, per_task),
        "object_motion": spread(OBJECT_LABELS, per_task),
    }
    for row in balanced_rows(split, quotas, motion_questions, seed, workers):
        yield _add_response(row, answer_form)


def balanced_rows(
    split: str,
    quotas: Mapping[str, Mapping[str, int]],
    candidates: Candidates,
    seed: int = 0,
    workers: int = 1,
    open_world: OpenWorld = World,
) -> Iterator[dict]:
    """Rows from clip after clip, until there are as many of each label as wanted.

    Args:
        split (`str`): `"train"` or `"test"`; they share no clip.
        quotas (`Mapping[str, Mapping[str, int]]`): For each task, how many rows of each label.
        candidates (`Callable`): Every question that a clip can answer, from the clip and its seed: task, label of the
            right answer, row. A function of a module, since other processes call it.
        seed (`int`, *optional*, defaults to 0): Another seed gives other clips.
        workers (`int`, *optional*, defaults to 1): Rendering processes; the rows do not depend on it.
        open_world (`Callable`, *optional*): Opens the world whose method `clip` renders the clip of a seed.

    Raises:
        InputError: If the split is not one of these, or a number is out of range.
    """
    first = first_clip(split, seed)
    left = {task: Counter(labels) for task, labels in quotas.items()}
    total = sum(counts.total() for counts in left.values())
    with tqdm(total=total, desc=f"{split} rows", unit="row", disable=None) as bar:
        for offered in render_candidates(first, workers, candidates, open_world):
            for task, counts in left.items():
                row = _pop_most_needed(offered, task, counts)
                if row is not None:
                    bar.update()
                    yield row
            if not any(counts.total() for counts in left.values()):
                return


def first_clip(split: str, seed: int, ranges: Mapping[str, int] = SEED_RANGES) -> int:
    """The seed of the first clip of a split, of another range for each of the user's seeds.

    Args:
        split (`str`): `"train"` or `"test"`.
        seed (`int`): The user's.
        ranges (`Mapping[str, int]`, *optional*): Where the splits begin.

    Raises:
        InputError: If the split is not one of these, or the seed is out of range.
    """
    if split not in ("train", "test"):
        raise InputError(f"the rendered world has the splits 'train' and 'test', not {split!r}")
    if not 0 <= seed < _SEEDS:
        raise InputError(f"the rendered world has clips for the seeds 0 to {_SEEDS - 1}, not for {seed}")
    return ranges[split] + seed * _CLIPS_A_SEED


def spread(labels: Sequence[Label], total: int) -> dict[Label, int]:
    """Divide a number of rows evenly among labels, as far as possible.

    Raises:
        InputError: If the number is negative.
    """
    if total < 0:
        raise InputError(f"there cannot be {total} questions")
    return {label: total // len(labels) + (number < total % len(labels)) for number, label in enumerate(labels)}


def motion_questions(clip: WorldClip, seed: int) -> list[tuple[str, str, dict]]:
    """Every question that the clip of a seed can answer, as `clip_candidates` gives them; the seed words them."""
    return clip_candidates(clip, clip_facts(clip), f"world-{seed}", np.random.default_rng([seed, 1]))


def clip_candidates(
    clip: WorldClip, facts: ClipFacts, name: str, rng: np.random.Generator
) -> list[tuple[str, str, dict]]:
    """Every question that a clip can answer.

    Returns:
        `list[tuple[str, str, dict]]`: Task, label of the right answer, row with its `reasoning` and no response yet.
    """
    candidates = []
    resting = [item for item in facts.objects if item.seen and item.label == "Staying in Place"]
    # Every camera motion is asked about, whether or not something stays in view to tell it by: that something does
    # would tell about the motion.
    if len(facts.camera) == 1:
        reference = resting[int(rng.integers(len(resting)))] if resting else None
        candidates.append(("camera_motion", facts.camera[0], _camera_row(clip, facts, reference, name, rng)))
    for item in facts.objects:
        # Nor is an object asked about that one of its motions would have taken out of view.
        if item.seen and item.fits_any_motion and item.label:
            candidates.append(("object_motion", item.label, _object_row(clip, facts, item, name, rng)))
    return candidates


def _camera_row(
    clip: WorldClip, facts: ClipFacts, reference: ObjectFacts | None, name: str, rng: np.random.Generator
) -> dict:
    start, end = clip.timestamps[0], clip.timestamps[-1]
    question = camera_question(facts.camera, start, end, rng)
    seen = None if reference is None else (reference.name, reference.start, reference.end)
    reasoning = camera_reasoning(facts.camera, (start, end), seen, facts.describe_scene(reference, camera=False))
    numbers = {"camera_degrees": facts.camera_degrees, "reference": None if reference is None else reference.name}
    return _row(clip, f"{name}-camera", "camera_motion", question, reasoning, numbers, reference)


def _object_row(clip: WorldClip, facts: ClipFacts, item: ObjectFacts, name: str, rng: np.random.Generator) -> dict:
    start, end = clip.timestamps[0], clip.timestamps[-1]
    question = object_question(item.name, str(item.label), start, end, rng)
    scene = facts.describe_scene(last=item)
    reasoning = object_reasoning(item.name, (start, end), item.start, item.end, str(item.label), scene)
    right, _, forward = item.displacement
    numbers = {
        "object": item.name,
        "metres_right": round(float(right), 3),
        "metres_forward": round(float(forward), 3),
    }
    return _row(clip, f"{name}-object-{item.index}", "object_motion", question, reasoning, numbers, item)


def _row(
    clip: WorldClip,
    identity: str,
    task: str,
    question: dict,
    reasoning: str,
    numbers: dict,
    painted: ObjectFacts | None,
) -> dict:
    ends = (0, len(clip.rgb) - 1)
    masks = [
        clip.masks[index] == painted.index if painted else np.ones_like(clip.masks[index], bool) for index in ends
    ]
    imagery = [
        paint_object(clip.rgb[index], mask) if painted else Image.fromarray(clip.rgb[index])
        for index, mask in zip(ends, masks, strict=True)
    ]
    return {
        "id": identity,
        "source": WORLD_SOURCE,
        "task": task,
        **question,
        "frames": [Image.fromarray(frame) for frame in clip.rgb],
        "timestamps": list(clip.timestamps),
        "facts": json.dumps(numbers),
        "reasoning": reasoning,
        "imagery": imagery,
        "imagery_timestamps": [clip.timestamps[index] for index in ends],
        "imagery_masks": [Image.fromarray(mask.astype(np.uint8) * 255) for mask in masks],
    }


def _add_response(row: dict, answer_form: AnswerForm) -> dict:
    parts = (row["reasoning"], row["answer"], row["options"], len(row["imagery"]))
    kept = {name: value for name, value in row.items() if name != "reasoning"}
    return {**kept, "response": format_checked_response(*parts, answer_form)}


def _pop_most_needed(candidates: list[tuple[str, str, dict]], task: str, quotas: Counter) -> dict | None:
    """The row of a task whose answer is still short the most; takes it off the account."""
    open_ones = [(label, row) for kind, label, row in candidates if kind == task and quotas[label] > 0]
    if not open_ones:
        return None
    label, row = max(open_ones, key=lambda pair: quotas[pair[0]])
    quotas[label] -= 1
    return row


def render_candidates(
    first_seed: int, workers: int, candidates: Candidates, open_world: OpenWorld
) -> Iterator[list[tuple[str, str, dict]]]:
    """Candidates of one clip after the other, rendered ahead by `workers` processes.

    Args:
        first_seed (`int`): Of the first clip; each has one more.
        workers (`int`): Rendering processes; with 1 clips are rendered here.
        candidates (`Callable`): Makes what is wanted of a clip and its seed. A function of a module.
        open_world (`Callable`): Opens the world whose method `clip` renders the clip of a seed.
    """
    batches = (
        range(first_seed + start, first_seed + start + _CLIPS_A_TASK)
        for start in range(0, _CLIPS_A_SEED, _CLIPS_A_TASK)
    )
    if workers <= 1:
        for seeds in batches:
            yield from _render_batch(seeds, candidates, open_world)
        return
    with worker_pool(workers) as pool:
        pending = [
            pool.apply_async(_render_batch, (next(batches), candidates, open_world)) for _ in range(2 * workers)
        ]
        for seeds in batches:
            yield from pending.pop(0).get()
            pending.append(pool.apply_async(_render_batch, (seeds, candidates, open_world)))


def _render_batch(seeds: range, candidates: Candidates, open_world: OpenWorld) -> list[list[tuple[str, str, dict]]]:
    with open_world() as world:
        return [candidates(world.clip(seed), seed) for seed in seeds]

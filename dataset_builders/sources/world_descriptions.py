"""Captions of rendered clips, and text-only exercises: the training data of the tiny backbone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from ...modeling.prompts import question_text
from ...modeling.tokens import drop_imagery_marks, format_answer, format_options, format_response
from ..geometry.camera_motion import CAMERA_LABELS
from ..geometry.object_motion import OBJECT_LABELS
from ..imagery import paint_object
from ..questions.motion import camera_question, object_question
from ..questions.motion_reasoning import (
    camera_reasoning,
    describe_camera,
    describe_motion,
    describe_place,
    describe_places,
    object_reasoning,
)
from ..world import World, WorldClip
from ..world.cells import cell_targets
from ..world.facts import ClipFacts, clip_facts
from ..world.scene import COLOURS, SHAPES
from ..world.worker_pool import worker_pool
from .world_motion import SEED_RANGES

_CLIPS_A_TASK = 64
CELLS = 4  # along each side of the image, as many as the tiny vision tower has patches
_WHICH_OPTION = "{statement}\n\n{options}\nWhich option is it?"


@dataclass(frozen=True)
class DescribedClip:
    """A rendered clip and its descriptions.

    Attributes:
        rgb (`np.ndarray` of shape `(frames, side, side, 3)`, uint8).
        camera (`str`): A sentence for the camera.
        objects (`list[tuple[str, str, str]]`): Name, places and motion of each object to speak of, see
            `ClipFacts.described`; the last two are sentences.
        cells (`np.ndarray`): What each cell shows, see `cell_targets`.
        painted (`np.ndarray` of shape `(side, side, 3)`, uint8): The first frame with the first object painted red.
        painted_caption (`str`): Which object that is, and where.
        fps (`float`): Frames a second.
    """

    rgb: np.ndarray
    camera: str
    objects: list[tuple[str, str, str]]
    cells: np.ndarray
    painted: np.ndarray
    painted_caption: str
    fps: float

    @property
    def caption(self) -> str:
        """Every object's places, the camera, and every object's motion."""
        return " ".join([self.scene(), *(motion for *_, motion in self.objects)])

    def scene(self, last: str | None = None) -> str:
        """Every object's places and the camera; the object with the name `last` after all the others."""
        objects = sorted(self.objects, key=lambda item: item[0] == last)
        return " ".join([*(places for _, places, _ in objects), self.camera])


def described_clips(count: int, seed: int, workers: int) -> list[DescribedClip]:
    """Render and describe `count` clips; which ones depends on `seed` alone."""
    first = SEED_RANGES["pretrain"] + seed * 2**24
    tasks = [
        range(first + start, first + min(start + _CLIPS_A_TASK, count)) for start in range(0, count, _CLIPS_A_TASK)
    ]
    clips: list[DescribedClip] = []
    with worker_pool(workers) as pool, tqdm(total=count, desc="clips", unit="clip", disable=None) as bar:
        for batch in pool.imap(_describe_batch, tasks):
            clips.extend(batch)
            bar.update(len(batch))
    return clips


def _describe_batch(seeds: Sequence[int]) -> list[DescribedClip]:
    with World() as world:
        described = []
        for seed in seeds:
            clip = world.clip(seed)
            facts = clip_facts(clip)
            painted, painted_caption = _paint_one(clip, facts, seed)
            described.append(
                DescribedClip(
                    rgb=clip.rgb,
                    camera=describe_camera(facts.camera),
                    objects=[
                        (
                            item.name,
                            describe_places(item.name, item.start, item.end),
                            describe_motion(item.name, str(item.label)),
                        )
                        for item in facts.described
                    ],
                    cells=cell_targets(clip, CELLS),
                    painted=painted,
                    painted_caption=painted_caption,
                    fps=world.fps,
                )
            )
        return described


def _paint_one(clip: WorldClip, facts: ClipFacts, seed: int) -> tuple[np.ndarray, str]:
    """The first or the last frame with an object in it painted, and which one where; or that none shows."""
    end = -(seed // 7 % 2)
    shown = [item for item in facts.objects if (clip.masks[end] == item.index).any()]
    if not shown:
        return clip.rgb[end], "Nothing."
    chosen = shown[seed % len(shown)]
    painted = np.asarray(paint_object(clip.rgb[end], clip.masks[end] == chosen.index))
    return painted, f"The {chosen.name} at {chosen.end if end else chosen.start}."


def make_option_text(rng: np.random.Generator) -> tuple[str, str]:
    """A statement with four options, and the option with the same meaning."""
    if rng.random() < 0.5:
        label = str(rng.choice(CAMERA_LABELS))
        question, statement = camera_question([label], 0.0, 0.0, rng), describe_camera([label])
    else:
        label = str(rng.choice(OBJECT_LABELS))
        question, statement = object_question("object", label, 0.0, 0.0, rng), f"It is {label}."
    prompt = _WHICH_OPTION.format(statement=statement, options=format_options(question["options"]))
    return prompt, format_answer(question["answer"], question["options"])


def make_scene_text(rng: np.random.Generator) -> tuple[str, str]:
    """A scene described in words with a question about it, and the response that a video of it would ask for."""
    count = int(rng.integers(2, 4))
    colours = rng.choice(list(COLOURS), count, replace=False)
    # As in the world, one of them rests: what a camera question refers to.
    motions = ["Staying in Place", *map(str, rng.choice(OBJECT_LABELS, count - 1))]
    objects = []
    for colour, motion in zip(colours, motions, strict=True):
        first, last = (describe_place(*rng.uniform((0, 0, 5), (1, 1, 20))) for _ in range(2))
        objects.append((f"{colour} {rng.choice(SHAPES)}", first, last, motion))
    camera = [str(rng.choice(CAMERA_LABELS))]

    def scene(order: Sequence[int]) -> str:
        return " ".join([*(describe_places(*objects[index][:3]) for index in order), describe_camera(camera)])

    order = rng.permutation(count)
    start, end = 0.0, float(rng.integers(2, 20)) / 2
    if rng.random() < 0.5:
        question = camera_question(camera, start, end, rng)
        places = " ".join(describe_places(*objects[index][:3]) for index in order)
        reasoning = camera_reasoning(camera, (start, end), objects[0][:3], places)
    else:
        chosen = int(rng.integers(count))
        name, first, last, label = objects[chosen]
        question = object_question(name, label, start, end, rng)
        described_last = scene(sorted(order, key=lambda index: index == chosen))
        reasoning = object_reasoning(name, (start, end), first, last, label, described_last)
    response = drop_imagery_marks(format_response(reasoning, question["answer"], question["options"], "text"))
    told = " ".join([scene(order), *(describe_motion(name, motion) for name, *_, motion in objects)])
    return f"{told}\n{question_text(question['question'], question['options'])}", response


def world_texts(clips: list[DescribedClip]) -> Iterator[str]:
    """Every kind of text about the world: the training corpus of the tokenizer."""
    for number, clip in enumerate(clips):
        rng = np.random.default_rng(number)
        start, end = sorted(rng.uniform(0, 10, 2))
        labels = [str(rng.choice(CAMERA_LABELS))]
        questions = [camera_question(labels, start, end, rng)]
        for name, *_ in clip.objects:
            questions.append(object_question(name, str(rng.choice(OBJECT_LABELS)), start, end, rng))
        yield from (question_text(row["question"], row["options"]) for row in questions)
        # The answer apart from its tags: a letter must be one token wherever it stands, never one with a bracket.
        yield f"<think>{camera_reasoning(labels, (start, end))}</think>"
        yield "<answer></answer>"
        yield clip.caption
        yield clip.painted_caption

"""Build rows about what comes after a cut from rendered scenes, by the same facts and words as rows of real clips."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...modeling.clip import Clip
from ...modeling.tokens import AnswerForm
from ..pipeline.rows import make_rows
from ..questions.future_facts import DISTANCE, PLACE, FutureView, find_moment
from ..questions.future_questions import ask_about_future
from ..questions.option_design import OptionDesign
from ..world import World, WorldClip
from ..world.future_scenes import FPS, FRAMES, SHOWN_FRAMES, TASKS, FuturePlan, draw_future_scene
from .world_motion import balanced_rows, spread
from .world_records import world_record

SIDE = 56  # pixels of a frame, as of the world's other rows
_TOKEN = 28
_DESIGNS = {task: OptionDesign(dict.fromkeys(labels, 1)) for task, labels in TASKS.items()}


class FutureClip(NamedTuple):
    """A rendered clip, whole, and what it is made to be asked."""

    clip: WorldClip
    plan: FuturePlan


class FutureWorld(World):
    """A source of clips for questions about the future.

    Args:
        side (`int`, *optional*, defaults to 56): Frame side in pixels.
    """

    def __init__(self, side: int = SIDE):
        super().__init__(side, FRAMES, FPS)

    def clip(self, seed: int) -> FutureClip:  # type: ignore[override]
        """Draw and render the clip of one seed, which says what is asked as well."""
        scene, plan = draw_future_scene(seed, list(TASKS)[seed % len(TASKS)])
        return FutureClip(self.render(scene), plan)


def future_rows(
    split: str,
    per_task: int,
    seed: int = 0,
    workers: int = 1,
    answer_form: AnswerForm = "letter",
    side: int = SIDE,
) -> Iterator[dict]:
    """Rows of the four kinds of question about the future, as many of each, their answers evenly spread.

    A row shows the eight frames before the cut; its imagery is two frames after it. Each clip has one row.

    Args:
        split (`str`): `"train"` or `"test"`; they share no clip.
        per_task (`int`): Questions of each kind.
        seed (`int`, *optional*, defaults to 0): Another seed gives other clips.
        workers (`int`, *optional*, defaults to 1): Rendering processes; the rows do not depend on it.
        answer_form (`str`, *optional*, defaults to `"letter"`): Whether responses answer `B. Shifted Up`, or with
            `"text"` `Shifted Up`.
        side (`int`, *optional*, defaults to 56): Frame side in pixels, a multiple of 28.

    Yields:
        `dict`: The columns of the configuration `dift`.

    Raises:
        InputError: If the split is unknown, or a number is out of range.
    """
    quotas = {task: spread(labels, per_task) for task, labels in TASKS.items()}
    candidates = partial(future_questions, answer_form=answer_form)
    yield from balanced_rows(split, quotas, candidates, seed, workers, partial(FutureWorld, side))


def future_questions(
    rendered: FutureClip, seed: int, answer_form: AnswerForm = "letter"
) -> list[tuple[str, str, dict]]:
    """The question that a clip was made for, unless what its frames show is too little for the label.

    Returns:
        `list[tuple[str, str, dict]]`: Task, label of the right answer, row; one of these or none.
    """
    clip, plan = rendered
    record = world_record(clip, f"world-{seed}")
    moment = find_moment(record.window.timestamps, SHOWN_FRAMES - 1, (plan.until + 1 - SHOWN_FRAMES) / FPS)
    assert moment is not None
    rng = np.random.default_rng([seed, 3])
    asked = (0,) if plan.task in (PLACE, DISTANCE) else tuple(map(int, rng.permutation(2)))
    fact = next(FutureView(record).facts(plan.task, asked, [moment]), None)
    if fact is None:
        return []
    question = ask_about_future(record, fact, _DESIGNS[plan.task], SHOWN_FRAMES, _TOKEN, rng, "parts", answer_form)
    if question is None:
        return []
    question["id"] = f"{record.clip}-future"
    del question["draft"]
    pictures = [Image.fromarray(np.asarray(frame)) for frame in clip.rgb]
    (row,) = make_rows(Clip(pictures, list(clip.timestamps)), [question])
    return [(plan.task, plan.label, row)]

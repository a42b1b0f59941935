"""The ST-reward of MLLM-4D: correct answer, format, and stated positions of camera and object."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ...eval_tasks.answers import extract_answer
from ...modeling.errors import InputError
from ...modeling.tokens import SPATIAL_STATE
from .parsing import Completion, completion_texts, drop_latent_blocks, well_formed_reasoning

Point = tuple[float, float, float]
# Where something is in the start frame and in the end frame.
Centers = tuple[Point | None, Point | None]

WEIGHTS = {"accuracy": 0.6, "format": 0.2, "camera": 0.1, "object": 0.1}
CENTER_SCALES = ("metric", "relative")
CENTER_COLUMNS = ("camera_centers", "object_centers")
NEAREST = 1.0  # metres: with the relative scale, an error about something nearer counts as if it were so far away
_TAGGED, _LOCATED, _EXPLAINED = 0.5, 0.4, 0.1
_SHORT_REASONING = 20  # letters and digits

# Every repeat is bounded, so that no text costs more than linear time. JSON's numbers; NaN and Infinity are none.
_NUMBER = r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?"
_POINT = rf"null|\[\s{{0,4}}{_NUMBER}\s{{0,4}},\s{{0,4}}{_NUMBER}\s{{0,4}},\s{{0,4}}{_NUMBER}\s{{0,4}}\]"
_STATE = re.compile(
    rf"{re.escape(SPATIAL_STATE)}([0-9]{{1,9}})\):\s{{0,8}}-\s{{0,4}}Camera Center:\s{{0,4}}({_POINT})"
    rf"\s{{0,8}}-\s{{0,4}}Object Center:\s{{0,4}}({_POINT})"
)


def spatiotemporal_reward(
    completions: Sequence[Completion],
    answer: Sequence[str | None],
    camera_centers: Sequence[Sequence | None],
    object_centers: Sequence[Sequence | None],
    options: Sequence[Sequence[str] | None] | None = None,
    rollout_text: Sequence[str] | None = None,
    center_scale: str = "metric",
    log_metric: Callable[[str, float], None] | None = None,
    **columns: Any,
) -> list[float | None]:
    r"""0.6 · accuracy + 0.2 · format + 0.1 · camera + 0.1 · object (MLLM-4D, `qwen-vl-rft/ST-reward.py`).

    A completion says where things are at the start and at the end in two blocks, in this order:

    ```text
    Spatial State (Frame 3):
    - Camera Center: [0.00, 0.00, 0.00]
    - Object Center: null
    ```

    Accuracy is 1 for the right option, read as by [`accuracy_reward`]. Format is 0.5 for what [`format_reward`] pays,
    plus 0.4 for the two blocks, plus 0.1 for more than 20 letters and digits of reasoning in that format. Camera and
    object are exp(-mean ‖said - true‖) over the frames in which the true centre is known.

    Kept as published: weights and parts, metres without tolerance, and blocks looked for in the whole completion, so
    that a third one forfeits camera, object and its part of the format. Changed, since each of these paid for
    something else than being right:

    - Untagged text was compared with the letter; both tag pairs had only to occur, wherever; spaces made reasoning
      long. See the rewards named above.
    - The blocks' part of the format asked for a point of camera and object each, which took 0.08 from questions about
      the camera alone while `object` gave 0.1 for not printing one. Here `null` is as good in the format as a point.
    - Where no centre is known, printing none was paid, an empty completion included. Here `null` must be said.
    - Centres were matched by their number, so that a point given for the wrong frame was paid. Here frames must agree.
    - Any bracket after the centre's name was read. Here it holds three JSON numbers; anything else is no block.

    Args:
        completions (`list[str]` or `list[list[dict]]`):
            What the model said.
        answer (`list[str]`):
            Letter of the right option of each row. Rows without one are left out of the reward.
        camera_centers (`list`):
            For each row the camera's centre in the start and in the end frame: `[[x, y, z], [x, y, z]]` in metres,
            with `None` for a centre that is not known or not asked for, or for both.
        object_centers (`list`):
            The same for the object.
        options (`list[list[str]]`, *optional*):
            Option texts of each row, without letters.
        rollout_text (`list[str]`, *optional*):
            The completions with latent tokens kept; preferred where given. Nothing in a latent block is read.
        center_scale (`str`, *optional*, defaults to `"metric"`):
            `"metric"` as published, where 1 m off gives 0.37 and 3 m 0.05 whatever the scene; or `"relative"`, each
            distance divided by max(1 m, ‖true centre‖). Choose it by `functools.partial`.
        log_metric (`Callable`, *optional*):
            TRL's own: it receives each part as `rewards/spatiotemporal/<part>`.

    Returns:
        `list[float | None]`: From 0 to 1, or `None` for a row that has no answer to compare with.

    Raises:
        InputError: If the scale is neither, or a row's centres are no two points or nulls.
    """
    if center_scale not in CENTER_SCALES:
        raise InputError(f"center_scale is {center_scale!r}: choose one of {', '.join(CENTER_SCALES)}")
    texts = completion_texts(completions, rollout_text)
    offered = options if options is not None else [None] * len(texts)
    rewards: list[float | None] = []
    for text, letter, choices, camera, object_center in zip(
        texts, answer, offered, camera_centers, object_centers, strict=True
    ):
        if not letter:
            rewards.append(None)
            continue
        truth = read_centers(camera, "camera_centers"), read_centers(object_center, "object_centers")
        parts = _parts(text, letter.strip().upper(), choices, *truth, center_scale)
        rewards.append(sum(WEIGHTS[name] * part for name, part in parts.items()))
        if log_metric is not None:
            for name, part in parts.items():
                log_metric(f"rewards/spatiotemporal/{name}", part)
    return rewards


@dataclass(frozen=True)
class SpatialStates:
    """Positions of camera and object in the start and end frame, as a completion states them.

    Attributes:
        camera (`Centers`): The camera's centres in metres, `None` where it said `null`.
        object (`Centers`): The object's.
    """

    camera: Centers
    object: Centers


def read_spatial_states(text: str) -> SpatialStates | None:
    """The two blocks of a text, or nothing if there are not just two, whole and in the order of their frames."""
    # A third is as good as a hundred; one that breaks off counts as well, or many guesses could hide beside two.
    found = list(islice(_STATE.finditer(text), 3))
    if len(found) != 2 or text.count(SPATIAL_STATE) != 2:
        return None
    start, end = found
    if int(start[1]) >= int(end[1]):
        return None
    return SpatialStates((_point(start[2]), _point(end[2])), (_point(start[3]), _point(end[3])))


def _point(text: str) -> Point | None:
    if text == "null":
        return None
    x, y, z = (float(number) for number in text[1:-1].split(","))
    return x, y, z


def read_centers(values: Sequence | None, column: str) -> Centers:
    """A row's true centres, from one of the `CENTER_COLUMNS`.

    Raises:
        InputError: If they are no two points or nulls.
    """
    pair = (None, None) if values is None else values
    try:
        start, end = (None if point is None else tuple(map(float, point)) for point in pair)
    except (TypeError, ValueError) as error:
        raise InputError(f"{column} holds {values!r:.80}: write two points [x, y, z], or nulls") from error
    if any(point is not None and (len(point) != 3 or not all(map(math.isfinite, point))) for point in (start, end)):
        raise InputError(f"{column} holds {values!r:.80}: write two points [x, y, z], or nulls")
    return start, end


def _parts(
    text: str, letter: str, choices: Sequence[str] | None, camera: Centers, object_centers: Centers, scale: str
) -> dict[str, float]:
    words = drop_latent_blocks(text)
    reasoning, states = well_formed_reasoning(text), read_spatial_states(words)
    explained = reasoning is not None and sum(map(str.isalnum, reasoning)) > _SHORT_REASONING
    return {
        "accuracy": float(extract_answer(words, choices, policy="reward") == letter),
        "format": _TAGGED * (reasoning is not None) + _LOCATED * (states is not None) + _EXPLAINED * explained,
        "camera": 0.0 if states is None else _closeness(states.camera, camera, scale),
        "object": 0.0 if states is None else _closeness(states.object, object_centers, scale),
    }


def _closeness(stated: Centers, true: Centers, scale: str) -> float:
    """exp(-mean distance) over the frames in which there is a true centre; 0 if another frame has one."""
    if [point is None for point in stated] != [point is None for point in true]:
        return 0.0
    # A number too large for a float is infinity, which is infinitely far away: never an error, never a NaN.
    distances = [
        math.dist(stated_point, point) / (max(NEAREST, math.hypot(*point)) if scale == "relative" else 1.0)
        for stated_point, point in zip(stated, true, strict=True)
        if stated_point is not None and point is not None
    ]
    return math.exp(-sum(distances) / len(distances)) if distances else 1.0

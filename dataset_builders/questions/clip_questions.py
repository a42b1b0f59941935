"""The questions about one clip, from its record alone: words, numbers and masks, no pixels."""

import logging
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...modeling.errors import InputError
from ..clip_record import ClipRecord
from .camera_questions import ask_about_camera, name_motion, opposite_motion
from .future_facts import FAMILY as FUTURE
from .future_questions import ask_about_future
from .mllm4d import OPPOSITE, asks_for_metres
from .object_questions import ask_about_object, askable_facts
from .option_design import DistanceDesign, OptionDesign
from .spatial_questions import answer_text, ask_about_space

_logger = logging.getLogger(__name__)


class Candidate(NamedTuple):
    """Something that can be asked about a clip.

    Attributes:
        kind (`str`): Questions of one kind have answers of one kind, among which wrong options are drawn.
        answer (`str`): The right option.
        fact (`int`): Number of the fact among the record's `camera`, `objects`, `space` or `future` facts.
    """

    kind: str
    answer: str
    fact: int


def list_candidates(facts: Mapping[str, Any], families: Sequence[str] | None = None) -> list[Candidate]:
    """Everything that a record's facts allow to ask, in a fixed order.

    Args:
        facts (`Mapping`): Of a record.
        families (`Sequence[str]`, *optional*): What to ask about: the parts of kinds before their first hyphen.
    """
    found = [*_motion_candidates(facts), *_spatial_candidates(facts), *_future_candidates(facts)]
    return [one for one in found if families is None or one.kind.partition("-")[0] in families]


def _spatial_candidates(facts: Mapping[str, Any]) -> list[Candidate]:
    return [
        Candidate(f"{fact['family']}-{fact['task']}", answer_text(fact), number)
        for number, fact in enumerate(facts.get("space", ()))
    ]


def _future_candidates(facts: Mapping[str, Any]) -> list[Candidate]:
    return [
        Candidate(fact["task"].replace("_", "-"), fact["answer"], number)
        for number, fact in enumerate(facts.get(FUTURE, ()))
    ]


def _motion_candidates(facts: Mapping[str, Any]) -> list[Candidate]:
    camera = [
        Candidate(f"camera-{'-'.join(str(len(part)) for part in fact['parts'])}", name_motion(fact["parts"]), number)
        for number, fact in enumerate(facts.get("camera", ()))
    ]
    found = facts.get("objects", ())
    numbers = askable_facts(found) if found else []
    return camera + [
        Candidate(f"object-{found[number]['kind']}", found[number]["label"], number) for number in numbers
    ]


def design_options(counts: Mapping[str, Mapping[str, int]]) -> dict[str, OptionDesign | DistanceDesign]:
    """For each kind of question what draws its wrong options.

    Args:
        counts (`Mapping[str, Mapping[str, int]]`): For each kind, how often each answer is right in the dataset.
    """
    return {kind: _design(kind, answers) for kind, answers in counts.items()}


def _design(kind: str, answers: Mapping[str, int]) -> OptionDesign | DistanceDesign:
    if asks_for_metres(kind.partition("-")[2]):
        return DistanceDesign(answers)
    return OptionDesign(answers, [(answer, _opposite(answer)) for answer in answers if answer < _opposite(answer)])


def _opposite(answer: str) -> str:
    return OPPOSITE.get(answer) or opposite_motion(answer)


def ask_about_clip(
    record: ClipRecord,
    candidates: Iterable[Candidate],
    designs: Mapping[str, OptionDesign | DistanceDesign],
    frames: int = 8,
    seed: int = 0,
    token: int = 28,
) -> list[dict[str, Any]]:
    """The questions about a clip. One whose text does not pass its checks is left out with a warning.

    Args:
        record ([`ClipRecord`]): With its facts.
        candidates (`Iterable[Candidate]`): What to ask, of [`list_candidates`].
        designs (`Mapping[str, OptionDesign]`): Of [`design_options`].
        frames (`int`, *optional*, defaults to 8): Frames in a row, evenly spread.
        seed (`int`, *optional*, defaults to 0): Of wording and options.
        token (`int`, *optional*, defaults to 28): Pixels a side of a token, see [`seen_size`].

    Returns:
        `list[dict]`: The text columns of a row; `shown` (indices of its frames in the window), `imagined` (for each
        imagery frame its `frame` index and its `mask`, or `None` for the plain frame) and `size` (of the pictures).
    """
    questions = []
    for candidate in candidates:
        identity = f"{record.clip}-{candidate.kind.partition('-')[0]}-{candidate.fact}"
        rng = np.random.default_rng([seed, zlib.crc32(identity.encode())])
        try:
            asked = _ask(record, candidate, designs[candidate.kind], frames, token, rng)
        except InputError as error:
            _logger.warning("left out %s: %s", identity, error)
            continue
        if asked is not None:
            questions.append({"id": identity, **asked})
    return questions


def _ask(
    record: ClipRecord,
    candidate: Candidate,
    design: Any,
    frames: int,
    token: int,
    rng: np.random.Generator,
) -> dict[str, Any] | None:
    if candidate.kind.startswith(("mllm4d", "dsr")):
        return ask_about_space(record, record.facts["space"][candidate.fact], design, frames, token, rng)
    if candidate.kind.startswith(FUTURE):
        return ask_about_future(record, record.facts[FUTURE][candidate.fact], design, frames, token, rng)
    if candidate.kind.startswith("camera"):
        return ask_about_camera(record, record.facts["camera"][candidate.fact], design, frames, token, rng)
    return ask_about_object(record, record.facts["objects"][candidate.fact], design, frames, token, rng)

"""Multiple-choice questions about motion, whose options do not reveal the answer.

Given the four options of a question, each is right equally often: which options stand together does not depend on
which of them is right.
"""

from collections.abc import Sequence

import numpy as np

from ...modeling.errors import InputError
from ...modeling.tokens import OPTION_LETTERS
from ..geometry.camera_motion import CAMERA_LABELS, OPPOSITE
from ..geometry.object_motion import OBJECT_LABELS

_CAMERA_WORDINGS = (
    "Which way does the camera move between {start:.1f} s and {end:.1f} s?",
    "What is the camera's motion from {start:.1f} s to {end:.1f} s?",
    "From {start:.1f} s to {end:.1f} s, how does the camera move?",
)
_OBJECT_WORDINGS = (
    "Which way does the {name} move between {start:.1f} s and {end:.1f} s?",
    "What is the motion of the {name} from {start:.1f} s to {end:.1f} s?",
    "From {start:.1f} s to {end:.1f} s, how does the {name} move?",
)


def camera_question(labels: Sequence[str], start: float, end: float, rng: np.random.Generator) -> dict:
    """Ask for the camera's motion: two axes, both ends of each.

    Args:
        labels (`Sequence[str]`): One or two labels of `CAMERA_LABELS`; two are named together in one option.
        start, end (`float`): Seconds.
        rng (`np.random.Generator`): Source of wording, distractors and order.

    Returns:
        `dict`: `question`, `options` (four strings) and `answer` (letter).

    Raises:
        InputError: If there is no label, more than two, two of one axis, or one that is not in the vocabulary.
    """
    axes = {frozenset((label, OPPOSITE[label])) for label in labels if label in OPPOSITE}
    if not 1 <= len(labels) <= 2 or len(axes) < len(labels):
        raise InputError(
            f"a camera question needs one label, or two of different axes, of {', '.join(CAMERA_LABELS)}; "
            f"got {list(labels)}"
        )
    if len(labels) == 1:
        right = labels[0]
        other = str(rng.choice([label for label in CAMERA_LABELS if label not in (right, OPPOSITE[right])]))
        options = [right, OPPOSITE[right], other, OPPOSITE[other]]
    else:
        first, second = labels
        options = [f"{a} and {b}" for a in (first, OPPOSITE[first]) for b in (second, OPPOSITE[second])]
    return shuffle_options(str(rng.choice(_CAMERA_WORDINGS)).format(start=start, end=end), options, rng)


def object_question(name: str, label: str, start: float, end: float, rng: np.random.Generator) -> dict:
    """Ask for the motion of one object.

    Args:
        name (`str`): What to call it, for example `blue ball`.
        label (`str`): The right one of `OBJECT_LABELS`.
        start, end (`float`): Seconds.
        rng (`np.random.Generator`): Source of wording, distractors and order.

    Returns:
        `dict`: `question`, `options` (four strings) and `answer` (letter).

    Raises:
        InputError: If the label is not in the vocabulary.
    """
    if label not in OBJECT_LABELS:
        raise InputError(f"an object question needs one of {', '.join(OBJECT_LABELS)}, got {label!r}")
    others = rng.permutation([other for other in OBJECT_LABELS if other != label])[:3]
    wording = str(rng.choice(_OBJECT_WORDINGS)).format(name=name, start=start, end=end)
    return shuffle_options(wording, [label, *map(str, others)], rng)


def shuffle_options(question: str, options: list[str], rng: np.random.Generator) -> dict:
    """Shuffle the options of a question, of which the first is the correct one."""
    order = rng.permutation(len(options))
    letter = OPTION_LETTERS[int(np.flatnonzero(order == 0)[0])]
    return {"question": question, "options": [options[i] for i in order], "answer": letter}

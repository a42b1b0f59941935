"""Reasoning about real clips: the span, the thing looked at, where it is seen, what follows, and the conclusion.

Everything in a text is either a fact of the record or measured on the masks of the imagined frames; `claims` checks
it again.
"""

from collections.abc import Sequence

import numpy as np

from ...modeling.errors import count_noun
from ...modeling.tokens import IMAGERY_MARK
from .evidence import Change, Sight, compare

# The span, the thing and the imagined frames, then its places, what follows and the conclusion.
WORDINGS = tuple(
    f"{opening} {{places}} {{follows}} {{conclusion}}"
    for opening in (
        "From {start} to {end} I look at {thing}. I picture it {marks}.",
        "The question is about {start} to {end}. I follow {thing} and picture it {marks}.",
        "I compare the frames between {start} and {end}. {Thing}: I see it {marks}.",
        "Let me look at {thing} from {start} to {end}. It appears {marks}.",
        "What matters happens from {start} to {end}. I keep an eye on {thing}, imagined {marks}.",
        "Between {start} and {end}, my guide is {thing}. I imagine it {marks}.",
        "For the span from {start} to {end} I think of {thing} {marks}.",
        "To answer, I track {thing} over the span from {start} to {end}: I imagine it {marks}.",
        "In the span from {start} to {end}, I watch {thing}. I imagine it {marks}.",
        "First the span: {start} to {end}. Then the thing to watch: {thing}, pictured {marks}.",
    )
)
# What the scene does in the picture as the camera moves, and how a person says so.
_SIDEWAYS = {"Pan": "turned", "Truck": "moved"}
_UPWARDS = {"Tilt": "turned", "Pedestal": "moved"}
_MIN_SHIFT = 0.02  # of the picture's width or height
_MIN_GROWTH = 1.04
_MIN_TURN = 2.0  # degrees
NEARER, BACK = "nearer", "back"


def camera_reasoning(
    parts: Sequence[Sequence[str]],
    answer: str,
    span: tuple[float, float],
    times: Sequence[float],
    sights: Sequence[Sight],
    rng: np.random.Generator,
) -> str:
    """Reasoning of a camera question.

    Args:
        parts (`Sequence[Sequence[str]]`): Labels of each part of the span: one part, or two where the camera turns
            round in between.
        answer (`str`): The right option.
        span (`tuple[float, float]`): Seconds that the question is about.
        times (`Sequence[float]`): Seconds of the imagined frames: one in each part, turning points, one in the last.
        sights (`Sequence[Sight]`): The resting region in each of them, or nothing where none is in view.
        rng (`np.random.Generator`): Source of wording.
    """
    conclusion = f"The camera motion is {answer}."
    if not sights:
        return _compose(rng, span, times, "the scene as a whole", [], "No part of it stands out.", conclusion)
    thing = f"a part of the scene that stands still, first seen in the {sights[0].place} part of the picture"
    clauses = [
        explain_camera(labels, change, sights[0].size) for labels, change in zip(parts, compare(sights), strict=True)
    ]
    known = [clause for clause in clauses if clause]
    follows = ""
    if known:
        follows = f"As it stands still in the world, {', then '.join(known)}."
    return _compose(rng, span, times, thing, sights, follows, conclusion)


def object_reasoning(
    name: str,
    answer: str,
    span: tuple[float, float],
    times: Sequence[float],
    sights: Sequence[Sight],
    follows: str,
    rng: np.random.Generator,
) -> str:
    """Reasoning of a question about a moving object.

    Args:
        name (`str`): What to call it, with its article (`the brown dog`).
        answer (`str`): The right option.
        span (`tuple[float, float]`): Seconds that the question is about.
        times (`Sequence[float]`): Seconds of the imagined frames.
        sights (`Sequence[Sight]`): The object in each of them.
        follows (`str`): What follows from the places: a sentence.
        rng (`np.random.Generator`): Source of wording.
    """
    return _compose(rng, span, times, name, sights, follows, f"So the answer is {answer}.")


def explain_camera(labels: Sequence[str], change: Change, size: tuple[int, int]) -> str | None:
    """What the change of a resting thing in the picture says of the camera, as far as it agrees with the labels."""
    clauses = [clause for label in labels if (clause := _explain_label(label, change, size))]
    return " and ".join(clauses) or None


def _explain_label(label: str, change: Change, size: tuple[int, int]) -> str | None:
    kind, _, way = label.partition(" ")
    if kind in _SIDEWAYS and _agrees(change.right, size[0], "Left", way):
        shift = say_shifts(change.right, 0)
        return f"its shift of {shift} shows that the camera {_SIDEWAYS[kind]} {way.lower()}"
    if kind in _UPWARDS and _agrees(change.down, size[1], "Up", way):
        shift = say_shifts(0, change.down)
        return f"its shift of {shift} shows that the camera {_UPWARDS[kind]} {way.lower()}"
    if label == "Dolly In" and change.growth >= _MIN_GROWTH:
        return f"its growth to {change.growth:.2f} times its size shows that the camera came {NEARER}"
    if label == "Dolly Out" and change.growth <= 1 / _MIN_GROWTH:
        return f"its shrinking to {change.growth:.2f} times its size shows that the camera went {BACK}"
    if kind == "Roll" and abs(change.clockwise) >= _MIN_TURN and (change.clockwise < 0) == (way == "Clockwise"):
        turned = "clockwise" if change.clockwise > 0 else "counterclockwise"
        degrees = f"{abs(change.clockwise):.0f} degrees {turned}"
        return f"its turn of {degrees} about the middle of the picture shows that the camera rolled {way.lower()}"
    if label == "Stay" and max(abs(change.right) / size[0], abs(change.down) / size[1]) < _MIN_SHIFT:
        if not change.right and not change.down:
            return "its unchanged place shows that the camera stands still"
        shift = say_shifts(change.right, change.down)
        return f"its shift of {shift} is next to nothing and shows that the camera stands still"
    return None


def _agrees(shift: int, side: int, positive: str, way: str) -> bool:
    return abs(shift) >= _MIN_SHIFT * side and (shift > 0) == (way == positive)


def say_shifts(right: int, down: int) -> str:
    """`12 pixels to the left and 1 pixel up`, without what is 0; `nowhere` if all is."""
    sideways = _say_shift(right, "to the right", "to the left")
    return " and ".join(filter(None, (sideways, _say_shift(down, "down", "up")))) or "nowhere"


def _say_shift(pixels: int, positive: str, negative: str) -> str:
    return f"{count_noun(abs(pixels), 'pixel')} {positive if pixels > 0 else negative}" if pixels else ""


def _compose(
    rng: np.random.Generator,
    span: tuple[float, float],
    times: Sequence[float],
    thing: str,
    sights: Sequence[Sight],
    follows: str,
    conclusion: str,
) -> str:
    text = WORDINGS[int(rng.integers(len(WORDINGS)))].format(
        start=f"{span[0]:.1f} s",
        end=f"{span[1]:.1f} s",
        thing=thing,
        Thing=thing[0].upper() + thing[1:],
        marks=_join([f"at {time:.1f} s {IMAGERY_MARK}" for time in times]),
        places=_describe_places(sights),
        follows=follows,
        conclusion=conclusion,
    )
    return " ".join(text.split())


def _describe_places(sights: Sequence[Sight]) -> str:
    if not sights:
        return ""
    centres = [f"({sight.centre[0]}, {sight.centre[1]})" for sight in sights]
    boxes = ["[" + ", ".join(map(str, sight.box)) + "]" for sight in sights]
    return f"Its centre is at {_sequence(centres)}; its box is {_sequence(boxes)}."


def _sequence(items: Sequence[str]) -> str:
    return ", then ".join(items)


def _join(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"

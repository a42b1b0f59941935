"""Template descriptions and chains of thought: every word follows from the clip's geometry."""

from collections.abc import Sequence

from ...modeling.errors import InputError
from ...modeling.tokens import IMAGERY_MARK, OPTION_LETTERS, AnswerForm, format_response

NEAR_METRES, FAR_METRES = 10.5, 15.0


def describe_place(column: float, row: float, depth: float) -> str:
    """Describe a place: a third of the image's height, a third of its width and one of three distances.

    Args:
        column, row (`float`): 0 at the image's left and upper edge, 1 at its right and lower edge.
        depth (`float`): Metres from the camera.
    """
    side = "left" if column < 1 / 3 else "right" if column > 2 / 3 else "middle"
    level = "upper" if row < 1 / 3 else "lower" if row > 2 / 3 else "central"
    distance = "near" if depth < NEAR_METRES else "far" if depth > FAR_METRES else "midway"
    return f"{level} {side} {distance}"


def describe_camera(labels: Sequence[str]) -> str:
    """One sentence for the camera's motion."""
    return f"The camera motion is {' and '.join(labels)}." if labels else "The camera stands still."


def describe_object(name: str, start: str, end: str, label: str) -> str:
    """One sentence for an object: where it starts and ends in the image, and how it moves in the world."""
    return f"{describe_places(name, start, end)} {describe_motion(name, label)}"


def describe_places(name: str, start: str, end: str) -> str:
    """One sentence for where an object starts and ends in the image."""
    return f"The {name} goes from {start} to {end}."


def describe_motion(name: str, label: str) -> str:
    """One sentence for how an object moves in the world."""
    return f"The {name} is {label}."


def object_reasoning(
    name: str, times: Sequence[float], start: str, end: str, label: str, scene: str | None = None
) -> str:
    """A chain of thought for an object question: the scene, the object imagined, its motion.

    Args:
        name (`str`): The object.
        times (`Sequence[float]`): Seconds of the imagery frames, one mark each.
        start, end (`str`): Its place in the first and last frame.
        label (`str`): How it moves.
        scene (`str`, *optional*): A description of everything, given before the object is singled out.
    """
    prefix = f"{scene} " if scene else ""
    return f"{prefix}I picture the {name} {_marks(times)}. {describe_object(name, start, end, label)}"


def camera_reasoning(
    labels: Sequence[str],
    times: Sequence[float],
    reference: tuple[str, str, str] | None = None,
    scene: str | None = None,
) -> str:
    """A chain of thought for a camera question, one imagery mark for each of `times` (seconds).

    Args:
        labels (`Sequence[str]`): What the camera did.
        times (`Sequence[float]`): Seconds of the imagery frames.
        reference (`tuple[str, str, str]`, *optional*): Name, start and end place of an object at rest; the whole
            scene where none is known.
        scene (`str`, *optional*): Where everything starts and ends, given first.
    """
    prefix = f"{scene} " if scene else ""
    if reference is None:
        return f"{prefix}I picture the scene {_marks(times)}. {describe_camera(labels)}"
    name, start, end = reference
    resting = describe_object(name, start, end, "Staying in Place")
    return f"{prefix}I picture the {name} {_marks(times)}. {resting} {describe_camera(labels)}"


def format_checked_response(
    reasoning: str, letter: str, options: Sequence[str], imagery: int, form: AnswerForm = "letter"
) -> str:
    """Format a response, after checking that it agrees with the key and with its imagery.

    Raises:
        InputError: If the reasoning does not conclude with the right option, names a wrong one, or has another number
            of marks than there are imagery frames; or if the letter is none of the options'.
    """
    if letter not in list(OPTION_LETTERS[: len(options)]):
        raise InputError(f"the answer {letter!r} is the letter of none of {len(options)} options")
    if reasoning.count(IMAGERY_MARK) != imagery:
        raise InputError(f"{reasoning.count(IMAGERY_MARK)} imagery marks for {imagery} imagery frames: {reasoning!r}")
    right = options[OPTION_LETTERS.index(letter)]
    conclusion = reasoning.rstrip(". \n").split(IMAGERY_MARK)[-1]
    before = conclusion.removesuffix(right.rstrip("."))
    if before == conclusion or before.endswith(("and ", "not ")):
        raise InputError(f"the reasoning does not conclude with the answer {right!r}: {reasoning!r}")
    wrong = [option for option in options if option != right and option in before]
    if wrong:
        raise InputError(f"the reasoning names {wrong[0]!r} beside the answer {right!r}: {reasoning!r}")
    return format_response(reasoning, letter, options, form)


def _marks(times: Sequence[float]) -> str:
    return " and ".join(f"at {time:.1f} s {IMAGERY_MARK}" for time in times)

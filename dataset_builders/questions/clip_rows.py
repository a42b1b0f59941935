"""What questions about clips have in common: shown frames, imagined frames, options, checks."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...modeling.tokens import AnswerForm
from ..clip_record import ClipRecord, ObjectTrack
from .draft import Draft
from .evidence import Sight, look_at, seen_size
from .motion import shuffle_options


class Imagined(NamedTuple):
    """The imagined frames of a question.

    Attributes:
        frames (`list[int]`): Their indices in the window.
        seconds (`list[float]`): Their times.
        masks (`list[dict | None]`): The thing in each of them; `None` for the plain frame.
        sights (`list[Sight]`): What is seen of it; empty where the plain frames stand in.
        size (`tuple[int, int]`): Width and height of the pictures that the model sees.
    """

    frames: list[int]
    seconds: list[float]
    masks: list[dict | None]
    sights: list[Sight]
    size: tuple[int, int]


def imagine(record: ClipRecord, frames: Sequence[int], track: ObjectTrack | None, token: int) -> Imagined | None:
    """The imagined frames that show a thing, or `None` if it cannot be seen in each of them.

    Args:
        record ([`ClipRecord`]): Of the window.
        frames (`Sequence[int]`): Indices in the window.
        track ([`ObjectTrack`], *optional*): The thing; the plain frames without one.
        token (`int`): Pixels a side of a token, see [`seen_size`].
    """
    size = seen_size(record.size, token)
    seconds = [float(record.window.timestamps[index]) for index in frames]
    if track is None:
        return Imagined(list(frames), seconds, [None] * len(frames), [], size)
    sights = []
    for index, second in zip(frames, seconds, strict=True):
        mask = track.masks[index]
        sight = None if mask is None else look_at(mask, second, size)
        if sight is None:
            return None
        sights.append(sight)
    return Imagined(list(frames), seconds, [track.masks[index] for index in frames], sights, size)


def assemble(
    record: ClipRecord,
    task: str,
    wording: str,
    options: Sequence[str],
    reasoning: str,
    span: tuple[float, float],
    imagined: Imagined,
    facts: dict[str, Any],
    directions: Iterable[str],
    frames: int,
    rng: np.random.Generator,
    numbers: Iterable[str] = (),
    names: Iterable[str] = (),
    named: Sequence[int] = (),
    last: int | None = None,
    sights: Sequence[Sight] | None = None,
    rewordable: bool = True,
    form: AnswerForm = "letter",
) -> dict[str, Any]:
    """A question whose first option is right, with its reasoning checked against facts and imagery.

    Args:
        record ([`ClipRecord`]): Of the window.
        task (`str`): The row's task.
        wording (`str`): The question.
        options (`Sequence[str]`): The right one first.
        reasoning (`str`): That ends with the right option.
        span (`tuple[float, float]`): Seconds that the question is about.
        imagined ([`Imagined`]): The imagined frames.
        facts (`dict`): Numbers that the answer follows from.
        directions (`Iterable[str]`): Phrases whose words of direction the reasoning may use.
        frames (`int`): How many frames the row shows.
        rng (`np.random.Generator`): Of the options' order.
        numbers (`Iterable[str]`): Phrases with other numbers of the facts, as `claims` reads them.
        names (`Iterable[str]`, *optional*): What objects are called.
        named (`Sequence[int]`, *optional*): Frames beside the imagined ones that the row must show.
        last (`int`, *optional*): The last frame that may be shown; imagined ones may come after it.
        sights (`Sequence[Sight]`, *optional*): What the reasoning says is seen, if it is not just what is imagined.
        rewordable (`bool`, *optional*, defaults to `True`): Whether a language model may word the reasoning, which
            must then name its span, its imagined frames and what is seen in them.
        form (`str`, *optional*, defaults to `"letter"`): Of the answer, for reasoning that is not rewordable.

    Returns:
        `dict`: As [`ask_about_clip`] describes it.

    Raises:
        InputError: If the reasoning does not follow from what it is checked against.
    """
    asked = shuffle_options(wording, list(options), rng)
    end = len(record.window.timestamps) if last is None else last + 1
    draft = Draft(
        reasoning,
        **asked,
        span=span,
        seconds=imagined.seconds,
        sights=imagined.sights if sights is None else sights,
        directions=tuple(directions),
        numbers=tuple(numbers),
        names=tuple(names),
    )
    return {
        "source": record.source,
        "task": task,
        **asked,
        "facts": json.dumps(
            {
                "seconds": [round(float(second), 3) for second in span],
                **facts,
                **(_describe_imagery(imagined.sights) if imagined.frames else {}),
                **({} if record.licence is None else {"licence": record.licence}),
            }
        ),
        "response": draft.respond(reasoning) if rewordable else draft.respond_as_it_is(form),
        "shown": show_frames(end, frames, [index for index in (*imagined.frames, *named) if index < end]),
        "imagined": [
            {"frame": index, "mask": mask} for index, mask in zip(imagined.frames, imagined.masks, strict=True)
        ],
        "size": list(imagined.size),
        "draft": draft if rewordable else None,
    }


def nearest_frame(record: ClipRecord, second: float) -> int:
    """Index of the frame of the window that lies nearest to a time."""
    return int(np.abs(np.array(record.window.timestamps) - second).argmin())


def show_frames(count: int, frames: int, named: Sequence[int]) -> list[int]:
    """Which frames of a window a row shows: evenly spread ones, and those that the text names.

    Args:
        count (`int`): Frames in the window.
        frames (`int`): How many to show, if there are as many.
        named (`Sequence[int]`): Indices that must be among them; the nearest of the others make room.

    Returns:
        `list[int]`: Increasing indices.
    """
    shown = np.unique(np.linspace(0, count - 1, min(frames, count)).round().astype(int)).tolist()
    for index in dict.fromkeys(named):
        if index not in shown:
            free = [other for other in shown if other not in named]
            if free:
                shown.remove(min(free, key=lambda other: abs(other - index)))
            shown.append(index)
    return sorted(shown)


def _describe_imagery(sights: Sequence[Sight]) -> dict[str, Any]:
    """What `facts` says of the imagery: an overlay with its places, or that the plain frame stands in for one."""
    if not sights:
        return {"imagery": "plain frame"}
    return {
        "imagery": "overlay",
        "centres": [list(sight.centre) for sight in sights],
        "boxes": [list(sight.box) for sight in sights],
    }

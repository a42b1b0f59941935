"""Questions about the camera of a real clip."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..clip_record import ClipRecord, ObjectTrack
from ..geometry.camera_motion import MIN_DEGREES, OPPOSITE
from ..geometry.masks import touches_border
from .clip_reasoning import BACK, NEARER, camera_reasoning, explain_camera
from .clip_rows import Imagined, assemble, imagine, nearest_frame
from .evidence import compare
from .option_design import OPTIONS, OptionDesign

_WORDINGS = (
    "Which way does the camera move between {start:.1f} s and {end:.1f} s, along and around its own axes?",
    "What is the camera's motion from {start:.1f} s to {end:.1f} s, in the camera's own axes?",
    "From {start:.1f} s to {end:.1f} s, how does the camera move, seen from the camera itself?",
    "Seen along its own axes, what does the camera do between {start:.1f} s and {end:.1f} s?",
)
_OPPOSITE = {**OPPOSITE, "Arc Left": "Arc Right", "Arc Right": "Arc Left", "Stay": "Stay"}
_LABEL = re.compile("|".join(sorted(_OPPOSITE, key=len, reverse=True)))
_PARTS_OF_ARC = ("Pan", "Truck")  # no wrong answers beside it
_SAME_AS = {"Dolly In": f"{NEARER}, forward", "Dolly Out": f"{BACK}, away"}  # other words for a label
_DRAWS = 50
_MIN_VIEW = 0.3  # of each part of a span, during which a region must be in view


def name_motion(parts: Sequence[Sequence[str]]) -> str:
    """The option text of a camera motion: `Pan Left, Truck Left and Dolly In`, `first Pan Left, then Pan Right`."""
    names = [part[0] if len(part) == 1 else f"{', '.join(part[:-1])} and {part[-1]}" for part in parts]
    return names[0] if len(names) == 1 else f"first {', then '.join(names)}"


def opposite_motion(answer: str) -> str:
    """The option text with every label turned round."""
    return _LABEL.sub(lambda found: _OPPOSITE[found[0]], answer)


def ask_about_camera(
    record: ClipRecord, fact: dict[str, Any], design: OptionDesign, frames: int, token: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The question about one camera fact.

    Args:
        record ([`ClipRecord`]): Of the window.
        fact (`dict`): `span` (seconds where its parts begin, and where the last one ends), `parts` (labels of each)
            and `numbers`.
        design ([`OptionDesign`]): Of wrong options.
        frames (`int`): How many frames the row shows.
        token (`int`): Pixels a side of a token, see [`seen_size`].
        rng (`np.random.Generator`): Source of wording and options.
    """
    answer = name_motion(fact["parts"])
    imagined = _choose_region(record, fact, token)
    span = (fact["span"][0], fact["span"][-1])
    return assemble(
        record,
        "camera_motion",
        str(rng.choice(_WORDINGS)).format(start=span[0], end=span[1]),
        [answer, *_wrong_motions(answer, _also_true(fact), design, rng)],
        camera_reasoning(fact["parts"], answer, span, imagined.seconds, imagined.sights, rng),
        span,
        imagined,
        {"labels": fact["parts"], **fact["numbers"]},
        [answer, *(words for label, words in _SAME_AS.items() if label in answer)],
        frames,
        rng,
    )


def _choose_region(record: ClipRecord, fact: dict[str, Any], token: int) -> Imagined:
    """The resting region that shows the motion best, where it is in view; without one the plain frames.

    A fast pan leaves nothing in view from end to end. The motion goes one way throughout each of its parts, so a
    stretch of each is enough.
    """
    named = [nearest_frame(record, moment) for moment in fact["span"]]
    best, best_score = imagine(record, named, None, token), 0.0
    for region in record.resting or ():
        frames = _frames_in_view(record, region, named)
        imagined = None if frames is None else imagine(record, frames, region, token)
        if imagined is None:
            continue
        explained = sum(
            explain_camera([label], change, imagined.size) is not None
            for labels, change in zip(fact["parts"], compare(imagined.sights), strict=True)
            for label in labels
        )
        coverage = (imagined.seconds[-1] - imagined.seconds[0]) / (fact["span"][-1] - fact["span"][0])
        score = explained + 0.5 * coverage + min(sight.side for sight in imagined.sights) / max(imagined.size) / 10
        if score > best_score:
            best, best_score = imagined, score
    assert best is not None
    return best


def _frames_in_view(record: ClipRecord, region: ObjectTrack, named: Sequence[int]) -> list[int] | None:
    """Frames in which the region is first and last seen whole, with the turning points between; `None` if too short.

    A region that leaves the picture shrinks and its centre stays behind, which says nothing of the camera.
    """
    masks = {index: region.masks[index] for index in range(named[0], named[-1] + 1)}
    seen = [index for index, mask in masks.items() if mask is not None and not touches_border(mask)]
    turns = list(named[1:-1])
    if not seen or any(turn not in seen for turn in turns):
        return None
    frames = [seen[0], *turns, seen[-1]]
    times = [record.window.timestamps[index] for index in frames]
    whole = [record.window.timestamps[index] for index in named]
    parts = zip(pairwise(times), pairwise(whole), strict=True)
    if any(part[1] - part[0] < _MIN_VIEW * (all_of_it[1] - all_of_it[0]) for part, all_of_it in parts):
        return None
    return frames


def _also_true(fact: Mapping[str, Any]) -> set[str]:
    """Labels that are left out of the answer as weak, but would be no wrong option."""
    names = ((name.removeprefix("first ").removeprefix("then "), degrees) for name, degrees in fact["numbers"].items())
    return {name for name, degrees in names if degrees >= MIN_DEGREES}


def _wrong_motions(right: str, true: set[str], design: OptionDesign, rng: np.random.Generator) -> list[str]:
    """Three wrong options, none in `true`; those of the dataset's own answers where there are enough."""
    drawn: list[str] = []
    for _ in range(_DRAWS):
        drawn = design.draw(right, rng)
        if not _conflict([right, *drawn]) and true.isdisjoint(drawn):
            break
    else:
        drawn = []
    singles = [option for option in _single_motions(right, rng) if option not in true]
    spare = [opposite_motion(right), *_flipped(right), *singles]
    for option in spare:
        if len(drawn) < OPTIONS - 1 and option not in (right, *drawn) and not _conflict([right, *drawn, option]):
            drawn.append(option)
    return drawn


def _conflict(options: Sequence[str]) -> bool:
    """Whether an option names a part of what another one names as a whole."""
    arcs = any(option.startswith("Arc") for option in options)
    return arcs and any(option.startswith(_PARTS_OF_ARC) for option in options)


def _flipped(answer: str) -> list[str]:
    """The answer with one of its labels turned round, for each of them."""
    labels = list(_LABEL.finditer(answer))
    if len(labels) < 2:
        return []
    return [answer[: found.start()] + _OPPOSITE[found[0]] + answer[found.end() :] for found in labels]


def _single_motions(answer: str, rng: np.random.Generator) -> list[str]:
    """Other labels, both ends of an axis together, in random order of the axes."""
    if len(_LABEL.findall(answer)) > 1:
        return []
    axes = [label for label in OPPOSITE if label < OPPOSITE[label]]
    return [label for number in rng.permutation(len(axes)) for label in (axes[number], OPPOSITE[axes[number]])]

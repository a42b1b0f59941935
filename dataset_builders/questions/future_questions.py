"""Questions about what comes after a cut: facts of `future_facts` in words, with later frames as imagery.

A row shows no frame after the cut; its imagery is nothing but such frames, with what is asked about painted in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ...modeling.tokens import IMAGERY_MARK, AnswerForm
from ..clip_record import ClipRecord, ObjectTrack
from ..geometry.masks import decode_mask, encode_mask
from .clip_reasoning import say_shifts
from .clip_rows import assemble, imagine
from .evidence import Sight, compare
from .future_facts import DISTANCE, DISTANCES, LABELS, MEET, MEETINGS, NEARER, PLACE, UNSHIFTED
from .object_questions import name_alone
from .option_design import OPTIONS, OptionDesign

# Whether reasoning gives places in pixels, as of real clips, or by parts of the picture, which small models learn.
Detail = Literal["pixels", "parts"]
_ENDS = ("The video ends at {cut}.", "The last frame is at {cut}.", "What you see stops at {cut}.")
_WORDINGS = {
    PLACE: (
        "Where in the picture will {thing} be at {until}, compared with its place at {cut}?",
        "Compared with its last place, where in the picture will {thing} be at {until}?",
    ),
    DISTANCE: (
        "How far from the camera will {thing} be at {until}, compared with {cut}?",
        "At {until}, how will the distance of {thing} from the camera compare with that at {cut}?",
    ),
    NEARER: (
        "Which of the two will be nearer to the camera at {until}, {thing} or {other}?",
        "At {until}, which will the camera be nearer to, {thing} or {other}?",
    ),
    MEET: (
        "What will become of the distance between {thing} and {other} by {until}?",
        "Will {thing} and {other} have met by {until}?",
    ),
}
_OPENINGS = (
    "The video ends at {cut}, so I go on to {until} in mind.",
    "I have seen everything until {cut} and think on to {until}.",
    "From {cut} to {until} there is nothing to see, so I let the motion go on.",
    "What comes between {cut} and {until} follows from what went before.",
)
_FOLLOWS = {
    DISTANCES[0]: "It will have come nearer.",
    DISTANCES[1]: "It will have gone farther away.",
    MEETINGS[0]: "They will have come so close that they touch.",
    MEETINGS[1]: "They will have come nearer to each other without touching.",
    MEETINGS[2]: "They will be farther from each other.",
}
# Words of these sentences that claim a direction, beside those of the answers.
_SAID = {
    DISTANCES[0]: ("nearer",),
    DISTANCES[1]: ("farther away",),
    MEETINGS[1]: ("nearer",),
    MEETINGS[2]: ("farther",),
}


def ask_about_future(
    record: ClipRecord,
    fact: Mapping[str, Any],
    design: OptionDesign,
    frames: int,
    token: int,
    rng: np.random.Generator,
    detail: Detail = "pixels",
    form: AnswerForm = "letter",
) -> dict[str, Any] | None:
    """The question about one fact, or `None` if what it is about cannot be seen in the frames that it names.

    Args:
        record ([`ClipRecord`]): Of the window.
        fact (`Mapping`): Of `future_facts`.
        design ([`OptionDesign`]): Of wrong options.
        frames (`int`): How many frames the row shows, none of them after the cut.
        token (`int`): Pixels a side of a token, see [`seen_size`].
        rng (`np.random.Generator`): Source of wording and options.
        detail (`str`, *optional*, defaults to `"pixels"`): How the reasoning gives places, see [`Detail`].
        form (`str`, *optional*, defaults to `"letter"`): Of the answer, with the detail `"parts"`.

    Raises:
        InputError: As [`name_alone`].
    """
    numbers = [fact["object"]] if fact["other"] is None else [fact["object"], fact["other"]]
    things = [f"the {name_alone(record, number)}" for number in numbers]
    tracks = [(record.objects or [])[number] for number in numbers]
    cut, *later = fact["frames"]
    seen = [imagine(record, fact["frames"], track, token) for track in tracks]
    imagined = imagine(record, later, _join(tracks, later), token)
    if imagined is None or not all(seen):
        return None
    sights = [one.sights for one in seen if one is not None]
    options = _options(fact, things, design, rng)
    times = {"cut": f"{sights[0][0].time:.1f} s", "until": f"{imagined.seconds[-1]:.1f} s"}
    names = {"thing": things[0], "other": things[-1]}
    question = f"{rng.choice(_ENDS)} {rng.choice(_WORDINGS[fact['task']])}".format(**times, **names)
    return assemble(
        record,
        fact["task"],
        question,
        options,
        _reason(fact, things, sights, options[0], detail, rng),
        (float(record.window.timestamps[cut]), imagined.seconds[-1]),
        imagined,
        {
            "kind": fact["task"],
            **{role: thing.removeprefix("the ") for role, thing in zip(("object", "other"), things, strict=False)},
            "label": fact["answer"],
            "last_seen": [list(one[0].centre) for one in sights],
            **fact["numbers"],
        },
        [options[0], *_SAID.get(fact["answer"], ())],
        frames,
        rng,
        names=[thing.removeprefix("the ") for thing in things],
        last=cut,
        sights=[sight for one in sights for sight in one],
        rewordable=detail == "pixels",
        form=form,
    )


def _join(tracks: Sequence[ObjectTrack], frames: Sequence[int]) -> ObjectTrack:
    """One track with the masks of all of some tracks, in the frames that are painted."""
    if len(tracks) == 1:
        return tracks[0]
    masks = list(tracks[0].masks)
    for frame in frames:
        found = [decode_mask(mask) for track in tracks if (mask := track.masks[frame]) is not None]
        masks[frame] = encode_mask(np.logical_or.reduce(found)) if len(found) == len(tracks) else None
    return replace(tracks[0], masks=tuple(masks))


def _options(
    fact: Mapping[str, Any], things: Sequence[str], design: OptionDesign, rng: np.random.Generator
) -> list[str]:
    """The right option and then the wrong ones."""
    if fact["task"] == NEARER:
        numbers = fact["numbers"]
        order = np.argsort([numbers["distance_after"], numbers["other_distance_after"]])
        return [things[number][0].upper() + things[number][1:] for number in order]
    drawn = design.draw(fact["answer"], rng)
    others = [str(label) for label in rng.permutation(LABELS[fact["task"]])]
    spare = [label for label in others if label not in (fact["answer"], *drawn)]
    return [fact["answer"], *(drawn + spare)[: OPTIONS - 1]]


def _reason(
    fact: Mapping[str, Any],
    things: Sequence[str],
    sights: Sequence[Sequence[Sight]],
    answer: str,
    detail: Detail,
    rng: np.random.Generator,
) -> str:
    """What is seen last, what is imagined, where it is then, and what follows."""
    first, *later = sights[0]
    cut, until = f"{first.time:.1f} s", f"{later[-1].time:.1f} s"
    marks = " and ".join(f"at {sight.time:.1f} s {IMAGERY_MARK}" for sight in later)
    called = "it" if len(things) == 1 else "both"
    known = f"At {cut} {_say_parts(things, [one[0] for one in sights])}."
    follows = _FOLLOWS.get(fact["answer"], "")
    if detail == "parts":
        then = _say_parts(things, [one[-1] for one in sights])
        text = f"{known} I picture {called} {marks}. At {until} {then}. {follows} So the answer is {answer}."
        return text.replace("  ", " ")
    opening = str(rng.choice(_OPENINGS)).format(cut=cut, until=until)
    places = " ".join(_say_pixels(thing, one) for thing, one in zip(things, sights, strict=True))
    if fact["task"] == PLACE:
        (whole,) = compare([first, later[-1]])
        shift = say_shifts(whole.right, whole.down)
        follows = f"From its last place it goes {shift}{', next to nothing' * (answer == UNSHIFTED)}."
    text = f"{opening} {known} I imagine {called} {marks}. {places} {follows} So the answer is {answer}."
    return text.replace("  ", " ")


def _say_parts(things: Sequence[str], sights: Sequence[Sight]) -> str:
    said = [
        f"{thing} is in the {sight.place} part of the picture" for thing, sight in zip(things, sights, strict=True)
    ]
    return " and ".join(said)


def _say_pixels(thing: str, sights: Sequence[Sight]) -> str:
    centres = ", then ".join(f"({sight.centre[0]}, {sight.centre[1]})" for sight in sights)
    boxes = ", then ".join("[" + ", ".join(map(str, sight.box)) + "]" for sight in sights)
    return f"From {sights[0].time:.1f} s on the centre of {thing} is at {centres}; its box is {boxes}."

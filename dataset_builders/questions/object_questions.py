"""Questions about a moving object of a real clip."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...modeling.errors import InputError
from ..clip_record import ClipRecord, ObjectTrack
from ..geometry.object_facts import LABELS
from ..geometry.object_tracks import NAME
from .clip_reasoning import object_reasoning, say_shifts
from .clip_rows import Imagined, assemble, imagine, nearest_frame
from .evidence import Change, compare, look_at, seen_size
from .option_design import OPTIONS, OptionDesign

TASKS = {
    "direction": "object_motion",
    "main_direction": "object_motion",
    "apparent_direction": "object_motion",
    "followed": "object_motion",
    "distance": "object_distance",
    "speed": "object_speed",
}
_WORDINGS = {
    "direction": (
        "Which way does {name} move between {start} and {end}, against the scene and as seen from where the camera "
        "looks at {start}?",
        "From {start} to {end}, how does {name} move through the scene, in directions of the picture at {start}?",
        "With the camera held as it is at {start}, which way would {name} go until {end}?",
    ),
    "main_direction": (
        "Which way does {name} mainly move between {start} and {end}, against the scene and as seen from where the "
        "camera looks at {start}?",
        "From {start} to {end}, which way does {name} move most through the scene, in directions of the picture at "
        "{start}?",
    ),
    "apparent_direction": (
        "Which way does {name} go in the picture itself between {start} and {end}?",
        "From {start} to {end}, how does the place of {name} in the picture change?",
    ),
    "distance": (
        "How does the distance of {name} from the camera change between {start} and {end}?",
        "From {start} to {end}, does {name} come toward the camera or go away from it?",
    ),
    "speed": (
        "How does the speed of {name} change between {start} and {end}?",
        "From {start} to {end}, what happens to the speed of {name}?",
    ),
    "followed": (
        "How does the motion of {name} between {start} and {end} show in the picture of the moving camera?",
        "From {start} to {end}, how does what {name} does in the picture go with what it does in the scene?",
    ),
}
_MIDDLE_SECONDS = 1.5  # a longer span is imagined in three frames


def askable_facts(facts: Sequence[Mapping[str, Any]]) -> list[int]:
    """Numbers of the object facts that are worth a question: labelled, and not the same as another one."""
    known = {(fact["object"], tuple(fact["span"])) for fact in facts if fact["kind"] == "direction"}
    return [
        number
        for number, fact in enumerate(facts)
        if fact["label"] is not None
        and not (fact["kind"] == "apparent_direction" and (fact["object"], tuple(fact["span"])) in known)
    ]


def ask_about_object(
    record: ClipRecord,
    fact: Mapping[str, Any],
    design: OptionDesign,
    frames: int,
    token: int,
    rng: np.random.Generator,
) -> dict[str, Any] | None:
    """The question about one object fact, or `None` if the frames that it would name do not show it.

    Args:
        record ([`ClipRecord`]): Of the window.
        fact (`Mapping`): An `ObjectFact` as a dictionary, with the number of its `object`.
        design ([`OptionDesign`]): Of wrong options.
        frames (`int`): How many frames the row shows.
        token (`int`): Pixels a side of a token, see [`seen_size`].
        rng (`np.random.Generator`): Source of wording and options.

    Raises:
        InputError: As [`name_alone`].
    """
    assert record.objects is not None
    track = record.objects[fact["object"]]
    imagined = _imagine_span(record, fact, track, token)
    if imagined is None or not _shows(fact, imagined):
        return None
    name = name_alone(record, fact["object"])
    called = f"the {name}"
    span = (imagined.seconds[0], imagined.seconds[-1])
    start, end = (f"{second:.1f} s" for second in span)
    follows, numbers = _explain(fact, imagined)
    return assemble(
        record,
        TASKS[fact["kind"]],
        str(rng.choice(_WORDINGS[fact["kind"]])).format(name=called, start=start, end=end),
        [fact["label"], *_wrong_labels(fact, design, rng)],
        object_reasoning(called, fact["label"], span, imagined.seconds, imagined.sights, follows, rng),
        span,
        imagined,
        {"object": name, "label": fact["label"], "kind": fact["kind"], **fact["numbers"]},
        [fact["label"], *_DIRECTIONS.get(fact["label"], ())],
        frames,
        rng,
        numbers,
        [name],
    )


def check_name(name: str) -> str:
    """A name that a user gives an object, without article and fit for a sentence.

    Raises:
        InputError: If it is empty, longer than 60 characters, or holds marks that mean something in rows.
    """
    plain = re.sub(r"^(the|a|an) ", "", " ".join(name.split()), flags=re.IGNORECASE)
    if not 0 < len(plain) <= 60 or re.search(r"[<>{}\[\]()|]", plain):
        raise InputError(f"the name {name!r} of an object must be plain words, at most 60 characters")
    return plain


def name_alone(record: ClipRecord, number: int) -> str:
    """The name of an object, as [`check_name`] gives it, if it tells the object from all others that are seen.

    Raises:
        InputError: If it is none that a question may hold, or another object has it too.
    """
    tracks = record.objects or []
    name = check_name(tracks[number].name)
    for other, track in enumerate(tracks):
        if other != number and track.sure.any() and _same_name(track.name, name):
            raise InputError(f"two objects are called {name!r}, which tells neither from the other")
    return name


def name_objects(record: ClipRecord, chosen: Mapping[int, str], found: Mapping[int, str]) -> ClipRecord:
    """The record with names that a user has chosen and others that a model has found, by objects' numbers.

    Where another object has the same name, one that is called by its place keeps that (`dog on the left`); of others a
    model's name is not taken.
    """
    names, tracks = {**found, **chosen}, list(record.objects or ())
    before = [track.name for track in tracks]
    for number, name in names.items():
        others = [names.get(other, called) for other, called in enumerate(before) if other != number]
        if any(_same_name(name, other) for other in others):
            if before[number].startswith(NAME):
                name += before[number].removeprefix(NAME)
            elif number not in chosen:  # a number or a name of its own tells it already
                continue
        tracks[number] = replace(tracks[number], name=name)
    return replace(record, objects=tracks)


def _same_name(one: str, other: str) -> bool:
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


_TOWARD, _AWAY = "Moving Toward the Camera", "Moving Away from the Camera"
_DIRECTIONS = {_TOWARD: ("nearer",), _AWAY: ("farther away",)}
_MIN_GROWTH = 1.1
_STANDING_SHARE = 0.02  # of the longer side: a background that shifts by less stands


def _imagine_span(record: ClipRecord, fact: Mapping[str, Any], track: ObjectTrack, token: int) -> Imagined | None:
    """The frames at both ends of the span, and those between that the fact needs, as far as the object is seen."""
    first, last = (nearest_frame(record, second) for second in fact["span"])
    size = seen_size(record.size, token)
    times = record.window.timestamps
    visible = [
        index
        for index in range(first, last + 1)
        if track.sure[index] and track.masks[index] is not None and look_at(track.masks[index], 0.0, size) is not None
    ]
    if len(visible) < 2:
        return None
    count = 4 if fact["kind"] == "speed" else 3 if times[visible[-1]] - times[visible[0]] >= _MIDDLE_SECONDS else 2
    wanted = np.linspace(times[visible[0]], times[visible[-1]], count)
    named = sorted({min(visible, key=lambda index: abs(times[index] - moment)) for moment in wanted})
    return imagine(record, named, track, token)


def _wrong_labels(fact: Mapping[str, Any], design: OptionDesign, rng: np.random.Generator) -> list[str]:
    right = fact["label"]
    drawn = design.draw(right, rng)
    others = [str(label) for label in rng.permutation(LABELS[fact["kind"]]) if label not in (right, *drawn)]
    return (drawn + others)[: OPTIONS - 1]


def _shows(fact: Mapping[str, Any], imagined: Imagined) -> bool:
    """Whether the masks of the imagined frames agree with the label: the noise of one frame may hide a change."""
    (whole,) = compare([imagined.sights[0], imagined.sights[-1]])
    if fact["label"] == _TOWARD:
        return whole.growth >= _MIN_GROWTH
    if fact["label"] == _AWAY:
        return whole.growth <= 1 / _MIN_GROWTH
    if fact["kind"] == "apparent_direction" and "Moving" in fact["label"]:
        said = np.array([fact["numbers"]["right_side"], -fact["numbers"]["up_side"]])
        return float(said @ [whole.right, whole.down]) > 0.7 * np.linalg.norm(said) * np.hypot(whole.right, whole.down)
    return True


def _explain_size(label: str, whole: Change) -> str:
    if label == _TOWARD:
        return f"It grows to {whole.growth:.2f} times its size, as what comes nearer does."
    if label == _AWAY:
        return f"It shrinks to {whole.growth:.2f} times its size, as what goes farther away does."
    return f"Its size becomes {whole.growth:.2f} times what it was."


def _explain(fact: Mapping[str, Any], imagined: Imagined) -> tuple[str, set[str]]:
    """What follows from the places, and the numbers in it that are not measured on the masks."""
    whole = compare([imagined.sights[0], imagined.sights[-1]])[0]
    in_picture = say_shifts(whole.right, whole.down)
    numbers = fact["numbers"]
    if fact["kind"] == "distance":
        return _explain_size(fact["label"], whole), set()
    if fact["kind"] == "apparent_direction":
        return f"In the picture it goes {in_picture}.", set()
    if fact["kind"] == "speed":
        side = max(imagined.size)
        speeds = [round(numbers[f"{part}_third_side_per_second"] * side) for part in ("first", "middle", "last")]
        said = f"{speeds[0]} pixels a second at first, {speeds[1]} in the middle and {speeds[2]} at the end"
        return f"Against the scene it covers {said}.", {said}
    side = max(imagined.size)
    right, down = round(numbers["right_side"] * side), round(-numbers["up_side"] * side)
    in_scene, behind = say_shifts(right, down), say_shifts(whole.right - right, whole.down - down)
    if max(abs(whole.right - right), abs(whole.down - down)) <= _STANDING_SHARE * side:
        return f"In the picture it goes {in_picture}, before a background that keeps its place.", set()
    follows = (
        f"In the picture it goes {in_picture}. What stands still behind it goes {behind} in the same time, so against "
        f"the scene it goes {in_scene}."
    )
    return follows, {in_scene, behind}

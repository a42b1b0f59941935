"""Questions about places in space: facts of `spatial_facts` in words, with options, reasoning and imagery."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...modeling.tokens import format_spatial_state
from ..clip_record import ClipRecord
from . import dsr, mllm4d
from .clip_reasoning import object_reasoning
from .clip_rows import Imagined, assemble, imagine, show_frames
from .evidence import look_at, seen_size
from .mllm4d_reasoning import spatial_states, write_five_steps
from .object_questions import name_alone
from .option_design import MIN_ROWS_TO_LIMIT, OPTIONS, DistanceDesign, OptionDesign
from .spatial_facts import name_of, objects_of

_NUMBERS = ("answer", "values", "nearest", "noise_share", "unit_error")  # of a fact, that a row keeps
_STANDING_DEGREES = 0.5
_NEAR, _FAR = "nearer", "away"
# Words of the explanations, whose numbers say which of them is meant.
_SAID = (_NEAR, _FAR, "ahead", "turned")


def ask_about_space(
    record: ClipRecord,
    fact: Mapping[str, Any],
    design: OptionDesign | DistanceDesign,
    frames: int,
    token: int,
    rng: np.random.Generator,
) -> dict[str, Any] | None:
    """The question about one fact in space, or `None` if the frames that it would name do not show the object.

    Args:
        record ([`ClipRecord`]): Of the window.
        fact (`Mapping`): Of `spatial_facts`.
        design ([`OptionDesign`] or [`DistanceDesign`]): Of wrong options.
        frames (`int`): How many frames the row shows.
        token (`int`): Pixels a side of a token, see [`seen_size`].
        rng (`np.random.Generator`): Source of options.

    Raises:
        InputError: As [`name_alone`].
    """
    names = {number: name_alone(record, number) for number in objects_of(fact)}
    if fact["family"] == "mllm4d":
        return _ask_mllm4d(record, fact, design, frames, token, rng, names)
    return _ask_dsr(record, fact, design, frames, token, rng, names)


def answer_text(fact: Mapping[str, Any]) -> str:
    """The right option of a fact."""
    return fact["answer"] if isinstance(fact["answer"], str) else mllm4d.metres(fact["answer"])


def _row_facts(fact: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    things = {role: name_of(fact[role], names) for role in ("object", "other") if fact[role] is not None}
    return {"kind": fact["task"], **things, **{key: fact[key] for key in _NUMBERS if fact.get(key) is not None}}


def _ask_mllm4d(
    record: ClipRecord,
    fact: Mapping[str, Any],
    design: OptionDesign | DistanceDesign,
    frames: int,
    token: int,
    rng: np.random.Generator,
    names: Mapping[int, str],
) -> dict[str, Any] | None:
    kind, number = mllm4d.KINDS[fact["task"]], fact["object"]
    size, named = seen_size(record.size, token), fact["frames"]
    times = [float(record.window.timestamps[index]) for index in named]
    sights = []
    if number is not None:
        assert record.objects is not None
        found = [record.objects[number].masks[index] for index in named]
        seen = [None if mask is None else look_at(mask, time, size) for mask, time in zip(found, times, strict=True)]
        if any(sight is None for sight in seen):
            return None
        sights = [sight for sight in seen if sight is not None]
    shown = show_frames(len(record.window.timestamps), frames, named)
    nothing = np.zeros((2, 3))
    two = mllm4d.TwoFrames(
        numbers=(shown.index(named[0]), shown.index(named[1])),
        seconds=(times[0], times[1]),
        camera=np.array(fact["camera_centers"]),
        object_centers=nothing if number is None else np.array(fact["object_centers"]),
        nearest=nothing[:, :2],
    )
    called = "" if number is None else names[number]
    right, wrong = answer_text(fact), _wrong_answers(kind, fact, design, rng)
    if wrong is None:
        return None
    places = tuple(f"the {sight.place} part of the picture" for sight in sights) or ("", "")
    cameras, objects = spatial_states(kind, two)
    states = [format_spatial_state(*state) for state in zip(two.numbers, cameras, objects, strict=True)]
    asked = assemble(
        record,
        fact["task"],
        mllm4d.word_question(kind, called, two.numbers, two.seconds),
        [right, *wrong],
        write_five_steps(kind, called, two, fact["camera_labels"], places, right),
        (times[0], times[1]),
        Imagined([], [], [], sights, size),
        {**_row_facts(fact, names), "frames": list(two.numbers), "answer": right},
        [right, *fact["camera_labels"], *places],
        frames,
        rng,
        [*states, *(f"frame {shown_as}" for shown_as in two.numbers), right],
        [called],
        named,
        rewordable=False,
    )
    return {**asked, "camera_centers": cameras, "object_centers": objects}


def _wrong_answers(
    kind: mllm4d.Kind, fact: Mapping[str, Any], design: OptionDesign | DistanceDesign, rng: np.random.Generator
) -> list[str] | None:
    """Wrong options; `None` for a distance beside which those of the dataset's others lie too near."""
    right = answer_text(fact)
    if isinstance(design, DistanceDesign):
        if design.count < MIN_ROWS_TO_LIMIT:  # too few to draw from
            return mllm4d.offer_metres(fact["answer"], rng, fact["unit_error"])[1:]
        drawn = design.draw(right, mllm4d.least_step(fact["unit_error"]), rng)
        return None if drawn is None else list(map(mllm4d.metres, drawn))
    drawn = design.draw(right, rng)
    others = [label for label in mllm4d.offer_labels(right, kind.labels, rng)[1:] if label not in drawn]
    return (drawn + others)[: min(OPTIONS, len(kind.labels)) - 1]


def _ask_dsr(
    record: ClipRecord,
    fact: Mapping[str, Any],
    design: OptionDesign,
    frames: int,
    token: int,
    rng: np.random.Generator,
    names: Mapping[int, str],
) -> dict[str, Any] | None:
    kind, number, named = dsr.KINDS[fact["task"]], fact["object"], fact["frames"]
    track = None if number == dsr.CAMERA else (record.objects or [])[number]
    imagined = imagine(record, named if track is not None else [named[0], named[-1]], track, token)
    if imagined is None:
        return None
    called, other, right = name_of(number, names), name_of(fact["other"], names), fact["answer"]
    span = (float(record.window.timestamps[named[0]]), float(record.window.timestamps[named[-1]]))
    follows, said = _explain(fact, kind, called, other)
    drawn = design.draw(right, rng)
    spare = [text for text in dsr.list_answers(kind, len(fact["steps"]), rng) if text not in (right, *drawn)]
    thing = called if track is not None else "the scene as a whole"
    return assemble(
        record,
        fact["task"],
        dsr.ask_dsr(kind, called, other, *span),
        [right, *(drawn + spare)[: OPTIONS - 1]],
        object_reasoning(thing, right.rstrip("."), span, imagined.seconds, imagined.sights, follows, rng),
        span,
        imagined,
        {**_row_facts(fact, names), "steps": fact["steps"]},
        [right, *_SAID],
        frames,
        rng,
        said,
        [names[one] for one in (number, fact["other"]) if one != dsr.CAMERA],
        last=named[-1] if kind.is_prediction else None,
        rewordable=False,
    )


def _explain(fact: Mapping[str, Any], kind: dsr.DsrKind, called: str, other: str) -> tuple[str, list[str]]:
    """What is measured at each of the moments, in a sentence, and the phrases in it that hold numbers."""
    values, task = fact["values"], fact["task"]
    if task.endswith("_dis"):
        where = other if kind.follows or fact["other"] != dsr.CAMERA else f"where {other} was at first"
        said, sentence = [f"{value:.2f} m" for value in values], f"Between {called} and {where} there are {{}}."
    elif task.endswith("_dir"):
        said, sentence = [_say_direction(value) for value in values], "It is seen, off straight ahead, {}."
    elif task.endswith("_ori"):
        said, sentence = [_say_turn(value) for value in values], "Since the beginning the camera has turned {}."
    elif task.endswith("_spd"):
        said, sentence = [f"{value:.2f} m" for value in values], "In one second it covers {}."
    elif task.endswith("_spd_comp"):
        said = [f"{former:.2f} m against {latter:.2f} m" for former, latter in values]
        sentence = "In one second they cover {}."
    else:
        said, sentence = [_say_way(np.subtract(values[1], values[0]))], "So far it has gone {}, and it will go on."
    return sentence.format(", then ".join(said)), said


def _say_direction(degrees: Sequence[float]) -> str:
    aside, above = degrees
    parts = [
        _say_degrees(aside, "to the right", "to the left"),
        _say_degrees(above, "up", "down"),
    ]
    return " and ".join(filter(None, parts)) or "0 degrees up"


def _say_turn(degrees: Sequence[float]) -> str:
    yaw, pitch, roll = degrees
    parts = [
        _say_degrees(yaw, "to the right", "to the left"),
        _say_degrees(pitch, "up", "down"),
        _say_degrees(roll, "clockwise", "counterclockwise"),
    ]
    return " and ".join(filter(None, parts)) or "0 degrees up"


def _say_degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):.0f} degrees {positive if value > 0 else negative}" if abs(value) > _STANDING_DEGREES else ""


def _say_way(gone: np.ndarray) -> str:
    axis = int(np.argmax(np.abs(gone)))
    names = (("to the left", "to the right"), ("up", "down"), (_NEAR, _FAR))[axis]
    return f"{abs(gone[axis]):.2f} m {names[int(gone[axis] > 0)]}"

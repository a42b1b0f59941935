"""The questions about one clip, from its record alone: words, numbers and masks, no pixels."""

import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...modeling.errors import InputError
from ..clip_record import ClipRecord, ObjectTrack
from ..geometry.camera_motion import OPPOSITE
from .claims import check_claims
from .clip_reasoning import BACK, NEARER, camera_reasoning, explain_camera
from .evidence import Sight, compare, look_at, seen_size
from .motion import shuffled
from .motion_reasoning import checked_response
from .option_design import OPTIONS, OptionDesign

STAY = "Stay"
_CAMERA_WORDINGS = (
    "Which way does the camera move between {start:.1f} s and {end:.1f} s, along and around its own axes?",
    "What is the camera's motion from {start:.1f} s to {end:.1f} s, in the camera's own axes?",
    "From {start:.1f} s to {end:.1f} s, how does the camera move, seen from the camera itself?",
    "Seen along its own axes, what does the camera do between {start:.1f} s and {end:.1f} s?",
)
# Kinds of motion that are parts of an arc, and so no wrong answers beside it.
_PARTS_OF_ARC = ("Pan", "Truck")
_DRAWS = 50


class Candidate(NamedTuple):
    """Something that can be asked about a clip.

    Attributes:
        kind (`str`): Questions of one kind have answers of one kind, among which wrong options are drawn.
        answer (`str`): The right option.
        fact (`int`): Number of the fact within the record's facts of that sort.
    """

    kind: str
    answer: str
    fact: int


def list_candidates(facts: Mapping[str, Any]) -> list[Candidate]:
    """Everything that a record's facts allow to ask, in a fixed order."""
    return [
        Candidate(f"camera-{'-'.join(str(len(part)) for part in fact['parts'])}", name_motion(fact["parts"]), number)
        for number, fact in enumerate(facts.get("camera", ()))
    ]


def design_options(counts: Mapping[str, Mapping[str, int]]) -> dict[str, OptionDesign]:
    """For each kind of question what draws its wrong options.

    Args:
        counts (`Mapping[str, Mapping[str, int]]`): For each kind, how often each answer is right in the dataset.
    """
    return {
        kind: OptionDesign(answers, [(answer, opposite_motion(answer)) for answer in answers if _leads(answer)])
        for kind, answers in counts.items()
    }


def ask_about_clip(
    record: ClipRecord,
    candidates: Iterable[Candidate],
    designs: Mapping[str, OptionDesign],
    frames: int = 8,
    seed: int = 0,
    name: str | None = None,
) -> list[dict[str, Any]]:
    """The questions about a clip.

    Args:
        record ([`ClipRecord`]): With its facts.
        candidates (`Iterable[Candidate]`): What to ask, of [`list_candidates`].
        designs (`Mapping[str, OptionDesign]`): Of [`design_options`].
        frames (`int`, *optional*, defaults to 8): Frames in a row, evenly spread.
        seed (`int`, *optional*, defaults to 0): Of wording and options.
        name (`str`, *optional*): What to call the moving object.

    Returns:
        `list[dict]`: The text columns of a row; `shown` (indices of its frames in the window), `imagined` (for each
        imagery frame its `frame` index and its `mask`, or `None` for the plain frame) and `size` (of the pictures).
    """
    questions = []
    for candidate in candidates:
        identity = f"{record.clip}-{candidate.kind.partition('-')[0]}-{candidate.fact}"
        rng = np.random.default_rng([seed, zlib.crc32(identity.encode())])
        asked = _ask_about_camera(record, candidate, designs[candidate.kind], frames, rng)
        questions.append({"id": identity, "source": record.source, **asked})
    return questions


def name_motion(parts: Sequence[Sequence[str]]) -> str:
    """The option text of a camera motion: `Pan Left, Truck Left and Dolly In`, `first Pan Left, then Pan Right`."""
    names = [part[0] if len(part) == 1 else f"{', '.join(part[:-1])} and {part[-1]}" for part in parts]
    return names[0] if len(names) == 1 else f"first {', then '.join(names)}"


def opposite_motion(answer: str) -> str:
    """The option text with every label turned round."""
    return _LABEL.sub(lambda found: _OPPOSITE[found[0]], answer)


def show_frames(count: int, frames: int, named: Sequence[int]) -> list[int]:
    """Which frames of a window a row shows: evenly spread ones, and those that the text names.

    Args:
        count (`int`): Frames in the window.
        frames (`int`): How many to show, if there are so many.
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


_OPPOSITE = {**OPPOSITE, "Arc Left": "Arc Right", "Arc Right": "Arc Left", STAY: STAY}
_LABEL = re.compile("|".join(sorted(_OPPOSITE, key=len, reverse=True)))


def _leads(answer: str) -> bool:
    """Whether an answer stands for the pair of itself and its opposite."""
    return answer < opposite_motion(answer)


def _ask_about_camera(
    record: ClipRecord, candidate: Candidate, design: OptionDesign, frames: int, rng: np.random.Generator
) -> dict[str, Any]:
    fact = record.facts["camera"][candidate.fact]
    times = np.array(record.window.timestamps)
    named = [int(np.abs(times - moment).argmin()) for moment in fact["span"]]
    seconds = [float(times[index]) for index in named]
    size = seen_size(record.size)
    masks, sights = _choose_region(record.resting or (), fact["parts"], named, seconds, size)
    options = [candidate.answer, *_wrong_motions(candidate.answer, design, rng)]
    wording = str(rng.choice(_CAMERA_WORDINGS)).format(start=seconds[0], end=seconds[-1])
    asked = shuffled(wording, options, rng)
    reasoning = camera_reasoning(fact["parts"], candidate.answer, seconds, sights, rng)
    check_claims(reasoning, sights, seconds, [candidate.answer, NEARER, BACK])
    return {
        "task": "camera_motion",
        **asked,
        "facts": json.dumps(
            {
                "seconds": [round(second, 3) for second in seconds],
                "labels": fact["parts"],
                **fact["numbers"],
                **describe_imagery(sights),
            }
        ),
        "response": checked_response(reasoning, asked["answer"], asked["options"], imagery=len(named)),
        "shown": show_frames(len(times), frames, named),
        "imagined": [{"frame": index, "mask": mask} for index, mask in zip(named, masks, strict=True)],
        "size": list(size),
    }


def describe_imagery(sights: Sequence[Sight]) -> dict[str, Any]:
    """What `facts` says of the imagery: an overlay with its places, or that the plain frame stands in for one."""
    if not sights:
        return {"imagery": "plain frame"}
    return {
        "imagery": "overlay",
        "centres": [list(sight.centre) for sight in sights],
        "boxes": [list(sight.box) for sight in sights],
    }


def _wrong_motions(right: str, design: OptionDesign, rng: np.random.Generator) -> list[str]:
    """Three wrong options; those of the dataset's own answers where there are enough."""
    drawn: list[str] = []
    for _ in range(_DRAWS):
        drawn = design.draw(right, rng)
        if not _conflict([right, *drawn]):
            break
    else:
        drawn = []
    spare = [opposite_motion(right), *_flipped(right), *_single_motions(right, rng)]
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
    axes = [label for label in OPPOSITE if _leads(label)]
    return [label for number in rng.permutation(len(axes)) for label in (axes[number], OPPOSITE[axes[number]])]


def _choose_region(
    regions: Sequence[ObjectTrack],
    parts: Sequence[Sequence[str]],
    named: Sequence[int],
    seconds: Sequence[float],
    size: tuple[int, int],
) -> tuple[list[dict | None], list[Sight]]:
    """Masks and sights of the resting region that shows the camera's motion best, in all frames that the text names."""
    best: tuple[float, list[dict | None], list[Sight]] = (-1.0, [None] * len(named), [])
    for region in regions:
        masks = [region.masks[index] for index in named]
        if any(mask is None for mask in masks):
            continue
        sights = [look_at(mask, time, size) for mask, time in zip(masks, seconds, strict=True) if mask is not None]
        if any(sight is None for sight in sights):
            continue
        seen = [sight for sight in sights if sight is not None]
        explained = sum(
            explain_camera([label], change, size) is not None
            for labels, change in zip(parts, compare(seen), strict=True)
            for label in labels
        )
        score = explained + min(sight.side for sight in seen) / max(size) / 10
        if score > best[0]:
            best = score, list(masks), seen
    return best[1], best[2]


def check_name(name: str) -> str:
    """A name that a user gives an object, without article and fit for a sentence.

    Raises:
        InputError: If it is empty, longer than 60 characters, or holds marks that mean something in rows.
    """
    plain = re.sub(r"^(the|a|an) ", "", " ".join(name.split()), flags=re.IGNORECASE)
    if not 0 < len(plain) <= 60 or re.search(r"[<>{}\[\]()\d]", plain):
        raise InputError(f"the name {name!r} of an object must be plain words, at most 60 characters")
    return plain

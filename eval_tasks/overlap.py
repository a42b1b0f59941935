"""Find rows of a benchmark that a training set holds too: the same video, copied or altered, or the same question.

Needs numpy and Pillow, neither torch nor lmms-eval.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..modeling.errors import InputError
from .video_overlap import ReadClip, alike_videos

_WORD = re.compile(r"[^\W_]+(?:\.\d+)?")
_GRAM = 8  # words of a stretch that two questions must share
_TEMPLATE = 5  # a stretch that more questions use is a template's
_SHARED = 0.6  # the share of a question's stretches that must occur in one other question


@dataclass(frozen=True)
class Overlap:
    """One row of a benchmark and the training row that it overlaps with.

    Attributes:
        row (`str`): `id` of the benchmark's row.
        other (`str`): `id` of the training row.
        kind (`str`): `"video"`, or `"question"`.
        likeness (`float`): Share of equal bits of the hashes, or of shared stretches of words; 1 for equal ones.
    """

    row: str
    other: str
    kind: str
    likeness: float


def find_overlap(
    rows: Sequence[Mapping[str, Any]],
    training_rows: Sequence[Mapping[str, Any]],
    read_clip: ReadClip,
    read_training_clip: ReadClip,
) -> list[Overlap]:
    """Compare every row of a benchmark with every row of a training set.

    Args:
        rows (`Sequence[Mapping]`): The benchmark's rows, with `id`, `question` and `options`.
        training_rows (`Sequence[Mapping]`): The training set's.
        read_clip (`Callable`): The clip of a row of the benchmark, several frames a second of it; `None` where it has
            none to look at.
        read_training_clip (`Callable`): The same of a training row, of which few frames are enough.

    Returns:
        `list[Overlap]`: At most one of each kind a row, the closest, in the order of the rows.
    """
    found = [
        Overlap(str(rows[place]["id"]), str(training_rows[other]["id"]), "video", likeness)
        for place, other, likeness in alike_videos(rows, training_rows, read_clip, read_training_clip)
    ]
    found += _alike_questions(rows, training_rows)
    place = {str(row["id"]): number for number, row in enumerate(rows)}
    return sorted(found, key=lambda overlap: (place[overlap.row], overlap.kind != "video"))


def format_overlap(overlaps: Sequence[Overlap], n_rows: int, name: str, data: str, shown: int = 20) -> str:
    """Say how many rows overlap and name the first of them, one a line."""
    n_affected = len({overlap.row for overlap in overlaps})
    lines = [f"{name}: {n_affected} of {n_rows} rows overlap with {data}"]
    for overlap in overlaps[:shown]:
        lines.append(f"  {overlap.row}: {overlap.kind} of {overlap.other} ({100 * overlap.likeness:.0f} % alike)")
    if len(overlaps) > shown:
        lines.append(f"  and {len(overlaps) - shown} more")
    return "\n".join(lines)


def clean_rows(rows: Sequence[Mapping[str, Any]], overlaps: Iterable[Overlap]) -> list[int]:
    """The places of the rows that overlap with nothing.

    Raises:
        InputError: If none is left.
    """
    affected = {overlap.row for overlap in overlaps}
    kept = [number for number, row in enumerate(rows) if str(row["id"]) not in affected]
    if not kept:
        raise InputError("--drop-overlap leaves no row to score: the training set holds all of them")
    return kept


def _alike_questions(
    rows: Sequence[Mapping[str, Any]], training_rows: Sequence[Mapping[str, Any]]
) -> Iterable[Overlap]:
    """Questions that share most of their own stretches of words, those aside that many rows use: a template."""
    grams, training_grams = [_grams(row) for row in rows], [_grams(row) for row in training_rows]
    uses = [Counter(gram for each in some for gram in each) for some in (grams, training_grams)]
    holders: dict[tuple[str, ...], list[int]] = {}
    for number, each in enumerate(training_grams):
        for gram in each:
            if max(use[gram] for use in uses) <= _TEMPLATE:
                holders.setdefault(gram, []).append(number)
    for row, each in zip(rows, grams, strict=True):
        own = [gram for gram in each if max(use[gram] for use in uses) <= _TEMPLATE]
        shared = Counter(number for gram in own for number in holders.get(gram, ()))
        if not shared:
            continue
        best, count = shared.most_common(1)[0]
        if count >= _SHARED * len(own):
            yield Overlap(str(row["id"]), str(training_rows[best]["id"]), "question", count / len(own))


def _grams(row: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """Stretches of words of a question with its options; of a short one all its words."""
    words = _WORD.findall(" ".join([row["question"], *map(str, sorted(row["options"] or ()))]).casefold())
    return {tuple(words[start : start + _GRAM]) for start in range(max(1, len(words) - _GRAM + 1))}

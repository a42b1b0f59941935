"""Find rows of a benchmark that a training set holds too: the same video, copied or altered, or the same question.

A video is known again by perceptual hashes of frames at fixed fractions of its length. They survive re-encoding and
resizing by themselves; cropping and mirroring are tried on either side. Needs numpy and Pillow, neither torch nor
lmms-eval.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from ..modeling.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)  # of a clip's length, at which frames are compared
_THUMBNAIL, _SIDE, _KEPT = 128, 32, 8  # pixels of what is cropped, of what is hashed, and frequencies kept a side
_BITS = _KEPT * _KEPT * len(_FRACTIONS)
# Of all bits, the share up to which two clips count as one: copies measured 1 to 12 %, different clips 20 % and more.
_ALIKE = 0.16
_PLAIN = 2.0  # deviation of grey values, of 255: a frame that shows nothing has a hash of noise
_CHUNK = 256
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
    frames: Callable[[Mapping[str, Any]], Sequence["Image.Image"] | None],
    training_frames: Callable[[Mapping[str, Any]], Sequence["Image.Image"] | None],
) -> list[Overlap]:
    """Compare every row of a benchmark with every row of a training set.

    Args:
        rows (`Sequence[Mapping]`): The benchmark's rows, with `id`, `question` and `options`.
        training_rows (`Sequence[Mapping]`): The training set's.
        frames (`Callable`): The frames of a row of the benchmark in their order; `None` where it has none to look at.
        training_frames (`Callable`): The same of a training row.

    Returns:
        `list[Overlap]`: At most one of each kind a row, the closest, in the order of the rows.
    """
    seen = video_hashes(rows, frames), video_hashes(training_rows, training_frames)
    found = [*_alike_videos(rows, training_rows, *seen), *_alike_questions(rows, training_rows)]
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


def video_hashes(
    rows: Sequence[Mapping[str, Any]], frames: Callable[[Mapping[str, Any]], Sequence["Image.Image"] | None]
) -> list["np.ndarray | None"]:
    """Hashes of each row's video: booleans of shape `(windows, _BITS)`, the whole frame first; `None` for no video.

    Rows that name the same `video` share one array.
    """
    known: dict[Any, np.ndarray | None] = {}
    found = []
    for number, row in enumerate(rows):
        key = row.get("video") or number
        if key not in known:
            pictures = frames(row)
            known[key] = _hash_clip(pictures) if pictures else None
        found.append(known[key])
    return found


def _hash_clip(frames: Sequence["Image.Image"]) -> "np.ndarray | None":
    import numpy as np
    from PIL import Image

    chosen = [frames[round(fraction * (len(frames) - 1))] for fraction in _FRACTIONS]
    size = (_THUMBNAIL, _THUMBNAIL)
    grey = [frame.convert("L").resize(size, Image.Resampling.BOX, reducing_gap=2.0) for frame in chosen]
    if max(np.asarray(picture).std() for picture in grey) <= _PLAIN:
        return None
    small = (_SIDE, _SIDE)
    cut = [
        [np.asarray(picture.resize(small, Image.Resampling.BILINEAR, box=box), dtype=np.float32) for picture in grey]
        for box in _windows()
    ]
    pixels = np.array(cut)
    pixels = np.concatenate([pixels, pixels[..., ::-1]])  # and mirrored
    basis = _cosines()
    waves = (basis @ pixels @ basis.T).reshape(*pixels.shape[:2], -1)
    return (waves > np.median(waves, axis=-1, keepdims=True)).reshape(len(pixels), _BITS)


@cache
def _windows() -> list[tuple[float, float, float, float]]:
    """Boxes of a thumbnail that a crop of up to 10 % of either side may have left; the whole of it first."""
    boxes = [(0.0, 0.0, float(_THUMBNAIL), float(_THUMBNAIL))]
    for width, height in ((0.95, 0.95), (0.9, 0.9), (0.9, 1.0), (1.0, 0.9)):
        spans = [
            sorted({round(place * (1 - share) * _THUMBNAIL, 3) for place in (0, 0.5, 1)}) for share in (width, height)
        ]
        for left, top in product(*spans):
            boxes.append((left, top, left + width * _THUMBNAIL, top + height * _THUMBNAIL))
    return boxes


@cache
def _cosines() -> "np.ndarray":
    """The lowest frequencies of the discrete cosine transform (type II), one a line."""
    import numpy as np

    places = (np.arange(_SIDE) + 0.5) * np.pi / _SIDE
    return np.cos(np.arange(_KEPT)[:, None] * places).astype(np.float32)


def _alike_videos(
    rows: Sequence[Mapping[str, Any]],
    training_rows: Sequence[Mapping[str, Any]],
    hashes: Sequence["np.ndarray | None"],
    training_hashes: Sequence["np.ndarray | None"],
) -> Iterable[Overlap]:
    import numpy as np

    others = [number for number, known in enumerate(training_hashes) if known is not None]
    if not others:
        return
    # The whole frames of one side against all windows of the other, both ways.
    wholes = np.stack([training_hashes[number][0] for number in others]).astype(np.float32)
    for row, known in zip(rows, hashes, strict=True):
        if known is None:
            continue
        distances = _differing(known.astype(np.float32), wholes).min(axis=0)
        for start in range(0, len(others), _CHUNK):
            some = np.stack([training_hashes[number] for number in others[start : start + _CHUNK]]).astype(np.float32)
            reverse = _differing(known[:1].astype(np.float32), some.reshape(-1, _BITS)).reshape(len(some), -1)
            end = start + len(some)
            distances[start:end] = np.minimum(distances[start:end], reverse.min(axis=1))
        best = int(distances.argmin())
        if distances[best] <= _ALIKE * _BITS:
            likeness = 1 - float(distances[best]) / _BITS
            yield Overlap(str(row["id"]), str(training_rows[others[best]]["id"]), "video", likeness)


def _differing(left: "np.ndarray", right: "np.ndarray") -> "np.ndarray":
    """How many bits differ, for all pairs of two lists of hashes."""
    return left.sum(axis=1)[:, None] + right.sum(axis=1)[None] - 2 * (left @ right.T)


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

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
_THUMBNAIL, _SIDE, _KEPT = 128, 32, 12  # pixels of what is cropped, of what is hashed, and frequencies kept a side
_BITS = _KEPT * _KEPT * len(_FRACTIONS)
# Of all bits, the share up to which two clips count as one. Copies, cropped and mirrored, measured up to 11 %,
# different clips of one rendered world, which are more alike than real videos, 26 % and more.
_ALIKE = 0.16
_PLAIN = 2.0  # deviation of grey values, of 255: a frame that shows nothing has a hash of noise
_PLACES = (0, 0.25, 0.5, 0.75, 1)  # of a window, from one end of the frame to the other
_CHUNK = 128  # clips whose hashes are unpacked at once
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
    """Hashes of each row's video, packed: bytes of shape `(2, windows, _BITS / 8)`; `None` for no video.

    The second half is of the mirrored video; the first window is the whole frame.

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
    bits = (waves > np.median(waves, axis=-1, keepdims=True)).reshape(2, -1, _BITS)
    return np.packbits(bits, axis=-1)


@cache
def _windows() -> list[tuple[float, float, float, float]]:
    """Boxes of a thumbnail that a crop of up to 10 % of either side may have left; the whole of it first."""
    boxes = [(0.0, 0.0, float(_THUMBNAIL), float(_THUMBNAIL))]
    for width, height in ((0.95, 0.95), (0.9, 0.9), (0.9, 1.0), (1.0, 0.9)):
        spans = [
            sorted({round(place * (1 - share) * _THUMBNAIL, 3) for place in _PLACES}) for share in (width, height)
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
    best: dict[int, tuple[float, int]] = {}
    for start in range(0, len(others), _CHUNK):
        some = others[start : start + _CHUNK]
        windows = _unpack(np.stack([training_hashes[number][0] for number in some]))
        wholes = windows.reshape(len(some), -1, _BITS)[:, 0]
        for place, known in enumerate(hashes):
            if known is None:
                continue
            # Either may be cut out of the other: all windows of one against the whole frames of the other.
            likeness = np.maximum(
                (_unpack(known) @ wholes.T).max(axis=0),
                (_unpack(known[:, 0]) @ windows.T).max(axis=0).reshape(len(some), -1).max(axis=1),
            )
            closest = int(likeness.argmax())
            best[place] = max(
                best.get(place, (-1.0, 0)), (float(likeness[closest]) / _BITS, -some[closest])
            )  # first of equals
    for place, (likeness, other) in sorted(best.items()):
        share = (1 + likeness) / 2
        if share >= 1 - _ALIKE:
            yield Overlap(str(rows[place]["id"]), str(training_rows[-other]["id"]), "video", share)


def _unpack(packed: "np.ndarray") -> "np.ndarray":
    """Bits as 1 and -1, one hash a line, so that a product of two counts equal bits less different ones."""
    import numpy as np

    return 2 * np.unpackbits(packed, axis=-1).reshape(-1, _BITS).astype(np.float32) - 1


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

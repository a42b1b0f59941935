"""Find videos again by perceptual hashes of their frames.

The hashes survive re-encoding and resizing by themselves; cropping and mirroring are tried on either side. Of the one
video five frames are looked at, of the other many, so that those of equal times are compared however often either was
sampled. Needs numpy and Pillow.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from .benchmark import FramePolicy

if TYPE_CHECKING:
    import numpy as np

    from ..modeling.clip import Clip

# How densely a benchmark's videos are looked at; training rows come with the frames that they have.
SAMPLING = FramePolicy(fps=4.0, max_frames=64, max_pixels=256 * 256)

ReadClip = Callable[[Mapping[str, Any]], "Clip | None"]

_FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)  # of a training clip, at which frames are compared
_MOST_FRAMES = 32  # of a benchmark's clip, spread evenly
_THUMBNAIL, _SIDE, _KEPT = 128, 32, 12  # pixels of what is cropped, of what is hashed, and frequencies kept a side
_BITS = _KEPT * _KEPT
_BYTES = 24  # of the hash of a frame, filled up to whole words of 64 bits
# Of all bits, the share that may differ between two clips that count as one; `benchmarks/overlap.py` measures it.
_ALIKE = 0.16
_PLAIN = 2.0  # deviation of grey values, of 255: a frame that shows nothing has a hash of noise
_PLACES = (0, 0.25, 0.5, 0.75, 1)  # of a window, from one end of the frame to the other
_CHUNK = 64  # clips that one clip is compared with at once


@dataclass(frozen=True)
class VideoHash:
    """Hashes of frames of one video.

    Attributes:
        times (`np.ndarray`): When the frames are, `(2, frames)`: in seconds, and as shares of the clip's length.
        bits (`np.ndarray`): Words of 64 bits, `(2, windows, frames, 3)`: the second half is of the mirrored video, the
            first window is the whole frame.
    """

    times: "np.ndarray"
    bits: "np.ndarray"


def hash_videos(rows: Sequence[Mapping[str, Any]], read_clip: ReadClip, choose: Callable) -> list[VideoHash | None]:
    """The hashes of each row's video; `None` where there is none, or it shows nothing.

    Args:
        rows (`Sequence[Mapping]`): The rows. Those that name the same `video` share one result.
        read_clip (`Callable`): Reads the clip of a row.
        choose (`Callable`): From the seconds of its frames those to hash, by their places.
    """
    known: dict[Any, VideoHash | None] = {}
    found = []
    for number, row in enumerate(rows):
        key = row.get("video") or number
        if key not in known:
            clip = read_clip(row)
            known[key] = _hash_clip(clip, choose(clip.timestamps)) if clip else None
        found.append(known[key])
    return found


def alike_videos(
    rows: Sequence[Mapping[str, Any]],
    training_rows: Sequence[Mapping[str, Any]],
    read: ReadClip,
    read_training: ReadClip,
) -> Iterator[tuple[int, int, float]]:
    """The rows whose video is among those of the training rows.

    Yields:
        `tuple[int, int, float]`: The row's place, that of the training row with the most similar video, and the share
        of equal bits.
    """
    import numpy as np

    hashes = hash_videos(rows, read, _spread)
    training = hash_videos(training_rows, read_training, _at_fractions)
    others = [number for number, known in enumerate(training) if known is not None]
    videos = {id(known): known for known in hashes if known is not None}
    best: dict[int, tuple[float, int]] = dict.fromkeys(videos, (1.0, 0))
    for start in range(0, len(others), _CHUNK):
        some = others[start : start + _CHUNK]
        times = np.stack([training[number].times for number in some])
        bits = np.stack([training[number].bits[0] for number in some])
        for key, known in videos.items():
            differing = _compare(known, times, bits)
            closest = int(differing.argmin())
            best[key] = min(best[key], (float(differing[closest]), some[closest]))
    for place, known in enumerate(hashes):
        differing, other = best.get(id(known), (1.0, 0))
        if differing <= _ALIKE:
            yield place, other, 1 - differing


def _compare(known: VideoHash, times: "np.ndarray", bits: "np.ndarray") -> "np.ndarray":
    """The share of bits that differ between a video and each of several others; 1 for those that are not alike.

    Args:
        known (`VideoHash`): Of the one video, of which many frames are known.
        times (`np.ndarray`): Of the frames of the others, `(videos, 2, 5)`.
        bits (`np.ndarray`): Their hashes, `(videos, windows, 5, 3)`.
    """
    import numpy as np

    near = _nearest(known.times, times)
    left = np.arange(len(bits))  # the videos that may still turn out to be alike
    cut = whole = np.zeros(1, np.uint16)  # bits that differ so far, by mirroring, window and video
    for frame in range(len(_FRACTIONS)):
        shown = known.bits[:, :, near[left, frame]]  # (2, windows, videos, candidates, 3)
        theirs = bits[left, :, frame]  # (videos, windows, 3)
        # Either may be cut out of the other: all windows of one against the whole frames of the other.
        cut = cut + _differing(shown, theirs[None, None, :, 0, None])
        whole = whole + _differing(shown[:, 0, :, None], theirs[:, :, None])
        differing = np.minimum(cut.min(axis=(0, 1)), whole.min(axis=(0, 2)))
        alike = differing <= _ALIKE * _BITS * len(_FRACTIONS)
        left, cut, whole = left[alike], cut[:, :, alike], whole[:, alike]
        if not len(left):
            break
    found = np.ones(len(bits))
    found[left] = differing[alike] / (_BITS * len(_FRACTIONS))
    return found


def _differing(some: "np.ndarray", others: "np.ndarray") -> "np.ndarray":
    """How many bits differ, of the best of several candidates (axis -2)."""
    import numpy as np

    return np.bitwise_count(some ^ others).sum(axis=-1, dtype=np.uint16).min(axis=-1)


def _nearest(known: "np.ndarray", times: "np.ndarray") -> "np.ndarray":
    """Places of the frames of a video that may show what frames of others show: `(videos, 5, 4)`.

    They are those right before and after the same second, and right before and after the same share of the length,
    as a copy may begin elsewhere or run at another speed.
    """
    import numpy as np

    found = []
    for scale in range(2):
        after = np.searchsorted(known[scale], times[:, scale]).clip(0, known.shape[1] - 1)
        found += [after, (after - 1).clip(0)]
    return np.stack(found, axis=-1)


def _spread(seconds: Sequence[float]) -> list[int]:
    """Places of frames all over a clip."""
    count = min(len(seconds), _MOST_FRAMES)
    return [round(number * (len(seconds) - 1) / max(count - 1, 1)) for number in range(count)]


def _at_fractions(seconds: Sequence[float]) -> list[int]:
    """Places of the five frames of a clip."""
    return [round(fraction * (len(seconds) - 1)) for fraction in _FRACTIONS]


def _hash_clip(clip: "Clip", places: Sequence[int]) -> VideoHash | None:
    import numpy as np
    from PIL import Image

    size = (_THUMBNAIL, _THUMBNAIL)
    chosen = {place: clip.frames[place].convert("L") for place in dict.fromkeys(places)}
    grey = {place: frame.resize(size, Image.Resampling.BOX, reducing_gap=2.0) for place, frame in chosen.items()}
    if max(np.asarray(picture).std() for picture in grey.values()) <= _PLAIN:
        return None
    hashes = {place: _hash_frame(picture) for place, picture in grey.items()}
    bits = np.stack([hashes[place] for place in places], axis=2)
    seconds = np.array(clip.timestamps)
    shares = (seconds - seconds[0]) / max(seconds[-1] - seconds[0], 1e-9)
    return VideoHash(np.stack([seconds, shares])[:, list(places)], bits)


def _hash_frame(picture: Any) -> "np.ndarray":
    """Words of shape `(2, windows, 3)`."""
    import numpy as np
    from PIL import Image

    small = (_SIDE, _SIDE)
    cut = [picture.resize(small, Image.Resampling.BILINEAR, box=box) for box in _windows()]
    pixels = np.array([np.asarray(part, dtype=np.float32) for part in cut])
    pixels = np.stack([pixels, pixels[..., ::-1]])  # and mirrored
    basis = _cosines()
    waves = (basis @ pixels @ basis.T).reshape(*pixels.shape[:2], -1)
    bits = np.packbits(waves > np.median(waves, axis=-1, keepdims=True), axis=-1)
    padded = np.zeros((*bits.shape[:2], _BYTES), np.uint8)
    padded[..., : bits.shape[-1]] = bits
    return padded.view(np.uint64)


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

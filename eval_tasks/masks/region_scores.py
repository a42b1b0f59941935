"""J (region), F (boundary) and their mean for the masks of one object, as Dyn-Bench's published code computes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_THRESHOLD = 0.5
# Iterations of erosion that give the boundary, and of dilation within which two boundaries count as the same.
_WIDTH = 2


@dataclass(frozen=True)
class RegionScores:
    """Scores between 0 and 1.

    Attributes:
        j (`float`): Intersection over union, the mean over frames.
        f (`float`): The F-measure of boundaries, the mean over frames.
    """

    j: float
    f: float

    @property
    def j_and_f(self) -> float:
        """The mean of the two."""
        return (self.j + self.f) / 2


def score_masks(predicted: Sequence["np.ndarray"], truth: Sequence["np.ndarray"]) -> RegionScores:
    """Score the masks of one object in a video, frame by frame.

    Args:
        predicted (`Sequence[np.ndarray]`): Masks `(height, width)`, cut at more than 0.5. One of another size than
            the truth is resized to it by nearest neighbour.
        truth (`Sequence[np.ndarray]`): Masks `(height, width)`, cut at more than 0.

    Returns:
        [`RegionScores`]: The means over frames. Frames beyond the shorter of the two are left out; without any frame
            in common both are 0.
    """
    pairs = [
        (resize_nearest(mask > _THRESHOLD, true.shape), true > 0) for mask, true in zip(predicted, truth, strict=False)
    ]
    if not pairs:
        return RegionScores(0.0, 0.0)
    return RegionScores(
        sum(region_overlap(*pair) for pair in pairs) / len(pairs),
        sum(boundary_agreement(*pair) for pair in pairs) / len(pairs),
    )


def region_overlap(predicted: "np.ndarray", truth: "np.ndarray") -> float:
    """Intersection over union of two masks of `bool`; 1 where both are empty."""
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else 1.0


def boundary_agreement(predicted: "np.ndarray", truth: "np.ndarray") -> float:
    """The F-measure of two masks' boundaries: 1 where both have none, 0 where one has none.

    A boundary is the mask without its erosion. A pixel of one boundary is matched if the other one, dilated, holds it.
    """
    ours, theirs = boundary(predicted), boundary(truth)
    sizes = int(ours.sum()), int(theirs.sum())
    if not all(sizes):
        return float(not any(sizes))
    precision = int((ours & dilate(theirs, _WIDTH)).sum()) / sizes[0]
    recall = int((theirs & dilate(ours, _WIDTH)).sum()) / sizes[1]
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: "np.ndarray") -> "np.ndarray":
    """The pixels of a mask that two erosions remove. Beyond the image there is no mask, so its edge counts."""
    return mask & ~erode(mask, _WIDTH)


def erode(mask: "np.ndarray", iterations: int) -> "np.ndarray":
    """Keep the pixels of a mask of `bool` whose four neighbours are in it too, that many times."""
    for _ in range(iterations):
        centre, *neighbours = _shifted(mask)
        for neighbour in neighbours:
            centre = centre & neighbour
        mask = centre
    return mask


def dilate(mask: "np.ndarray", iterations: int) -> "np.ndarray":
    """Add the four neighbours of the pixels of a mask of `bool`, that many times."""
    for _ in range(iterations):
        centre, *neighbours = _shifted(mask)
        for neighbour in neighbours:
            centre = centre | neighbour
        mask = centre
    return mask


def resize_nearest(mask: "np.ndarray", shape: tuple[int, ...]) -> "np.ndarray":
    """A mask in another shape `(height, width)`: pixel `i` is the old pixel `floor(i · old / new)`, as in OpenCV."""
    import numpy as np

    rows, columns = (np.arange(new) * old // new for new, old in zip(shape, mask.shape, strict=True))
    return mask[rows[:, None], columns]


def _shifted(mask: "np.ndarray") -> list["np.ndarray"]:
    """A mask, and it moved by one pixel in the four directions."""
    import numpy as np

    height, width = mask.shape
    padded = np.pad(mask, 1)
    return [padded[y : y + height, x : x + width] for y, x in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]

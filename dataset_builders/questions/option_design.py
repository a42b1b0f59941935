"""Options that give nothing away: of any four that stand together, each is right equally often.

Drawn by systematic sampling (Madow 1949) with inclusion probabilities in proportion to how often an answer is right:
the labels lie on a circle, each as long as four times its share of the answers; a comb of four teeth one apart is
turned until a tooth hits the right label at a random place, and the other teeth name the wrong options. Given the
four labels under the teeth, each is then the right one with probability 1/4. That needs no label to be right in more
than a quarter of the questions; [`limit_shares`] says which rows to leave out for it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

OPTIONS = 4
MIN_ROWS_TO_LIMIT = 40  # fewer rows of a kind are not worth balancing
_TOLERANCE = 0.03  # by which the most frequent of a few answers may exceed chance


class OptionDesign:
    """Draws wrong options for one kind of question.

    Args:
        counts (`Mapping[str, int]`): How often each answer is right over the whole dataset.
        pairs (`Sequence[tuple[str, str]]`): Opposite answers, which are put into one question where shares allow it.
    """

    def __init__(self, counts: Mapping[str, int], pairs: Sequence[tuple[str, str]] = ()):
        self._shares = {label: count for label, count in sorted(counts.items()) if count > 0}
        self._pairs = [pair for pair in pairs if pair[0] in self._shares or pair[1] in self._shares]

    def draw(self, right: str, rng: np.random.Generator) -> list[str]:
        """Up to three wrong options beside the right one, fewer where the dataset has fewer other answers."""
        if len(self._shares) <= OPTIONS or right not in self._shares:
            return [label for label in self._shares if label != right][: OPTIONS - 1]
        order = self._circle(rng)
        lengths = np.array([self._shares[label] for label in order], dtype=float)
        lengths = np.minimum(lengths / lengths.sum() * OPTIONS, 1.0)
        lengths *= OPTIONS / lengths.sum()
        ends = np.cumsum(lengths)
        place = order.index(right)
        tooth = ends[place] - rng.random() * lengths[place]
        hit = {min(int(np.searchsorted(ends, (tooth + k) % OPTIONS)), len(order) - 1) for k in range(1, OPTIONS)}
        wrong = [order[number] for number in sorted(hit) if order[number] != right]
        spare = [label for label in order if label != right and label not in wrong]
        return (wrong + spare)[: OPTIONS - 1]  # a label longer than a tooth's distance is hit twice

    def _circle(self, rng: np.random.Generator) -> list[str]:
        """The labels in random order, opposites half a circle apart, so that two teeth hit both."""
        paired = {label for pair in self._pairs for label in pair}
        groups = [*self._pairs, *((label,) for label in self._shares if label not in paired)]
        halves: tuple[list[str], list[str]] = ([], [])
        for number in rng.permutation(len(groups)):
            group = groups[number]
            first = int(rng.integers(2))
            for side, label in enumerate(group):
                if label in self._shares:
                    halves[(first + side) % 2].append(label)
        return halves[0] + halves[1]


def limit_shares(counts: Mapping[str, int]) -> dict[str, int]:
    """How many rows of each answer to keep, so that no answer is much more frequent than chance.

    Where there are more than four answers none may be more than a quarter of the rows; [`OptionDesign`] then hides
    which are frequent. Up to four answers stand together in every question, so that they must be about equal.

    Args:
        counts (`Mapping[str, int]`): Rows of each answer of one kind of question.

    Returns:
        `dict[str, int]`: The counts as they are if there are fewer than `MIN_ROWS_TO_LIMIT` rows or two answers.
    """
    present = {label: count for label, count in counts.items() if count > 0}
    if sum(present.values()) < MIN_ROWS_TO_LIMIT or len(present) < 2:
        return present
    share = 1 / OPTIONS if len(present) > OPTIONS else 1 / len(present) + _TOLERANCE
    for limit in range(max(present.values()), 0, -1):
        kept = {label: min(count, limit) for label, count in present.items()}
        if max(kept.values()) <= share * sum(kept.values()):
            return kept
    return present


class DistanceDesign:
    """Draws wrong distances for one kind of question: the same comb over the distances that are right in the dataset.

    The circle is their distribution: the right one stands at its own quantile, and the wrong ones a quarter, a half
    and three quarters further on. Whichever of the four is right, the same four are offered, so that none of them is
    likelier; a ladder of steps round the right one would show where the others cannot be.

    Args:
        counts (`Mapping[str, int]`): How often each distance, as in `4.35 m`, is right over the whole dataset.
    """

    def __init__(self, counts: Mapping[str, int]):
        values = np.sort(np.concatenate([np.full(count, _metres(text)) for text, count in counts.items()]))
        self._logs = np.log(values)

    @property
    def count(self) -> int:
        """How many questions there are."""
        return len(self._logs)

    def draw(self, right: str, least_step: float, rng: np.random.Generator) -> list[float] | None:
        """Three wrong distances, or `None` if two of the four would be too near to each other.

        Args:
            right (`str`): The right one.
            least_step (`float`): Ratio of two neighbouring distances, at least.
            rng (`np.random.Generator`): Source of the place among equal ones.
        """
        count, known = len(self._logs), np.log(_metres(right))
        below, upto = np.searchsorted(self._logs, [known - 1e-9, known + 1e-9])
        quantile = rng.uniform(below, max(upto, below + 1)) / count
        others = [self._at((quantile + part / OPTIONS) % 1) for part in range(1, OPTIONS)]
        steps = np.diff(np.sort([known, *others]))
        return [float(np.exp(other)) for other in others] if (steps >= np.log(least_step)).all() else None

    def _at(self, quantile: float) -> float:
        count = len(self._logs)
        return float(np.interp(quantile * count, np.arange(count) + 0.5, self._logs))


def _metres(text: str) -> float:
    return float(text.removesuffix(" m"))

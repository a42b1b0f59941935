"""Whether what is offered is right as often as chance has it: letters, and the texts of answers."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ...modeling.tokens import OPTION_LETTERS
from .rows import Row

_FEW = 5.0  # names expected to be right less often than this are counted together, as the chi-squared test asks for
_SURPRISE = 0.001  # a text that is never right is told from there on: offered 25 times among four options


class Balance(NamedTuple):
    """How evenly names are right.

    Attributes:
        p (`float`): Chi-squared, against every offered name being equally likely in its question.
        worst (`str`): The name farthest from chance.
        rate (`float`): How often that is right where it is offered.
        chance (`float`): How often it should be.
        names (`int`): How many there are.
    """

    p: float
    worst: str
    rate: float
    chance: float
    names: int


def letter_names(row: Row) -> list[str]:
    """The letters of a row's options."""
    return list(OPTION_LETTERS[: len(row.options)])


def option_names(row: Row) -> list[str]:
    """The texts of a row's options."""
    return list(row.options)


def measure_balance(rows: Sequence[Row], names: Callable[[Row], list[str]]) -> Balance | None:
    """Compare how often each name is right with how often it would be by chance, given where it is offered.

    With `p_i = 1 / m` for each of the m names that row i offers, the counts of right answers have the covariance
    `sum_i diag(p_i) - p_i p_i^T`; the squared length of their deviation in its metric is chi-squared distributed. That
    answers differ in how often they are right is no fault where they are offered as much more often.

    Args:
        rows (`Sequence[Row]`): The questions.
        names (`Callable`): The names that a row offers, in the order of its options.

    Returns:
        [`Balance`], or `None` if fewer than two names are offered often enough.
    """
    from scipy.stats import chi2

    offered = [names(row) for row in rows]
    expected: Counter[str] = Counter()
    for row_names in offered:
        for name in row_names:
            expected[name] += 1 / len(row_names)
    places = {name: place for place, name in enumerate(sorted(n for n in expected if expected[n] >= _FEW))}
    size = len(places) + 1  # the last is all the rare ones together
    deviation, covariance, times = np.zeros(size), np.zeros((size, size)), np.zeros(size)
    for row, row_names in zip(rows, offered, strict=True):
        share = np.zeros(size)
        for place, name in enumerate(row_names):
            column = places.get(name, size - 1)
            share[column] += 1 / len(row_names)
            times[column] += 1
            deviation[column] += place == row.right
        deviation -= share
        covariance += np.diag(share) - np.outer(share, share)
    rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
    if len(places) < 2 or not rank:
        return None
    p = float(chi2.sf(deviation @ np.linalg.pinv(covariance, hermitian=True) @ deviation, rank))
    worst = max(places, key=lambda name: abs(deviation[places[name]]) / times[places[name]])
    by_chance = expected[worst] / times[places[worst]]
    rate = by_chance + deviation[places[worst]] / times[places[worst]]
    return Balance(p, worst, float(rate), float(by_chance), len(places))


def never_right(rows: Sequence[Row]) -> list[str]:
    """Texts that are offered so often that chance would have made them right, and never are.

    Returns:
        `list[str]`: Those that chance would leave out less than once in 1,000 datasets, the most offered first.
    """
    luck: Counter[str] = Counter()
    for row in rows:
        for place, text in enumerate(row.options):
            luck[text] += -np.inf if place == row.right else np.log1p(-1 / len(row.options))
    return sorted((text for text in luck if -np.inf < luck[text] < np.log(_SURPRISE)), key=luck.__getitem__)

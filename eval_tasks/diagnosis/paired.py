"""Statistics of paired right and wrong answers: interval, correction for their number, power. Needs numpy alone."""

import math
from collections.abc import Mapping
from functools import lru_cache
from statistics import NormalDist

import numpy as np

_STEPS = 60  # of a bisection; each halves the interval
_FAR = 9.0  # standard deviations beyond which a binomial has nothing that counts


def paired_interval(gained: int, lost: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of the difference of two paired proportions (Tango 1998).

    It has a width also where no answer differs: 0 of `n` leaves up to `z² / (n + z²)` open on either side.

    Args:
        gained (`int`): Questions that only the second way of answering gets right.
        lost (`int`): Questions that only the first gets right.
        n (`int`): Questions.
        confidence (`float`, *optional*, defaults to 0.95): Its coverage.

    Returns:
        `tuple[float, float]`: Lower and upper end of the second proportion minus the first.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    observed = (gained - lost) / n
    lower = _bisect(lambda d: _tango_score(gained, lost, n, d) - z, -1.0, observed)
    upper = _bisect(lambda d: _tango_score(gained, lost, n, d) + z, observed, 1.0)
    return lower, upper


def _tango_score(gained: int, lost: int, n: int, difference: float) -> float:
    """How far the observed difference lies from a supposed one, in its standard errors under that one; falls."""
    a = 2 * n
    b = (2 * n - gained + lost) * difference - gained - lost
    c = -lost * difference * (1 - difference)
    share_lost = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * share_lost + difference * (1 - difference))
    distance = gained - lost - n * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _bisect(falling, low: float, high: float) -> float:
    """Where a falling function crosses zero; the nearer end if it does not."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def correct_by_holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p values for their number (Holm 1979): at most `α` of them below `α` by chance, however they depend."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for place, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def smallest_change(n: int, discordance: float, level: float, power: float = 0.8) -> float | None:
    """The smallest true change of accuracy that the exact test finds with a given probability.

    Args:
        n (`int`): Questions.
        discordance (`float`): Share of the questions that one way of answering gets right and the other wrong. A
            change cannot be larger than that share, so the share grows with it.
        level (`float`): The test's level.
        power (`float`, *optional*, defaults to 0.8): The probability.

    Returns:
        `float` or `None`: Between 0 and 1; `None` if not even a change of every answer would be found.
    """
    if _test_power(n, max(discordance, 1.0), 1.0, level) < power:
        return None
    low, high = 0.0, 1.0
    for _ in range(14):  # to 0.006 of a point
        middle = (low + high) / 2
        found = _test_power(n, max(discordance, middle), middle, level) >= power
        low, high = (low, middle) if found else (middle, high)
    return high


def _test_power(n: int, discordance: float, change: float, level: float) -> float:
    """Probability that the exact test finds a change: over the number of differing answers and their direction."""
    spread = _FAR * math.sqrt(n * discordance * (1 - discordance)) + 1
    first, last = max(0, int(n * discordance - spread)), min(n, math.ceil(n * discordance + spread))
    counts = np.arange(first, last + 1)
    weights = _binomial(n, discordance, counts)
    one_way = min(1.0, (discordance + change) / (2 * discordance))
    total = 0.0
    for count, weight in zip(counts.tolist(), weights.tolist(), strict=True):
        needed = _needed(count, level)
        if weight < 1e-12 or needed is None:
            continue
        found = np.concatenate([np.arange(needed, count + 1), np.arange(0, count - needed + 1)])
        total += weight * float(_binomial(count, one_way, found).sum())
    return total


@lru_cache(maxsize=100_000)
def _needed(count: int, level: float) -> int | None:
    """How many of `count` differing answers must go one way for the exact test; `None` if all are too few."""
    most = np.arange(count, count // 2, -1)
    found = most[2 * np.cumsum(_binomial(count, 0.5, most)) <= level]
    return int(found[-1]) if len(found) else None


def _binomial(n: int, share: float, counts: np.ndarray) -> np.ndarray:
    if share >= 1.0:
        return (counts == n).astype(float)
    if share <= 0.0:
        return (counts == 0).astype(float)
    logs = _log_factorials(n)
    choose = logs[n] - logs[counts] - logs[n - counts]
    return np.exp(choose + counts * math.log(share) + (n - counts) * math.log1p(-share))


@lru_cache(maxsize=4096)
def _log_factorials(n: int) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])

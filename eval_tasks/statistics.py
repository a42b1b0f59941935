"""Intervals and tests for accuracies: Wilson, bootstrap by video, McNemar. Numpy is imported when it is needed."""

import math
from collections.abc import Hashable, Sequence

_Z = 1.959963984540054  # the normal quantile of a two-sided 95 % interval
_RESAMPLES = 10_000
_RESAMPLES_AT_ONCE = 500
_SEED = 0  # a report of the same answers gives the same digits

Interval = tuple[float, float]


def wilson_interval(correct: int, n: int) -> Interval:
    """The 95 % score interval of a proportion (Wilson 1927), which stays inside [0, 1] and honest near its ends."""
    p, z2 = correct / n, _Z * _Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * (p * (1 - p) / n + z2 / (4 * n * n)) ** 0.5
    # Rounding must not leave 0 or 1 outside the interval of a score of exactly 0 or 1.
    return (0.0 if correct == 0 else centre - half), (1.0 if correct == n else centre + half)


def shares_videos(videos: Sequence[Hashable] | None) -> bool:
    """Whether some questions are about the same video, so that their answers are not independent.

    If all are about one, an interval can only speak of this video, and they count as independent.
    """
    return videos is not None and 1 < len(set(videos)) < len(videos)


def accuracy_interval(correct: Sequence[bool], videos: Sequence[Hashable] | None = None) -> Interval:
    """The 95 % interval of an accuracy: Wilson, or by bootstrap over videos where questions share them.

    Args:
        correct (`Sequence[bool]`): One entry a question.
        videos (`Sequence[Hashable]`, *optional*): The video of each question.
    """
    if videos is None or not shares_videos(videos):
        return wilson_interval(sum(correct), len(correct))
    if len(set(correct)) == 1:
        # All resamples are alike, so the bootstrap would claim certainty: count each video once.
        return wilson_interval(correct[0] * len(set(videos)), len(set(videos)))
    return _bootstrap([float(right) for right in correct], [0] * len(correct), videos)


def macro_interval(
    correct: Sequence[bool], groups: Sequence[Hashable], videos: Sequence[Hashable] | None = None
) -> Interval:
    """The 95 % bootstrap interval of the mean of the groups' accuracies, over videos where questions share them.

    Args:
        correct (`Sequence[bool]`): One entry a question.
        groups (`Sequence[Hashable]`): The group of each question, such as its type.
        videos (`Sequence[Hashable]`, *optional*): The video of each question.
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    if len(names) == 1 or len(set(correct)) == 1:
        return accuracy_interval(correct, videos)
    units = videos if videos is not None and shares_videos(videos) else range(len(correct))
    return _bootstrap([float(right) for right in correct], [names[group] for group in groups], units)


def difference_interval(
    first: Sequence[bool], second: Sequence[bool], videos: Sequence[Hashable] | None = None
) -> Interval:
    """The 95 % interval of how much more accurate the first of two runs on the same questions is (paired bootstrap).

    Args:
        first, second (`Sequence[bool]`): Whether each question was answered correctly, in the same order.
        videos (`Sequence[Hashable]`, *optional*): The video of each question; resampled where questions share them.
    """
    differences = [float(a) - float(b) for a, b in zip(first, second, strict=True)]
    units = videos if videos is not None and shares_videos(videos) else range(len(differences))
    if not any(differences):
        # No question tells the runs apart, and a bootstrap would claim that none ever will. The largest share of such
        # questions that this number of units could have missed bounds the difference.
        bound = wilson_interval(0, len(set(units)))[1]
        return -bound, bound
    return _bootstrap(differences, [0] * len(differences), units)


def mcnemar_p(first: Sequence[bool], second: Sequence[bool]) -> float:
    """The two-sided exact p-value of McNemar's test (1947): are the questions that only one run gets right balanced?

    It treats questions as independent.

    Args:
        first, second (`Sequence[bool]`): Whether each question was answered correctly, in the same order.
    """
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    n, fewer = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)


def _bootstrap(values: Sequence[float], groups: Sequence[int], units: Sequence[Hashable]) -> Interval:
    """The 2.5 and 97.5 % quantiles of the mean of the groups' means, over resamples of the units with replacement."""
    import numpy as np

    rows = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    n_units, n_groups = len(rows), max(groups) + 1
    sums, counts = np.zeros((n_units, n_groups)), np.zeros((n_units, n_groups))
    places = [rows[unit] for unit in units], list(groups)
    np.add.at(sums, places, values)
    np.add.at(counts, places, 1)
    random = np.random.default_rng(_SEED)
    means = []
    for start in range(0, _RESAMPLES, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, _RESAMPLES - start)
        drawn = random.integers(n_units, size=(size, n_units)) + n_units * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * n_units).reshape(size, n_units).astype(float)
        seen = times @ counts
        shares = np.divide(times @ sums, seen, out=np.full_like(seen, np.nan), where=seen > 0)
        means.append(np.nanmean(shares, axis=1))  # a group may be absent from a resample of few videos
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)

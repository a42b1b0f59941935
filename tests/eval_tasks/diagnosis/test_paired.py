"""Interval, correction and power of paired comparisons, against published values and against simulation."""

import numpy as np
import pytest

from fourdthinker.eval_tasks.diagnosis.paired import correct_by_holm, paired_interval, smallest_change
from fourdthinker.eval_tasks.statistics import mcnemar_p


@pytest.mark.parametrize(("gained", "lost", "n"), [(1, 0, 44), (9, 2, 32), (14, 3, 54)])
def test_the_ends_are_where_the_score_test_turns(gained, lost, n):
    """At an end the observed difference is 1.96 standard errors away, these by maximising the likelihood on a grid."""
    for end in paired_interval(gained, lost, n):
        share_lost = np.linspace(max(0.0, -end), (1 - end) / 2, 200_001)[1:-1]
        share_gained = share_lost + end
        likelihood = gained * np.log(share_gained) + lost * np.log(share_lost)
        likelihood += (n - gained - lost) * np.log(1 - share_gained - share_lost)
        best = share_lost[likelihood.argmax()]
        error = np.sqrt((2 * best + end - end**2) / n)
        assert abs((gained - lost) / n - end) / error == pytest.approx(1.959964, abs=0.002)


def test_equal_answers_leave_an_effect_open():
    for n in (10, 100, 1000):
        bound = 1.959964**2 / (n + 1.959964**2)
        assert paired_interval(0, 0, n) == pytest.approx((-bound, bound), abs=1e-6)


@pytest.mark.parametrize(("gained", "lost", "n"), [(0, 10, 10), (10, 0, 10), (3, 8, 40), (200, 100, 1000)])
def test_the_interval_holds_the_difference_and_turns_with_the_sides(gained, lost, n):
    low, high = paired_interval(gained, lost, n)
    assert low <= (gained - lost) / n <= high and -1 <= low and high <= 1
    assert paired_interval(lost, gained, n) == pytest.approx((-high, -low), abs=1e-9)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    gains, losses = random.multinomial(60, (0.1, 0.25, 0.65), size=1000).T[:2]
    known = {pair: paired_interval(*pair, 60) for pair in set(zip(gains.tolist(), losses.tolist(), strict=True))}
    covered = [known[pair][0] <= -0.15 <= known[pair][1] for pair in zip(gains.tolist(), losses.tolist(), strict=True)]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_holm():
    """The example of R's `p.adjust`: sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling."""
    adjusted = correct_by_holm({"d": 0.04, "a": 0.01, "c": 0.03, "b": 0.02})
    assert adjusted == pytest.approx({"d": 0.06, "a": 0.04, "c": 0.06, "b": 0.06})
    assert correct_by_holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize(("n", "discordance"), [(60, 0.0), (60, 0.4), (300, 0.1)])
def test_the_smallest_change_is_found_four_times_in_five(n, discordance):
    """Answers simulated with that change: the exact test finds it in 80 % of 2,000 draws."""
    level = 0.05 / 11
    change = smallest_change(n, discordance, level)
    share = max(discordance, change)
    random = np.random.default_rng(1)
    lost, gained = (share + change) / 2, (share - change) / 2
    draws = random.multinomial(n, (lost, gained, 1 - share), size=2000)[:, :2].tolist()
    found = {}
    for pair in map(tuple, draws):
        if pair not in found:
            first, second = [True] * pair[0] + [False] * pair[1], [False] * pair[0] + [True] * pair[1]
            found[pair] = mcnemar_p(first, second) <= level
    assert np.mean([found[tuple(pair)] for pair in draws]) == pytest.approx(0.8, abs=0.03)


def test_few_questions_show_large_changes_or_none():
    assert smallest_change(8, 0.0, 0.05 / 11) is None
    assert smallest_change(10, 0.0, 0.05 / 11) > 0.9
    changes = [smallest_change(n, 0.2, 0.005) for n in (50, 100, 400, 1600)]
    assert changes == sorted(changes, reverse=True) and changes[-1] < 0.05

"""Intervals and tests against published values, exact sums, and coverage in simulations."""

import random

import pytest

from fourdthinker.eval_tasks.statistics import (
    accuracy_interval,
    difference_interval,
    macro_interval,
    mcnemar_p,
    wilson_interval,
)


@pytest.mark.parametrize(
    "correct,n,low,high",
    # R. G. Newcombe, Statistics in Medicine 17 (1998), Table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval(correct, n, low, high):
    assert wilson_interval(n - correct, n) == pytest.approx((1 - high, 1 - low), abs=5e-5)
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)


def test_rounding_leaves_no_perfect_score_outside_its_interval():
    for n in range(1, 300):
        assert wilson_interval(0, n)[0] == 0.0 and wilson_interval(n, n)[1] == 1.0, n


def test_an_interval_without_shared_videos_is_wilson():
    right = [True] * 7 + [False] * 3
    assert accuracy_interval(right) == accuracy_interval(right, list(range(10))) == wilson_interval(7, 10)


def test_of_one_video_the_interval_speaks_of_its_questions():
    assert accuracy_interval([True, True, False], ["only"] * 3) == wilson_interval(2, 3)


def test_a_perfect_score_on_few_videos_is_not_certain():
    assert accuracy_interval([True] * 40, [n // 10 for n in range(40)]) == wilson_interval(4, 4)


def test_the_macro_interval_weighs_types_alike():
    right = [True, False] * 200 + [True] * 2 + [False] * 3
    groups = ["many"] * 400 + ["few"] * 5
    low, high = macro_interval(right, groups)
    assert low < 0.45 < high
    # Five questions make half of it: much wider than 405 questions alike.
    assert high - low > 4 * (accuracy_interval(right)[1] - accuracy_interval(right)[0])


# The doubled binomial tail, written out.
@pytest.mark.parametrize(
    "only_first,only_second,p",
    [(0, 0, 1.0), (1, 0, 1.0), (0, 5, 0.0625), (5, 0, 0.0625), (1, 9, 22 / 1024), (3, 3, 1.0), (2, 8, 112 / 1024)],
)
def test_mcnemar_is_exact(only_first, only_second, p):
    first = [True] * only_first + [False] * only_second + [True, False] * 10
    second = [False] * only_first + [True] * only_second + [True, False] * 10
    assert mcnemar_p(first, second) == pytest.approx(p)


def test_mcnemar_of_many_questions():
    # A. Agresti, Categorical Data Analysis, 10.1.1: 86 and 150 of 1,600 voters changed their minds.
    assert mcnemar_p([True] * 86 + [False] * 150, [False] * 86 + [True] * 150) == pytest.approx(3.7e-5, rel=0.02)


def test_the_paired_interval_is_that_of_the_differences():
    # 60 questions only the first gets right, 20 only the second, of 400: difference 0.1, standard error by formula.
    first, second = [True] * 60 + [False] * 340, [False] * 60 + [True] * 20 + [False] * 320
    low, high = difference_interval(first, second)
    error = ((0.2 - 0.1**2) / 400) ** 0.5
    assert (low, high) == pytest.approx((0.1 - 1.96 * error, 0.1 + 1.96 * error), abs=0.003)


def test_the_paired_interval_by_video():
    first, second = [True] * 60 + [False] * 340, [False] * 60 + [True] * 20 + [False] * 320
    alone, shared = (
        difference_interval(first, second),
        difference_interval(first, second, [n // 4 for n in range(400)]),
    )
    assert shared[1] - shared[0] == pytest.approx(2 * (alone[1] - alone[0]), rel=0.07)


def test_two_equal_runs_are_not_shown_to_be_equal_for_ever():
    low, high = difference_interval([True, False] * 10, [True, False] * 10)
    assert low == -high and 0.1 < high < 0.2


def test_intervals_are_the_same_every_time():
    right = [True] * 30 + [False] * 30
    videos = [n // 3 for n in range(60)]
    assert accuracy_interval(right, videos) == accuracy_interval(right, videos)


def test_intervals_by_video_hold_the_truth_as_often_as_they_claim():
    draws = random.Random(1)
    held = {"by video": 0, "wilson": 0}
    videos = [n // 5 for n in range(300)]
    for _ in range(60):
        # Each video has a difficulty of its own, so its five questions go together.
        difficulty = [draws.betavariate(0.5, 0.5) for _ in range(60)]
        right = [draws.random() < difficulty[video] for video in videos]
        for name, (low, high) in (
            ("by video", accuracy_interval(right, videos)),
            ("wilson", wilson_interval(sum(right), 300)),
        ):
            held[name] += low <= 0.5 <= high
    assert held["by video"] >= 53 and held["by video"] > held["wilson"] + 5

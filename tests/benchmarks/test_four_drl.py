"""The interval of a gain over questions and seeds."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def gain(monkeypatch):
    """The function of the script, which is no part of the package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return import_module("four_drl").gain


def test_worked_by_hand(gain):
    before = [0, 0, 1, 1]
    after = [[1, 0, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1]]
    # Gains of the seeds are 1/4, 0 and 1/2; those of the questions 1, 1/3, 0 and -1/3, of variance 35/108.
    measured = gain(before, after)
    assert measured["mean"] == pytest.approx(0.25)
    assert measured["seeds"] == pytest.approx(4.303 * 0.25 / 3**0.5)
    assert measured["questions"] == pytest.approx(1.959964 * (35 / 108 / 4) ** 0.5, rel=1e-6)
    assert measured["both"] ** 2 == pytest.approx(measured["questions"] ** 2 + measured["seeds"] ** 2)


def test_questions_alone_vary_where_all_seeds_answer_the_same(gain):
    measured = gain([0, 1, 0, 1], [[1, 1, 0, 1]] * 3)
    assert measured["seeds"] == 0
    assert measured["both"] == measured["questions"] > 0


@pytest.mark.medium
def test_covers_the_true_gain_where_seeds_and_questions_vary(gain):
    rng = np.random.default_rng(0)
    share_before, share_after, draws, covered = 0.5, 0.56, 400, 0
    for _ in range(draws):
        question = rng.normal(0, 0.15, 250)
        luck = rng.normal(0, 0.03, (3, 1))  # how well a training went
        before = rng.random(250) < np.clip(share_before + question, 0, 1)
        after = rng.random((3, 250)) < np.clip(share_after + question + luck, 0, 1)
        measured = gain(before.astype(int).tolist(), after.astype(int).tolist())
        covered += abs(measured["mean"] - (share_after - share_before)) <= measured["both"]
    assert covered / draws >= 0.95

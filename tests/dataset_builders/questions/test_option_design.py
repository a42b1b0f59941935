"""Options alone tell nothing, however unevenly the answers of a dataset are spread."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from fourdthinker.dataset_builders.questions.option_design import DistanceDesign, OptionDesign, limit_shares

PAIRS = [("Pan Left", "Pan Right"), ("Tilt Up", "Tilt Down"), ("Dolly In", "Dolly Out")]
UNEVEN = {"Pan Left": 25, "Pan Right": 20, "Tilt Up": 5, "Tilt Down": 3, "Dolly In": 90, "Dolly Out": 10, "Stay": 40}


def draw_sets(counts, times=60):
    """For each set of options, how often each of them was the right one."""
    design, rng = OptionDesign(counts, PAIRS), np.random.default_rng(0)
    sets: dict[frozenset, Counter] = {}
    for right, count in counts.items():
        for _ in range(times * count):
            options = [right, *design.draw(right, rng)]
            assert len(set(options)) == 4
            sets.setdefault(frozenset(options), Counter())[right] += 1
    return sets


@pytest.mark.medium
def test_the_best_guess_from_the_options_alone_is_right_a_quarter_of_the_time():
    kept = limit_shares(UNEVEN)
    sets = draw_sets(kept)
    right = sum(max(counts.values()) for counts in sets.values())
    assert right / sum(counts.total() for counts in sets.values()) < 0.27
    assert max(kept.values()) <= sum(kept.values()) / 4


@pytest.mark.medium
def test_without_the_limit_the_most_frequent_answer_would_give_itself_away():
    sets = draw_sets(UNEVEN)
    right = sum(max(counts.values()) for counts in sets.values())
    assert right / sum(counts.total() for counts in sets.values()) > 0.3


def test_evenly_spread_answers_stand_beside_their_opposites():
    even = dict.fromkeys([label for pair in PAIRS for label in pair], 10)
    design, rng = OptionDesign(even, PAIRS), np.random.default_rng(0)
    together = sum("Pan Right" in design.draw("Pan Left", rng) for _ in range(500))
    assert together > 450


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ({"a": 30, "b": 5}, {"a": 30, "b": 5}),  # too few rows
        ({"a": 300}, {"a": 300}),  # nothing to balance with
        ({"a": 300, "b": 100, "c": 100}, {"a": 114, "b": 100, "c": 100}),
        ({"a": 10, "b": 10, "c": 10, "d": 10, "e": 90}, {"a": 10, "b": 10, "c": 10, "d": 10, "e": 13}),
    ],
)
def test_no_answer_is_much_more_frequent_than_chance(counts, kept):
    assert limit_shares(counts) == kept


def test_few_answers_are_all_offered():
    design = OptionDesign({"a": 3, "b": 1, "c": 2})
    assert design.draw("b", np.random.default_rng(0)) == ["a", "c"]


def test_distances_on_offer_are_each_right_equally_often():
    """Distances that start at half a metre: a ladder round the right one would offer shorter ones, never right."""
    rng = np.random.default_rng(0)
    answers = [f"{value:.2f} m" for value in np.exp(rng.uniform(np.log(0.5), np.log(20), 800))]
    design = DistanceDesign(Counter(answers))
    places: Counter[int] = Counter()
    right_below_two = offered_below_two = 0
    for answer in answers:
        right, drawn = float(answer[:-2]), design.draw(answer, 1.2, rng)
        values = sorted([right, *drawn])
        assert 0.49 <= values[0] and values[-1] <= 20.1
        assert all(high >= 1.2 * low for low, high in pairwise(values))
        places[values.index(right)] += 1
        right_below_two += right < 2
        offered_below_two += sum(value < 2 for value in values)
    assert all(abs(places[place] - 200) < 50 for place in range(4)), places
    assert right_below_two / offered_below_two == pytest.approx(0.25, abs=0.02)


def test_distances_that_are_too_alike_are_not_asked():
    design = DistanceDesign({f"{value:.2f} m": 1 for value in np.linspace(4, 5, 60)})
    assert design.count == 60 and design.draw("4.00 m", 1.2, np.random.default_rng(0)) is None

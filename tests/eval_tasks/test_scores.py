"""Accuracies, their intervals, and the table that prints them."""

import pytest

from fourdthinker.eval_tasks.scores import format_scores, is_correct, score, wilson_interval
from fourdthinker.modeling.errors import InputError


def row(task="camera_motion", answer="B", response="<answer>B</answer>", options=("w", "x", "y", "z")):
    return {"id": "r1", "task": task, "answer": answer, "options": list(options), "response": response}


def test_every_row_is_in_the_denominator():
    rows = [
        row(),
        row(response="<answer>A</answer>"),
        row(response="no idea"),
        row(response=None),
        row(task="object_motion", options=("yes", "no")),
    ]
    scores = score(rows)
    assert (scores["n"], scores["correct"], scores["parse_failures"], scores["missing"]) == (5, 2, 1, 1)
    assert scores["accuracy"] == pytest.approx(0.4)
    assert scores["chance"] == pytest.approx((4 * 0.25 + 0.5) / 5)
    camera, moved = scores["tasks"]["camera_motion"], scores["tasks"]["object_motion"]
    assert (camera["n"], camera["correct"], camera["missing"], camera["parse_failures"]) == (4, 1, 1, 1)
    assert (moved["n"], moved["correct"], moved["accuracy"], moved["chance"]) == (1, 1, 1.0, 0.5)


def test_strict_policy_reads_less():
    rows = [row(response="The answer is B")]
    assert score(rows)["correct"] == 1
    assert score(rows, policy="strict")["correct"] == 0
    assert score(rows, policy="strict")["parse_failures"] == 1
    assert is_correct(rows[0]) and not is_correct(rows[0], "strict")


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


@pytest.mark.parametrize(
    "rows,message",
    [
        ([], "no rows"),
        ([row(answer="E")], "row r1: answer 'E' is not the letter of the 4 options"),
        ([row(options=["one"])], "row r1: options has 1 entry: give 2 to 10"),
        ([row(options=[])], "row r1: options is empty"),
        ([row(options=[*"abcdefghijk"])], "row r1: options has 11 entries: give 2 to 10"),
        ([{**row(), "options": "['a', 'b']"}], "row r1: options is .* no list"),
    ],
)
def test_rows_that_cannot_be_scored_are_rejected(rows, message):
    with pytest.raises(InputError, match=message):
        score(rows)


def test_table_shows_chance_size_and_interval_beside_each_accuracy():
    text = format_scores(score([row()] * 3 + [row(task="object_motion", response=None)]), title="fourd_world")
    lines = text.splitlines()
    assert lines[0] == "fourd_world"
    camera = next(line for line in lines if line.startswith("camera_motion"))
    assert camera.split() == "camera_motion 3 3 100.0 % 43.9 to 100.0 % 25.0 % 0 0".split()
    total = next(line for line in lines if line.startswith("all"))
    assert total.split()[1:5] == ["4", "3", "75.0", "%"]
    assert len({len(line) for line in lines[1:6] if line and not line.startswith("answers")}) == 1

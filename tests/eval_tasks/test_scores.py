"""Accuracies, their intervals, and the table that prints them."""

import pytest

from fourdthinker.eval_tasks.scores import format_scores, is_correct, judge, score
from fourdthinker.eval_tasks.unanswered import MISSING_VIDEO, UNREADABLE_VIDEO, response_for
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


def test_missing_unreadable_and_unparsed_rows_are_counted_apart():
    responses = ["<answer>B</answer>", MISSING_VIDEO, UNREADABLE_VIDEO, None, "no idea", UNREADABLE_VIDEO]
    scores = score([row(response=response) for response in responses])
    counts = {name: scores[name] for name in ("n", "correct", "missing", "unreadable", "parse_failures")}
    assert counts == {"n": 6, "correct": 1, "missing": 2, "unreadable": 2, "parse_failures": 1}


@pytest.mark.parametrize("policy", ["strict", "tolerant"])
@pytest.mark.parametrize("response", [MISSING_VIDEO, UNREADABLE_VIDEO])
def test_a_row_that_was_not_asked_names_no_option(policy, response):
    verdict = judge(row(options=("video missing", "video unreadable", "not asked", "a"), response=response), policy)
    assert verdict.letter is None and not verdict.correct and not verdict.unparsed


def test_a_file_that_is_gone_is_missing_and_any_other_failure_is_unreadable(tmp_path):
    def read():
        try:
            (tmp_path / "gone.mp4").read_bytes()
        except OSError as error:
            raise InputError("cannot be opened") from error

    with pytest.raises(InputError) as caught:
        read()
    assert response_for(caught.value) == MISSING_VIDEO
    assert response_for(InputError("no frame can be decoded")) == UNREADABLE_VIDEO


def test_skip_missing_changes_the_denominator_and_says_so():
    rows = [row(), row(response="no idea"), row(response=MISSING_VIDEO), row(response=UNREADABLE_VIDEO)]
    scores = score(rows, skip_missing=True)
    assert (scores["n"], scores["accuracy"], scores["skip_missing"]) == (2, 0.5, True)
    assert (scores["missing"], scores["unreadable"], scores["parse_failures"]) == (1, 1, 1)
    assert "2 missing or unreadable ones are left out (--skip-missing)" in format_scores(scores)
    assert "left out" not in format_scores(score(rows))
    with pytest.raises(InputError, match="leaves no row to score"):
        score(rows[2:], skip_missing=True)


def test_equal_options_are_right_alike():
    twice = ("left", "right", "Left.", "up")
    assert is_correct(row(answer="A", response="<answer>C</answer>", options=twice))
    assert not is_correct(row(answer="A", response="<answer>B</answer>", options=twice))
    assert judge(row(answer="A", options=twice)).chance == 0.5


def test_macro_is_the_mean_of_the_tasks():
    rows = [row()] * 9 + [row(response="<answer>A</answer>")] + [row(task="few", response="<answer>A</answer>")] * 2
    scores = score(rows)
    assert scores["accuracy"] == pytest.approx(9 / 12)
    assert scores["macro"] == pytest.approx(0.45)
    low, high = scores["macro_interval"]
    assert low < 0.45 < high
    line = next(line for line in format_scores(scores).splitlines() if line.startswith("mean of tasks"))
    assert "45.0 %" in line


def test_questions_about_one_video_widen_the_interval():
    rows = [
        {**row(response=f"<answer>{'B' if video % 2 else 'A'}</answer>"), "video": f"{video}.mp4"}
        for video in range(100)
        for _ in range(4)
    ]
    shared, alone = score(rows), score([{**row, "video": None} for row in rows])
    assert (shared["videos"], alone["videos"]) == (100, None)
    assert (shared["interval_method"], alone["interval_method"]) == ("bootstrap by video", "wilson")
    widths = [high - low for low, high in (shared["interval"], alone["interval"])]
    # Four answers that are always alike are worth one: the interval is twice as wide.
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.05)
    assert "bootstrap over videos" in format_scores(shared)


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
    assert camera.split() == "camera_motion 3 3 100.0 % 43.9 to 100.0 % 25.0 % 0 0 0".split()
    total = next(line for line in lines if line.startswith("all"))
    assert total.split()[1:5] == ["4", "3", "75.0", "%"]
    assert len({len(line) for line in lines[1:6] if line and not line.startswith("answers")}) == 1

"""Reports: both readings, pairs of runs, what the video is worth, and the picture."""

import json

import pytest
from PIL import Image

from fourdthinker.eval_tasks.report.build import (
    build_report,
    compare_runs,
    data_hash,
    library_versions,
    question_rows,
    report_controls,
)
from fourdthinker.eval_tasks.report.picture import check_picture, draw_reports
from fourdthinker.eval_tasks.report.table import describe_worth, format_difference, format_report
from fourdthinker.eval_tasks.unanswered import MISSING_VIDEO
from fourdthinker.modeling.errors import InputError


def make_row(number: int, response: str | None, task: str = "camera", **more) -> dict:
    options = ["left", "right", "up", "down"]
    row = {"id": f"q{number}", "task": task, "question": f"Which way, {number}?", "options": options, "answer": "A"}
    return {**row, "video_id": str(number), "response": response, **more}


def run(right: int, wrong: int, unread: int = 0, task: str = "camera") -> list[dict]:
    responses = ["<answer>A</answer>"] * right + ["<answer>B</answer>"] * wrong + ["no idea"] * unread
    return [make_row(number, response, task) for number, response in enumerate(responses)]


def test_readings_that_agree_differ_by_a_plain_zero():
    assert "; +0.0 points" in format_report(build_report([make_row(0, "<answer>B</answer>"), make_row(1, "no idea")]))


def test_both_readings_stand_side_by_side():
    rows = [
        make_row(0, "A"),
        make_row(1, "I am sure that the answer is (A)."),
        make_row(2, "B"),
        make_row(3, "no idea"),
    ]
    rows = [
        {**row, "response": f"<answer>{row['response']}</answer>"} if number != 1 else row
        for number, row in enumerate(rows)
    ]
    report = build_report(rows, rule="answer_block")
    assert (report["correct"], report["strict"]["correct"], report["readings_differ"]) == (2, 1, 1)
    assert "tasks" in report and "tasks" not in report["strict"]
    text = format_report(report)
    assert "another verdict on 1 of 4 rows" in text and "-25.0 points" in text


def test_summaries_of_a_benchmark_see_every_judged_row():
    rows = [
        make_row(number, "<answer>A</answer>" if number < 3 else MISSING_VIDEO, group=number // 2)
        for number in range(4)
    ]

    def share(judged):
        return sum(row["score"] for row in judged if row["group"] == 1) / len(judged)

    assert build_report(rows, summaries={"second_group": share})["summaries"] == {"second_group": 0.25}
    assert "second_group: 25.0 %" in format_report(build_report(rows, summaries={"second_group": share}))
    skipped = build_report(rows, summaries={"second_group": share}, skip_missing=True)
    assert skipped["summaries"]["second_group"] == pytest.approx(1 / 3)


def test_runs_are_compared_question_by_question():
    first, second = run(60, 40), run(40, 60)
    second = [*second[::-1]]  # another order of rows is no other run
    compared = compare_runs(first, second)
    assert (compared["n"], compared["only_first"], compared["only_second"]) == (100, 20, 0)
    assert compared["accuracies"] == [0.6, 0.4] and compared["difference"] == pytest.approx(0.2)
    low, high = compared["interval"]
    assert 0.11 < low < 0.2 < high < 0.29
    assert compared["p"] == pytest.approx(2 / 2**20)
    line = format_difference(compared, "new", "old")
    assert line.startswith("new minus old: +20.0 points (95 % +") and "McNemar p = 1.9e-06" in line


@pytest.mark.parametrize("second", [run(3, 2)[:4], [*run(3, 1), make_row(9, "A")], [*run(3, 1), make_row(0, "A")]])
def test_runs_on_other_questions_are_not_compared(second):
    with pytest.raises(InputError, match="cannot be paired"):
        compare_runs(run(3, 2), second)


def test_skipped_rows_are_skipped_in_pairs():
    first, second = run(4, 0), run(4, 0)
    first[0]["response"], second[1]["response"] = MISSING_VIDEO, None
    assert compare_runs(first, second)["n"] == 4
    skipped = compare_runs(first, second, skip_missing=True)
    assert (skipped["n"], skipped["difference"]) == (2, 0.0)


def test_a_report_says_what_the_video_is_worth():
    own = run(150, 50)
    report = build_report(own)
    assert describe_worth(report).startswith("No blind control was run")
    report["controls"] = report_controls(own, {"video none": run(50, 150), "video first": run(149, 51)})
    sentence = describe_worth(report)
    assert sentence.startswith("The video is worth +50.0 points (95 % +4") and "25.0 % without it." in sentence
    assert "do not show" not in sentence
    lines = format_report(report).splitlines()
    still = next(line for line in lines if line.startswith("video first"))
    assert "74.5 %" in still and "+0.5" in still
    json.dumps(report)


def test_a_video_that_may_be_worth_nothing_is_called_so():
    own = run(52, 48)
    report = {**build_report(own), "controls": report_controls(own, {"video none": run(50, 50)})}
    assert "The questions do not show that it is worth anything." in describe_worth(report)


def test_blind_answers_that_name_no_option_are_not_called_the_worth_of_the_video():
    own = run(60, 40)
    silent = [{**row, "response": "I cannot see a video." if number % 5 else "A"} for number, row in enumerate(own)]
    report = {**build_report(own), "controls": report_controls(own, {"video none": silent})}
    assert "80.0 % of the answers without it name no option" in describe_worth(report)
    report["controls"] = report_controls(own, {"video none": run(30, 70)})
    assert "name no option" not in describe_worth(report)


def test_marks_of_scores_that_are_not_comparable():
    rows = [*run(2, 1), make_row(9, None)]
    report = build_report(rows, skip_missing=True)
    report |= {"ask_again": {"times": 10, "rows": 7}, "input": {"video": "none", "options": "shuffled", "seed": 3}}
    text = format_report(report)
    for words in ("--skip-missing", "7 rows without an answer were asked again, up to 10 times", "--video none"):
        assert words in text
    assert "--options shuffled --seed 3" in text
    assert "controlled" not in format_report({**build_report(rows), "input": {"video": "own", "options": "own"}})


def test_the_hash_of_the_data_is_that_of_the_questions():
    rows = run(2, 2)
    same = [{**row, "response": "another", "facts": "{}"} for row in rows]
    assert data_hash(rows) == data_hash(same)
    moved = [{**row, "video_id": None, "video": f"/there/{row['id']}.mp4"} for row in rows]
    assert data_hash(moved) == data_hash([{**row, "video": row["video"].replace("/there", "/here")} for row in moved])
    for change in ({"answer": "B"}, {"question": "When?"}, {"options": ["a", "b", "c", "d"]}, {"video_id": "x"}):
        assert data_hash([{**rows[0], **change}, *rows[1:]]) != data_hash(rows), change


def test_questions_about_the_same_frames_share_a_video():
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    rows = [{"id": str(n), "frames": [frame, frame], "timestamps": [0, 1]} for n, frame in enumerate((red, blue, red))]
    first, second, third = question_rows(rows)
    assert first["video_id"] == third["video_id"] != second["video_id"]
    assert "frames" not in first and isinstance(first["video_id"], str)


def test_versions_name_what_scores_depend_on():
    assert {"fourdthinker", "torch", "transformers"} <= library_versions().keys()


@pytest.fixture
def reports():
    own = [*run(30, 20, task="camera_motion"), *(dict(row, id=f"o{row['id']}") for row in run(20, 30, task="object"))]
    blind = [{**row, "response": "<answer>B</answer>"} for row in own]
    report = {**build_report(own), "controls": report_controls(own, {"video none": blind})}
    return {
        "fourd_world": {"a model": report, "a_$long$_name/" * 12: build_report(blind)},
        "other": {"a model": report},
    }


@pytest.mark.medium
@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_pictures_are_drawn(tmp_path, reports, suffix):
    path = tmp_path / f"scores{suffix}"
    draw_reports(path, reports)
    content = path.read_bytes()
    assert content[:5] in (b"\x89PNG\r", b"%PDF-", b"<?xml") and len(content) > 5000
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_question_that_was_not_asked_does_not_count_for_the_blind_run_either():
    row = {"task": "t", "options": ["left", "right"], "answer": "A"}
    own = [{**row, "id": "asked", "response": "A"}, {**row, "id": "gone", "response": None}]
    blind = [{**row, "id": "gone", "response": "A"}, {**row, "id": "asked", "response": "B"}]
    control = report_controls(own, {"video none": blind})["video none"]
    assert (control["accuracy"], control["missing"], control["own_minus_control"]["only_second"]) == (0.0, 1, 0)


@pytest.mark.medium
def test_a_picture_shows_bars_chance_and_the_blind_model(tmp_path, reports):
    path = tmp_path / "scores.svg"
    draw_reports(path, reports)
    drawn = path.read_text()
    # The blind line is drawn with its own colour, chance as dots; without a control there is none.
    assert "#d0021b" in drawn and "#222222" in drawn
    del reports["fourd_world"]["a model"]["controls"], reports["other"]
    draw_reports(path, reports)
    assert "#d0021b" not in path.read_text()


def test_a_name_that_is_no_picture_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"scores.gif is no picture: give a name that ends in .png, .pdf, .svg"):
        check_picture(tmp_path / "scores.gif")

"""`fourdthinker score`: from files of answers to numbers, without a model."""

import json
import re

import pytest

from fourdthinker.cli.main import main

OPTIONS = ["left", "right", "up", "down"]


@pytest.fixture
def questions(tmp_path):
    """Questions as in an own file of rows, each about frames that nothing here opens."""
    path = tmp_path / "questions.jsonl"
    rows = [
        {
            "id": f"q{number}",
            "task": "camera" if number % 2 else "object",
            "question": f"Which way, {number}?",
            "options": OPTIONS,
            "answer": "ABCD"[number % 4],
            "frames": [f"{number}.png"],
            "timestamps": [0.0],
        }
        for number in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(b"no image, and never looked at")
    return path


def write_answers(path, letters):
    path.write_text(
        "".join(json.dumps({"id": f"q{n}", "response": letter}) + "\n" for n, letter in enumerate(letters))
    )
    return str(path)


def key(share: float) -> list[str]:
    """Letters of which a share is right: the first ones of each ten."""
    return ["ABCD"[(number + (number % 10 >= 10 * share)) % 4] for number in range(40)]


def all_row(printed: str) -> list[str]:
    return re.search(r"^all +(.*)$", printed, re.MULTILINE)[1].split()


def test_answers_are_scored_compared_and_written(tmp_path, questions, capsys):
    new, old, blind = (
        write_answers(tmp_path / name, key(share)) for name, share in (("new", 0.9), ("old", 0.5), ("blind", 0.3))
    )
    output, picture = tmp_path / "report.json", tmp_path / "report.png"
    places = ["--output", str(output), "--picture", str(picture)]
    assert main(["score", new, "--dataset", str(questions), "--against", old, "--blind", blind, *places]) == 0
    printed = capsys.readouterr().out
    assert all_row(printed)[:4] == ["40", "36", "90.0", "%"]
    assert "The video is worth +60.0 points" in printed
    assert f"{new} minus {old}: +40.0 points" in printed
    report = json.loads(output.read_text())
    scores = report["tasks"][str(questions)]
    assert scores["accuracy"] == 0.9 and scores["tasks"].keys() == {"camera", "object"}
    assert scores["controls"]["video none"]["accuracy"] == 0.3
    assert scores["against"][old]["only_first"] == 16
    assert len(scores["data"]["sha256"]) == 64 and report["versions"]["transformers"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_questions_without_an_answer_are_missing(tmp_path, questions, capsys):
    answers = write_answers(tmp_path / "answers.jsonl", key(1.0)[:30])
    assert main(["score", answers, "--dataset", str(questions)]) == 0
    out, err = capsys.readouterr()
    assert all_row(out)[:3] == ["40", "30", "75.0"] and all_row(out)[-2:] == ["10", "0"]
    assert (
        "10 of 40 questions have no answer there and count as missing; if its run was limited, give --limit 30" in err
    )
    assert main(["score", answers, "--dataset", str(questions), "--skip-missing"]) == 0
    out = capsys.readouterr().out
    assert all_row(out)[:3] == ["30", "30", "100.0"] and "--skip-missing" in out
    assert main(["score", answers, "--dataset", str(questions), "--limit", "30"]) == 0
    assert all_row(capsys.readouterr().out)[:3] == ["30", "30", "100.0"]


def test_only_answers_to_the_first_questions_may_be_those_of_a_limited_run(tmp_path, questions, capsys):
    answers = write_answers(tmp_path / "answers.jsonl", key(1.0))
    lines = (tmp_path / "answers.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "answers.jsonl").write_text("".join(lines[5:]))
    assert main(["score", answers, "--dataset", str(questions)]) == 0
    assert "5 of 40 questions have no answer" in (error := capsys.readouterr().err) and "--limit" not in error


def test_answers_that_bring_their_questions_need_nothing_else(tmp_path, capsys):
    path = tmp_path / "answers.jsonl"
    rows = [{"id": n, "task": "t", "options": OPTIONS, "answer": "A", "response": "AB"[n % 2]} for n in range(10)]
    path.write_text(json.dumps(rows))
    assert main(["score", str(path)]) == 0
    assert all_row(capsys.readouterr().out)[:3] == ["10", "5", "50.0"]


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--task", "dsr"], "unknown task 'dsr': choose from fourd_world"),
        (["--limit", "0"], "--limit must be at least 1"),
        (["--picture", "scores.bmp"], "scores.bmp is no picture"),
        (["--eval-results", "nowhere"], "--eval-results nowhere is no folder"),
        (["--dataset", "gone.jsonl"], "there is no file gone.jsonl"),
        ([], "answers.jsonl, line 1 has no task, options, answer: name the questions by --task or --dataset"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_answers(tmp_path / "answers.jsonl", ["A"])
    assert main(["score", "answers.jsonl", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1

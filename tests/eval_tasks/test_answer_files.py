"""Answers made elsewhere: every form that is read, and what cannot belong to the questions."""

import json

import pytest

from fourdthinker.eval_tasks.report.answer_files import join_answers, own_questions, read_answers
from fourdthinker.modeling.errors import InputError

ROWS = [
    {"id": f"q{number}", "task": "camera", "options": ["left", "right"], "answer": "AB"[number % 2]}
    for number in range(3)
]


def write(path, entries, listed=False):
    path.write_text(json.dumps(entries) if listed else "".join(json.dumps(entry) + "\n\n" for entry in entries))
    return path


def lmms_sample(number: int, response: str, **more) -> dict:
    # The keys that lmms-eval 0.7.3 writes.
    return {
        "doc_id": number,
        "target": "AB"[number % 2],
        "filtered_resps": [response],
        "token_counts": [None],
        "doc_hash": "0",
        "accuracy": 1.0,
        "input": "Which way?",
        **more,
    }


@pytest.mark.parametrize("listed", [False, True])
def test_answers_by_id_in_any_order(tmp_path, listed):
    entries = [{"id": "q2", "response": "A"}, {"id": "q0", "response": None}, {"id": "q1", "response": "B", "n": 1}]
    joined = join_answers(ROWS, read_answers(write(tmp_path / "a.jsonl", entries, listed)))
    assert [row["response"] for row in joined] == [None, "B", "A"]
    assert [row["answer"] for row in joined] == ["A", "B", "A"]


def test_numbers_as_ids(tmp_path):
    rows = [{**row, "id": str(7 + number)} for number, row in enumerate(ROWS)]
    answers = read_answers(write(tmp_path / "a.json", [{"id": 9, "response": "C"}], listed=True))
    assert [row["response"] for row in join_answers(rows, answers)] == [None, None, "C"]


def test_sample_files_of_lmms_eval(tmp_path):
    entries = [lmms_sample(1, "B"), lmms_sample(0, "x", resps=[["A, unfiltered"]])]
    joined = join_answers(ROWS, read_answers(write(tmp_path / "samples.jsonl", entries)))
    assert [row["response"] for row in joined] == ["A, unfiltered", "B", None]


def test_answers_that_bring_their_questions(tmp_path):
    entries = [{**row, "response": "A", "video_id": "v"} for row in ROWS]
    rows = own_questions(read_answers(write(tmp_path / "a.jsonl", entries)))
    assert rows == entries
    with pytest.raises(InputError, match="line 1 has no task, options, answer: name the questions by --task"):
        own_questions(read_answers(write(tmp_path / "b.jsonl", [{"id": "q0", "response": "A"}])))


@pytest.mark.parametrize(
    "entries,message",
    [
        ([{"id": "q9", "response": "A"}], "line 1 answers 'q9', which is none of the 3 questions"),
        ([lmms_sample(4, "A")], "line 1 answers 4, which is none of the 3 questions"),
        ([{"id": "q1", "response": "A"}, {"id": "q1", "response": "B"}], "line 3 answers 'q1' again"),
        ([lmms_sample(1, "B", target="A")], "made for other questions: its key is 'A', that of q1 is 'B'"),
        ([{"id": "q1"}], "line 1 has no `id` with a `response`"),
        ([{"id": "q1", "response": ["A", "B"]}], "line 1 has the response .*: write a text, or null"),
        ([lmms_sample(1, 3)], "line 1 has the response 3: write a text, or null"),
    ],
)
def test_answers_to_other_questions_are_rejected(tmp_path, entries, message):
    with pytest.raises(InputError, match=message):
        join_answers(ROWS, read_answers(write(tmp_path / "a.jsonl", entries)))


@pytest.mark.parametrize(
    "content,message",
    [
        ("", "holds no answers"),
        ("{\n", "a.jsonl, line 1: this is no JSON"),
        ('"A"\n', "a.jsonl, line 1: this is no JSON object"),
        ("[1, 2]", "a.jsonl, entry 1 is 1: write an object"),
        ("[1, ", "a.jsonl is no JSON"),
    ],
)
def test_files_of_something_else_are_rejected(tmp_path, content, message):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_answers(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot read .*gone.jsonl"):
        read_answers(tmp_path / "gone.jsonl")

"""DSR-Bench: its rows as published and under other names, its prompts, and what the hidden second hides."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from fourdthinker.eval_tasks.benchmarks import dsr_bench
from fourdthinker.eval_tasks.tasks import find_benchmark, task_rows
from fourdthinker.eval_tasks.videos import read_row_clip, shown_part
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.prompts import question_text


def write_table(folder, rows):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "benchmark.parquet")


def test_published_rows(dsr_folder, monkeypatch):
    monkeypatch.setenv("DSR_BENCH_ROOT", str(dsr_folder))
    rows = task_rows("dsr_bench")
    assert rows["task"] == list(dsr_bench.TYPES) and len(set(rows["id"])) == 13
    assert rows[5] == {
        "id": "dsr_bench-5",
        "task": "abs_dir_pred",
        "question": "Which way does <object 5> go?",
        "options": ["(1) Goes left.", "(1) Goes right.", "(1) Goes up.", "(1) Goes down."],
        "answer": "B",
        "video": str(dsr_folder / "videos" / "clip 2.mp4"),
        "video_id": "clip 2",
    }


@pytest.mark.parametrize(
    "options",
    [
        ["left", "right", "up", "down"],
        "['left', 'right', 'up', 'down']",
        json.dumps(["A. left", "B. right", "C. up", "D. down"]),
        "A: left;B: right;C: up;D: down;",
    ],
)
def test_other_columns_and_forms_of_options(tmp_path, options):
    row = {"video": "sub/x.mp4", "question": "?", "candidates": options, "answer": "b", "task_type": "non_temp"}
    write_table(tmp_path, [row])
    (read,) = dsr_bench.read_dsr_bench(tmp_path)
    assert read["options"] == ["left", "right", "up", "down"] and read["answer"] == "B"
    assert read["video"] == str(tmp_path / "videos" / "sub" / "x.mp4")


def test_easi_copy(tmp_path, make_video):
    (tmp_path / "raw_data" / "dsr-bench").mkdir(parents=True)
    make_video(tmp_path / "raw_data" / "dsr-bench" / "a.mp4", seconds=1)
    cells = ["a.mp4", "Where to?", "['A. left', 'B. right', 'C. up', 'D. down']", "C", "rel_ori"]
    lines = ["video\tquestion\toptions\tanswer\ttask_type", "\t".join(cells)]
    (tmp_path / "DSRBench.tsv").write_text("\n".join(lines))
    (read,) = dsr_bench.read_dsr_bench(tmp_path)
    assert read["video"] == str(tmp_path / "raw_data" / "dsr-bench" / "a.mp4")
    assert (read["options"][2], read["answer"], read["task"]) == ("up", "C", "rel_ori")


def test_code_in_a_column_is_text_and_never_run(tmp_path, dsr_rows):
    harm = tmp_path / "harm"
    code = f"[__import__('pathlib').Path({str(harm)!r}).touch()]"
    write_table(tmp_path, [{**dsr_rows[0], "options": code}])
    with pytest.raises(InputError, match="options is"):
        dsr_bench.read_dsr_bench(tmp_path)
    assert not harm.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "abs_size"}, "row dsr_bench-1: unknown type of question 'abs_size': dsr_bench has abs_dis, abs_dir"),
        ({"answer": "E"}, "row dsr_bench-1: answer 'E' is not the letter of the 4 options"),
        ({"answer": "sideways"}, "row dsr_bench-1: answer 'sideways' is neither a letter nor one of the options"),
        ({"question": None}, "row dsr_bench-1: no column question"),
        ({"question": "Where is <|video_pad|>?"}, "row dsr_bench-1: question has the token <|video_pad|>"),
        ({"videoID": "../../etc/passwd"}, "row dsr_bench-1: video '../../etc/passwd' leaves the data folder"),
    ],
)
def test_a_row_that_cannot_be_asked_is_an_error_that_names_it(tmp_path, monkeypatch, dsr_rows, change, words):
    monkeypatch.setenv("DSR_BENCH_ROOT", str(tmp_path))
    write_table(tmp_path, [dsr_rows[0], {**dsr_rows[1], **change}])
    with pytest.raises(InputError) as caught:
        task_rows("dsr_bench")
    assert str(caught.value).startswith(words)


def test_without_any_video_nothing_is_asked(tmp_path, monkeypatch, dsr_rows):
    monkeypatch.setenv("DSR_BENCH_ROOT", str(tmp_path))
    write_table(tmp_path, dsr_rows)
    with pytest.raises(InputError, match="none of the videos of dsr_bench, such as .*clip 0.mp4; set DSR_BENCH_ROOT"):
        task_rows("dsr_bench")


def test_prompts():
    options = ["(1) Left.", "(1) Right."]
    assert find_benchmark("dsr_bench").prompt("Which way?", options) == (
        "\nThese are the frames of a video. Select the best answer to the following multiple-choice question based on "
        "the video. Respond with only the letter (A, B, C, or D) of the correct option.\n"
        "Question: Which way?\nA. (1) Left.\nB. (1) Right.\nAnswer: "
    )
    assert find_benchmark("dsr_bench_cot").prompt is question_text


def test_the_last_second_is_hidden_from_predictions_alone(dsr_folder):
    benchmark = find_benchmark("dsr_bench_last_second_hidden")
    rows = benchmark.read(dsr_folder)
    assert [row["task"] for row in rows if row["hidden_tail"]] == ["abs_dir_pred", "rel_dir_pred"]
    predicted, other = rows[11], rows[12]
    assert shown_part(other) == (None, None) and shown_part(predicted) == (None, pytest.approx(2.75))
    last = [read_row_clip(row, benchmark.frames).timestamps[-1] for row in (predicted, other)]
    assert last == [pytest.approx(2.75), pytest.approx(3.75)]


def test_frames_follow_the_protocol(dsr_folder):
    row = dsr_bench.read_dsr_bench(dsr_folder)[0]
    every_second = read_row_clip(row, find_benchmark("dsr_bench_1fps").frames)
    assert every_second.timestamps == pytest.approx([0, 1, 2, 3])
    assert len(read_row_clip(row, find_benchmark("dsr_bench").frames).frames) == 16  # 32 at most, of 16

"""Columns, options and keys in the forms that published files have."""

import pytest

from fourdthinker.eval_tasks.benchmarks.published import (
    answer_letter,
    hub_path,
    option_texts,
    pick,
    read_table,
    type_name,
    video_file,
)
from fourdthinker.modeling.errors import InputError

FOUR = ["left", "right", "up", "not moving"]


@pytest.mark.parametrize(
    "value",
    [
        FOUR,
        tuple(FOUR),
        ["A. left", "B. right", "C. up", "D. not moving"],
        ["(A) left", "(B) right", "(C) up", "(D) not moving"],
        {"A": "left", "B": "right", "C": "up", "D": "not moving"},
        {"D": "not moving", "B": "right", "A": "left", "C": "up", "E": None},
        "['left', 'right', 'up', 'not moving']",
        '["left", "right", "up", "not moving"]',
        "{'A': 'left', 'B': 'right', 'C': 'up', 'D': 'not moving'}",
        "A: left;B: right;C: up;D: not moving",
        "A: left; B: right; C: up; D: not moving;",
        "A. left\nB. right\nC. up\nD. not moving",
    ],
)
def test_options_in_every_form(value):
    assert option_texts(value) == FOUR


def test_options_that_are_numbers_become_texts():
    assert option_texts({"A": 1, "B": 2, "C": 0, "D": 3}) == ["1", "2", "0", "3"]
    assert option_texts([1.0, 2.5]) == ["1", "2.5"]


@pytest.mark.parametrize("value", [None, "", "left", 3, {"A": "left", "C": "up"}, {"1": "left"}, []])
def test_what_is_no_list_of_options_is_an_error(value):
    with pytest.raises(InputError, match="option"):
        option_texts(value)


def test_options_are_never_run_as_code(tmp_path):
    trap = tmp_path / "trap"
    with pytest.raises(InputError):
        option_texts(f"[open({str(trap)!r}, 'w'), __import__('os')]")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("key", "letter"),
    [("B", "B"), (" b ", "B"), ("(B)", "B"), ("B. right", "B"), ("right", "B"), ("Not moving.", "D")],
)
def test_keys(key, letter):
    assert answer_letter(key, FOUR) == letter


def test_a_key_that_is_a_number_is_the_option_not_its_place():
    assert answer_letter(0, ["1", "8", "0", "4"]) == "C"
    assert answer_letter(4.0, ["1", "8", "0", "4"]) == "D"


def test_a_key_that_fits_no_option_is_an_error():
    with pytest.raises(InputError, match="answer 'down' is neither"):
        answer_letter("down", FOUR)


def test_the_first_filled_column_counts():
    assert pick({"Question": "", "question": "Which?"}, "Question", "question") == "Which?"
    with pytest.raises(InputError, match="no column Question or question"):
        pick({"text": "Which?"}, "Question", "question")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("https://huggingface.co/datasets/a/B/resolve/main/videos_real/davis/bear.mp4", "videos_real/davis/bear.mp4"),
        ("https://hf-mirror.com/datasets/a/B/resolve/5f3c/v/a%20walk.mp4?download=true", "v/a walk.mp4"),
        ("videos_real/davis/bear.mp4", "videos_real/davis/bear.mp4"),
        ("100%25.mp4", "100%25.mp4"),
    ],
)
def test_urls_become_paths(name, path):
    assert hub_path(name) == path


def test_videos_lie_below_the_folder(tmp_path, make_video):
    (tmp_path / "two words").mkdir()
    made = make_video(tmp_path / "two words" / "a b.mp4", seconds=1)
    assert video_file(tmp_path, "two words/a b.mp4") == video_file(tmp_path, "two words/a b") == made
    assert video_file(tmp_path, "gone.mp4") == str(tmp_path / "videos/gone.mp4")
    with pytest.raises(InputError, match="leaves the data folder"):
        video_file(tmp_path, "../../etc/passwd")


def test_a_broken_row_is_named(tmp_path):
    table = tmp_path / "rows.jsonl"
    table.write_text('{"id": 1}\n{"id": \n')
    with pytest.raises(InputError, match="rows.jsonl, line 2: this is no JSON"):
        read_table(table)
    table.write_text("\n")
    with pytest.raises(InputError, match="holds no rows"):
        read_table(table)


def test_names_of_types():
    assert type_name("Displacement & Path Length") == "displacement_path_length"
    assert type_name("3D Video Grounding") == "3d_video_grounding"

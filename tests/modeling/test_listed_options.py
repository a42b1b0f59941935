"""Options that are listed in a text, one a line or all in one string."""

import pytest

from fourdthinker.modeling.listed_options import drop_letters, split_option_string, split_options


@pytest.mark.parametrize(
    "text",
    ["Which?", "Which?\nA. left", "A. left and B. right", "A. left\nC. up", "A. left\nThen?\nB. right", ""],
)
def test_what_lists_no_options_stays_whole(text):
    assert split_options(text) == (text, [], "")


def test_options_before_the_question():
    assert split_options("A. left\nB. right\nWhich way?") == ("Which way?", ["left", "right"], "")


def test_reading_hostile_text_takes_linear_time():
    for text in ("A. " + " " * 200_000 + "\n", "A. x" + " \n" * 200_000, "Which?\n" * 100_000):
        assert split_options(text)[1] == []


@pytest.mark.parametrize("heading", ["Options:", "Options: ", "Choices :", "Answer options: "])
def test_a_heading_may_stand_on_the_line_of_the_first_option(heading):
    text = f"Which way?\n{heading}A: left\nB: right\nThink first."
    assert split_options(text) == ("Which way?", ["left", "right"], "Think first.")


def test_options_may_stand_in_one_line():
    text = "Which way?\nOptions: A: left; B: right; C: up;\nAnswer with the letter."
    assert split_options(text) == ("Which way?", ["left", "right", "up"], "Answer with the letter.")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("A: left;B: right;C: up", ["left", "right", "up"]),
        ("A: left; B: right; C: up;", ["left", "right", "up"]),
        (";A: left;;B: right ; ;", ["left", "right"]),
        ("A. left\nB. right", ["left", "right"]),
        ("A: first left; then right;B: up", ["first left; then right", "up"]),
        ("A: see B: below;B: up", ["see B: below", "up"]),
        ("A: left;B: ;C: up", ["left", "", "up"]),
        ("A: left;C: up", ["left; C: up"]),
        ("left;right", []),
        ("", []),
    ],
)
def test_options_in_one_string(text, options):
    assert split_option_string(text) == options


def test_reading_a_hostile_option_string_takes_linear_time():
    assert split_option_string("A: x" + "; " * 500_000) == ["x"]


def test_letters_go_only_where_every_option_has_its_own():
    assert drop_letters(["A. (1) left", "B. (2) right"]) == ["(1) left", "(2) right"]
    assert drop_letters(["A. left", "C. right"]) == ["A. left", "C. right"]

"""VLM4D in its published shape: URLs, keys that are texts, options that are numbers, options that are equal."""

import json

import pytest

from fourdthinker.eval_tasks.benchmarks.vlm4d import cot_prompt, direct_prompt, read_part
from fourdthinker.modeling.errors import InputError

HUB = "https://huggingface.co/datasets/shijiezhou/VLM4D/resolve/main"
CHOICES = {"A": "not moving", "B": "left", "C": "right", "D": "backwards"}


def published(number, **columns):
    return {
        "id": f"validation_{number}",
        "video": f"{HUB}/videos_real/davis/city-ride.mp4",
        "question_type": "multiple-choice",
        "question": "Which direction are the cyclists moving toward?",
        "choices": CHOICES,
        "answer": "left",
        **columns,
    }


@pytest.fixture
def read(tmp_path):
    def read(*rows, part="real", place="QA"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / f"{part}_mc.json").write_text(json.dumps(rows))
        return read_part(tmp_path, part)

    return read


def test_a_row_in_full(read, tmp_path, make_video):
    (tmp_path / "videos_real/davis").mkdir(parents=True)
    made = make_video(tmp_path / "videos_real/davis/city-ride.mp4", seconds=1)
    assert read(published(160)) == [
        {
            "id": "validation_160",
            "task": "exocentric",
            "question": "Which direction are the cyclists moving toward?",
            "options": ["not moving", "left", "right", "backwards"],
            "answer": "B",
            "video": made,
            "part": "real",
        }
    ]


def test_the_viewpoint_follows_from_the_number(read):
    rows = read(*(published(number) for number in (1, 922, 923, 1371)))
    assert [row["task"] for row in rows] == ["exocentric", "exocentric", "egocentric", "egocentric"]


def test_false_positives_are_questions_whose_answer_is_no(read):
    answers = ["no", "No movement", "not moving", "none", "left"]
    choices = dict(zip("ABCDE", answers, strict=True))
    rows = read(*(published(n, choices=choices, answer=text) for n, text in enumerate(answers)), part="synthetic")
    assert [row["task"] for row in rows] == ["false_positive"] * 2 + ["directional"] * 3


def test_numbers_become_texts(read):
    (row,) = read(published(3, choices={"A": 1, "B": 2, "C": 3, "D": 0}, answer=0))
    assert (row["options"], row["answer"]) == (["1", "2", "3", "0"], "D")


def test_equal_options_have_the_first_letter_as_key(read):
    (row,) = read(
        published(633, choices={"A": "not sure", "B": "not moving", "C": "away", "D": "away"}, answer="away")
    )
    assert (row["options"][2:], row["answer"]) == (["away", "away"], "C")


def test_paths_of_other_machines_and_names_with_spaces(read, tmp_path):
    videos = {
        "/home/other/VLM4D_bench/videos_real/ego4d/a.mp4": "videos_real/ego4d/a.mp4",
        f"{HUB}/videos_synthetic/a%20b.mp4?download=true": "videos_synthetic/a b.mp4",
        "videos_synthetic/a b.mp4": "videos_synthetic/a b.mp4",
    }
    rows = read(*(published(number, video=video) for number, video in enumerate(videos)), place=".")
    assert [row["video"] for row in rows] == [str(tmp_path / name) for name in videos.values()]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"answer": "up"}, "row validation_7: answer 'up' is neither a letter nor one of the options"),
        ({"video": "davis/city-ride.mp4"}, "row validation_7: its video 'davis/city-ride.mp4' is in neither"),
        ({"video": f"{HUB}/videos_real/../../x.mp4"}, "row validation_7: video .* leaves the data folder"),
        ({"choices": None}, "row validation_7: no column choices"),
        ({"id": "last"}, "row last: its id has no number"),
    ],
)
def test_rows_of_another_shape_are_named(read, columns, words):
    with pytest.raises(InputError, match=words):
        read(published(7, **columns))


def test_a_repeated_id_and_a_missing_file_are_errors(read, tmp_path):
    with pytest.raises(InputError, match="row validation_7: there are two rows"):
        read(published(7), published(7))
    with pytest.raises(InputError, match="holds no synthetic_mc.json or QA/synthetic_mc.json"):
        read_part(tmp_path, "synthetic")


def test_prompts_list_the_options_as_officially():
    options = list(CHOICES.values())
    assert "\nA: not moving\nB: left\nC: right\nD: backwards\n\nDo not" in direct_prompt("Which way?", options)
    assert cot_prompt("Which way?", options).startswith("\nQuestion: Which way?\nA: not moving\n")
    assert "'Therefore, the final answer is: $LETTER'" in cot_prompt("Which way?", options)

"""A user's own files become rows: plain columns and the formats people have, one line about what was taken."""

import csv
import json
import logging

import pyarrow
import pyarrow.parquet
import pytest

from fourdthinker.dataset_builders.sources.answer_texts import add_answer_tags
from fourdthinker.dataset_builders.sources.own_rows import find_row_file, read_row_file
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.offered_options import choice_fault
from fourdthinker.modeling.row_rules import row_fault

ROW = {"video": "clips/a.mp4", "question": "Which way?", "options": ["left", "right", "up"], "answer": "B"}
HUMAN = "<video>\nWhich way?\nA. left\nB. right\n(C) up"
WHOLE = {"question": "Which way?", "options": ["left", "right", "up"], "answer": "B"}


@pytest.fixture
def read(tmp_path):
    """Reads rows from a file with this content; keeps the line that is reported in `read.line`."""

    def read(content, stage="grpo", name="own.jsonl", **how):
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif name.endswith(".jsonl"):
            path.write_text("\n".join(map(json.dumps, content)))
        else:
            path.write_text(json.dumps(content))
        return read_row_file(path, stage, report=lambda line: setattr(read, "line", line), **how).with_format(None)

    return read


def only_row(rows, stage="grpo"):
    """The one row, which the shared validator takes."""
    (row,) = rows
    assert row_fault(row, stage, len(row["frames"]) or None, len(row.get("imagery", ()))) is None
    return row


def has_words(row):
    return {name: row[name] for name in WHOLE} == WHOLE


def test_plain_columns(read, tmp_path):
    row = only_row(read([{**ROW, "id": 7, "task": "motion", "source": "me", "fps": 3}]))
    assert has_words(row) and (row["id"], row["task"]) == ("7", "motion")
    assert row["video"] == str(tmp_path / "clips/a.mp4") and row["frames"] == row["timestamps"] == []
    assert read.line == (
        f"{tmp_path / 'own.jsonl'}: 1 row with id from id, video from video, question from question, answer from "
        "answer, options from options, task from task; left out: source, fps"
    )


def test_a_row_without_a_name_is_called_after_its_file(read):
    rows = read([ROW, ROW])
    assert list(rows["id"]) == ["own-1", "own-2"] and set(rows["task"]) == {"own"}


def test_frames_are_one_a_second_or_at_their_times(read, tmp_path):
    frames = {"question": "?", "frames": ["1.png", "2.png"], "answer": "A", "options": ["a", "b"]}
    row = only_row(read([frames]))
    assert [frame["path"] for frame in row["frames"]] == [str(tmp_path / "1.png"), str(tmp_path / "2.png")]
    assert row["timestamps"] == [0.0, 1.0] and row["video"] is None
    assert only_row(read([{**frames, "timestamps": [0.5, 0.75]}]))["timestamps"] == [0.5, 0.75]


@pytest.mark.parametrize(
    "answer", ["B", "b", "(b)", "B.", "right", "RIGHT ", "Right.", "B. right", "<answer>b</answer>"]
)
def test_an_answer_is_a_letter_or_the_text_of_an_option_in_any_case(read, answer):
    assert has_words(only_row(read([{**ROW, "answer": answer}])))


@pytest.mark.parametrize("answer", ["D", "down", "left or right", "left right"])
def test_an_answer_of_no_option_is_left_to_the_validator(read, answer):
    (row,) = read([{**ROW, "answer": answer}])
    assert row["answer"] == answer and "is not the letter of the 3 options" in row_fault(row, "grpo", None)


def test_numbers_are_texts(read):
    row = only_row(read([{**ROW, "options": [1, 2, 3], "answer": 3}]))
    assert (row["options"], row["answer"]) == (["1", "2", "3"], "C")


def test_options_by_number_keep_the_order_of_the_numbers(read):
    texts = [f"text {number}" for number in range(10)]
    by_number = {str(number): text for number, text in enumerate(texts, start=1)}
    assert only_row(read([{**ROW, "options": dict(sorted(by_number.items()))}]))["options"] == texts


def test_an_answer_that_names_two_options_is_an_error(read):
    with pytest.raises(InputError, match=r"line 1: answer 'a' is the letter of one option and the text of another"):
        read([{**ROW, "options": ["B", "A"], "answer": "a"}])
    assert only_row(read([{**ROW, "options": ["B", "A"], "answer": "B. A"}]))["answer"] == "B"


@pytest.mark.parametrize(
    "options",
    [
        {"A": "left", "B": "right", "C": "up"},
        {"a": "left", "b": "right", "c": "up", "d": None},
        {"option_a": "left", "option_b": "right", "option_c": "up"},
        {"Option 1": "left", "Option 2": "right", "Option 3": "up", "Option 4": " "},
        {"option_0": "left", "option_1": "right", "option_2": "up"},
        {"Choice 0": "left", "Choice 1": "right", "Choice 2": "up", "Choice 3": None},
        {"choices": ["A. left", "B. right", "C. up"]},
        {"options": {"A": "left", "B": "right", "C": "up"}},
        {"options": "A. left\nB. right\nC. up"},
        {"options": "['left', 'right', 'up']"},
        {"question": "Which way?\nOptions:\nA) left\nB) right\n\nC) up\nAnswer with the letter alone."},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_may_stand_in_many_places(read, options):
    plain = {name: value for name, value in ROW.items() if name != "options"}
    assert has_words(only_row(read([plain | options])))


def test_options_counted_from_zero_keep_their_places(read):
    plain = {"video": "a.mp4", "question": "Which?", "answer": "B"}
    many = {f"option_{number}": f"text {number}" for number in range(10)}
    assert only_row(read([plain | many]))["options"] == list(many.values())
    row = read([plain | {"option_0": None, "option_1": "left", "option_2": "right"}])[0]
    assert row["options"] == [None, "left", "right"]
    with pytest.raises(InputError, match="option_1 and A both give option A: keep one of the two"):
        read([plain | {"option_1": "left", "A": "right", "B": "up"}])
    assert read([plain | {"option_1": "left", "option_2": "up", "A": None}])[0]["options"] == ["left", "up"]
    with pytest.raises(InputError, match="the columns of options are option_2, option_3: number them from 0 or 1"):
        read([plain | {"option_2": "left", "option_3": "right"}])


def test_csv_and_tsv(read, tmp_path):
    rows = [
        ["video", "Question", "A", "B", "C", "Correct"],
        ["a.mp4", "Which\nway, then?", "le,ft", 'ri"ght', "", "b"],
    ]
    for delimiter, name in ((",", "own.csv"), (";", "own.csv"), ("\t", "own.tsv")):
        with open(tmp_path / "made", "w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows(rows if delimiter != ";" else [*rows, [""] * 6])
        row = only_row(read((tmp_path / "made").read_text("utf-8"), name=name))
        assert (row["question"], row["options"], row["answer"]) == ("Which\nway, then?", ["le,ft", 'ri"ght'], "B")


def test_parquet_with_images_inside(read, tmp_path):
    table = {"frames": [[{"bytes": b"one", "path": None}, {"bytes": None, "path": "2.png"}]], "question": ["Which?"]}
    table |= {"options": [["left", "right"]], "answer": ["right"], "facts": ["{}"]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "own.parquet")
    row = only_row(read_row_file(tmp_path / "own.parquet", "grpo").with_format(None))
    assert row["frames"] == [{"bytes": b"one", "path": None}, {"bytes": None, "path": str(tmp_path / "2.png")}]
    assert row["answer"] == "B"


LLAVA = {
    "id": "x",
    "video": "a.mp4",
    "conversations": [{"from": "human", "value": HUMAN}, {"from": "gpt", "value": "B"}],
}
SHAREGPT = {
    "videos": ["a.mp4"],
    "messages": [
        {"role": "user", "content": f"{HUMAN}\nAnswer with the option's letter."},
        {"role": "assistant", "content": "B. right"},
    ],
}
SWIFT = {"videos": ["a.mp4"], "messages": SHAREGPT["messages"][:1], "solution": "<answer>B</answer>"}
PARTS = {
    "messages": [
        {"role": "user", "content": [{"type": "video", "video": "a.mp4"}, {"type": "text", "text": HUMAN}]},
        {"role": "assistant", "content": [{"type": "text", "text": "<think>So.</think><answer>B</answer>"}]},
    ]
}


@pytest.mark.parametrize("record", [LLAVA, SHAREGPT, SWIFT, PARTS], ids=["LLaVA", "ShareGPT", "ms-swift", "parts"])
@pytest.mark.parametrize("name", ["own.jsonl", "own.json"])
def test_conversations(read, tmp_path, record, name):
    row = only_row(read([record], name=name))
    assert has_words(row) and row["video"] == str(tmp_path / "a.mp4")
    assert "question from " in read.line and "options from the question" in read.line
    if record is not SWIFT:
        taught = only_row(read([record], "dift", name=name), "dift")
        assert has_words(taught) and taught["response"].endswith("</answer>")


def test_later_turns_and_system_prompts_are_left_out_and_counted(read):
    turns = [{"from": "system", "value": "Be good."}, *LLAVA["conversations"], *LLAVA["conversations"]]
    assert has_words(only_row(read([{**LLAVA, "conversations": turns}])))
    assert "; left out: 3 messages beside the first question and its response" in read.line


def test_an_open_question_is_for_dift(read):
    chat = [{"from": "human", "value": "<video>\nWhat moves?"}, {"from": "gpt", "value": "A cat."}]
    row = only_row(read([{"video": "a.mp4", "conversations": chat}], "dift"), "dift")
    assert (row["question"], row["options"], row["answer"]) == ("What moves?", [], "")
    assert row["response"] == "<answer>A cat.</answer>" and "1 response got <answer> tags" in read.line
    (question,) = read([{"video": "a.mp4", "conversations": chat}])
    assert "'A cat.' is not the letter of an option" in row_fault(question, "grpo", None)
    assert "options is empty: give the texts" in row_fault({**question, "answer": "A"}, "eval", None)


def test_a_response_that_names_no_option_leaves_the_question_as_written(read):
    chat = [{"from": "human", "value": HUMAN}, {"from": "gpt", "value": "It pans, since the wall goes left."}]
    row = only_row(read([{"video": "a.mp4", "conversations": chat}], "dift"), "dift")
    assert row["question"] == HUMAN.removeprefix("<video>\n") and row["options"] == []


def test_a_response_that_names_none_of_the_options_is_what_is_wrong(read):
    without = {name: value for name, value in ROW.items() if name != "answer"}
    (row,) = read([{**without, "response": "It pans."}], "dift")
    assert row["answer"] == "" and choice_fault(row) == "the response names none of the options: add `answer`"
    (named,) = read([{**without, "response": "<think>It pans.</think>right"}], "dift")
    assert named["answer"] == "B" and choice_fault(named) is None


def test_imagery_goes_with_its_marks(read, tmp_path):
    response = "<think>I see <output_image>.</think><answer>B</answer>"
    row = only_row(read([{**ROW, "response": response, "imagery": ["there.png"]}], "dift"), "dift")
    assert row["response"] == response and row["imagery"][0]["path"] == str(tmp_path / "there.png")


def test_rows_without_a_response_are_for_the_validator_unless_all_are(read):
    with pytest.raises(InputError, match="no row has a response to learn from, as `dift` needs: name a column one of"):
        read([ROW, ROW], "dift")
    rows = read([{**ROW, "response": "B"}, ROW], "dift")
    assert rows[1]["response"] is None and row_fault(rows[1], "dift", None, 0) == "response is null: write a text"


@pytest.mark.parametrize(
    ("response", "answer", "tagged"),
    [
        ("<think>t</think><answer>B</answer>", "B", "<think>t</think><answer>B</answer>"),
        ("<think>t</think> right", "B", "<think>t</think><answer>right</answer>"),
        ("<think>t</think>", "B", "<think>t</think><answer>B. right</answer>"),
        ("It goes.", "B", "<think>It goes.</think><answer>B. right</answer>"),
        ("b. Right", "B", "<answer>b. Right</answer>"),
        ("It goes.", None, "<answer>It goes.</answer>"),
        ("I picture it <output_image>", None, "I picture it <output_image>"),
        ("I picture it <output_image>", "B", "<think>I picture it <output_image></think><answer>B. right</answer>"),
    ],
)
def test_answer_tags(response, answer, tagged):
    assert add_answer_tags(response, answer, "B", ["left", "right"]) == tagged or answer is None
    if answer is None:
        assert add_answer_tags(response, None, None, []) == tagged


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (
            [{"clip": "a.mp4", "question": "?"}],
            "own.jsonl",
            "no row has a video or frames: name a column one of",
        ),
        ([{"video": "a.mp4", "text": "?"}], "own.jsonl", "no row has a question: name a column one of question"),
        ([{"video": "a.mp4", "question": "?"}], "own.jsonl", "no row has an answer to compare with"),
        ([{**ROW, "video": ["a.mp4", "b.mp4"]}], "own.jsonl", "line 1: there are 2 videos: give one a row"),
        ([{**ROW, "video": "../a.mp4"}], "own.jsonl", "line 1: video names '../a.mp4', which has `..` in it"),
        ([{**ROW, "video": "/etc/a.mp4"}], "own.jsonl", "which lies outside: only files in"),
        (
            [{**ROW, "options": [{"text": "left"}, {"text": "up"}]}],
            "own.jsonl",
            "line 1: options 1 is {'text': 'left'}, no",
        ),
        (
            [{**ROW, "choices": {"label": ["A"], "text": ["up"]}, "options": None}],
            "own.jsonl",
            "options 1 is ['up'], no",
        ),
        (
            [{**ROW, "options": None, "A": "left", "B": {"text": "up"}}],
            "own.json",
            "options 2 is {'text': 'up'}, no text",
        ),
        (
            [{**ROW, "question": {"en": "Which?"}}],
            "own.jsonl",
            "line 1: question is {'en': 'Which?'}, no text: write the",
        ),
        ([{**ROW, "answer": ["B"]}], "own.jsonl", "line 1: answer is ['B'], no text"),
        ([{**ROW, "video": 3}], "own.jsonl", "video has 3, no file name"),
        ([{"video": "a.mp4", "messages": "hello"}], "own.jsonl", "the conversation is 'hello', no list"),
        ([{"video": "a.mp4", "messages": ["hello"]}], "own.jsonl", "the conversation has 'hello', no message"),
        (
            [{**ROW, "frames": ["a.png"], "timestamps": ["soon"]}],
            "own.jsonl",
            "timestamps holds a value that is no number",
        ),
        ("video,question\na.mp4,Which?,more\n", "own.csv", "line 2: there are 3 cells for 2 columns"),
        ('video,question\na.mp4,"Wh"ich?\n', "own.csv", "line 2: this is no CSV"),
        ("{", "own.jsonl", "line 1: this is no JSON"),
        ("[{", "own.json", "own.json is no JSON"),
        ("[3]", "own.json", "row 1: this is no JSON object"),
        ("no", "own.parquet", "own.parquet is no Parquet file that can be read"),
        ("", "own.csv", "own.csv has no rows"),
    ],
)
def test_what_is_wrong_takes_one_line(read, content, name, words):
    with pytest.raises(InputError) as caught:
        read(content, name=name)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_bad_records_may_be_skipped(read, caplog):
    with caplog.at_level(logging.WARNING):
        rows = read([ROW, {**ROW, "video": "../a.mp4"}, ROW], on_bad_row="skip")
    assert list(rows["id"]) == ["own-1", "own-3"]
    assert [record.getMessage() for record in caplog.records][0].startswith("left out: ")


def test_relative_paths_start_from_the_root(read, tmp_path):
    assert only_row(read([ROW], root=tmp_path / "there"))["video"] == str(tmp_path / "there/clips/a.mp4")
    assert only_row(read([{**ROW, "video": "/a.mp4"}], root="/"))["video"] == "/a.mp4"


def test_files_of_4dthinker_keep_their_reader(read):
    published = {"text_input": "?", "text_output": "<answer>A</answer>", "image_input": ["0.png"], "image_output": []}
    assert read([published], "dift")[0]["timestamps"] == [0.0]
    with pytest.raises(InputError, match="'text_input' is missing"):
        read([published, ROW], "dift")


def test_names_of_4dthinker_in_an_own_file_do_not_make_it_published(read, tmp_path):
    own = {"video": "clips/a.mp4", "Question": "Which way?", "Correct": "right", "A": "left", "B": "right", "C": "up"}
    row = only_row(read([own]))
    assert has_words(row) and row["video"] == str(tmp_path / "clips/a.mp4")
    with pytest.raises(InputError, match="no row has a question: name a column one of question"):
        read([{"video": "a.mp4", "text_input": "?", "text_output": "<answer>A</answer>"}], "dift")


def test_a_folder_of_files_has_one_for_each_split(tmp_path):
    (tmp_path / "notes.txt").touch()
    assert find_row_file(tmp_path, "train") is None
    (tmp_path / "mine.csv").touch()
    assert find_row_file(tmp_path, "train") == find_row_file(tmp_path, "test") == tmp_path / "mine.csv"
    (tmp_path / "train.jsonl").touch()
    assert find_row_file(tmp_path, "train") == tmp_path / "train.jsonl"
    assert find_row_file(tmp_path, "test") is None


def test_other_stages_have_no_rows_in_a_file(read):
    with pytest.raises(InputError, match="is a file of rows, which has none for 'mllm4d_sft': choose dift or grpo"):
        read([ROW], "mllm4d_sft")

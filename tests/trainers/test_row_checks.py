"""A bad row is found before the first step, and named."""

import logging

import pytest
from datasets import Dataset, Features, Image, List, Value

from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers.row_checks import usable_rows

FEATURES = Features(
    {"id": Value("string"), "response": Value("string"), "frames": List(Image()), "imagery": List(Image())}
)


@pytest.fixture
def rows(make_dift_row):
    """Rows of a data set; a change to a number's row can be given."""

    def make(changes=None, count=4):
        made = [{**make_dift_row(number, number % 3), **(changes or {}).get(number, {})} for number in range(count)]
        return Dataset.from_list([{name: row[name] for name in FEATURES} for row in made], features=FEATURES)

    return make


FILE = {"bytes": None, "path": "/nowhere/frame.png"}
BAD = {
    "marks": ({"response": "<think><output_image></think><answer>B</answer>"}, "1 <output_image> marks for 2 imagery"),
    "no imagery": ({"imagery": []}, "2 <output_image> marks for 0 imagery"),
    "no answer": ({"response": "<output_image><output_image>B"}, "exactly one <answer>"),
    "two answers": (
        {"response": "<output_image><output_image><answer>B</answer><answer>C</answer>"},
        "exactly one <answer>",
    ),
    "empty answer": ({"response": "<output_image><output_image><answer> </answer>"}, "exactly one <answer>"),
    "more after it": ({"response": "<output_image><output_image><answer>B</answer> or so"}, "exactly one <answer>"),
    "no frames": ({"frames": []}, "no frames"),
    "frame gone": ({"frames": [FILE]}, "frames 1 is not there: /nowhere/frame.png"),
    "imagery gone": ({"imagery": [{"bytes": b"x", "path": None}, FILE]}, "imagery 2 is not there: /nowhere/frame.png"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_a_bad_row_is_named_or_left_out(rows, caplog, change, words):
    data = rows({2: change})
    with pytest.raises(InputError, match="1 of 4 rows cannot be trained on; the first is row-2: ") as caught:
        usable_rows(data)
    assert words in str(caught.value)
    with caplog.at_level(logging.WARNING):
        assert usable_rows(data, "skip")["id"] == ["row-0", "row-1", "row-3"]
    assert words in caplog.text and "1 of 4 rows" in caplog.text


def test_good_rows_are_all_kept_whatever_is_decoded_of_them(rows):
    data = rows()
    assert usable_rows(data) is data
    undecoded = data.cast_column("frames", List(Image(decode=False)))
    assert usable_rows(undecoded.select([2, 0]))["id"] == ["row-2", "row-0"]


def test_rows_of_grpo_need_their_frames_only(rows):
    prompts = rows({1: {"frames": [FILE]}}).remove_columns(["response", "imagery"])
    with pytest.raises(InputError, match="the first is row-1: frames 1"):
        usable_rows(prompts)


def test_a_video_will_do_for_frames_and_is_not_decoded(tmp_path, caplog):
    (tmp_path / "there.mp4").write_bytes(b"not looked into")
    files = [str(tmp_path / "there.mp4"), str(tmp_path / "gone.mp4"), str(tmp_path), None]
    features = Features({"id": Value("string"), "frames": List(Image()), "video": Value("string")})
    named = [{"id": f"row-{number}", "frames": [], "video": file} for number, file in enumerate(files)]

    def decoding(batch):
        raise AssertionError("a row was read")

    data = Dataset.from_list(named, features=features).with_transform(decoding)
    with pytest.raises(InputError, match=r"3 of 4 .* the first is row-1: its video is not there: .*gone\.mp4"):
        usable_rows(data)
    with caplog.at_level(logging.WARNING):
        left = usable_rows(data, "skip")
    assert list(left.with_format(None)["id"]) == ["row-0"]
    assert "row-2 is left out: its video is not there" in caplog.text
    assert "row-3 is left out: it has no frames" in caplog.text
    with pytest.raises(AssertionError, match="a row was read"):  # what is left is decoded as before
        left[0]


def test_files_that_are_there_will_do(rows, make_dift_row, tmp_path):
    make_dift_row(0)["frames"][0].save(tmp_path / "frame.png")
    data = rows({1: {"frames": [{"bytes": None, "path": str(tmp_path / "frame.png")}]}})
    assert len(usable_rows(data)) == 4


def test_no_row_left_is_an_error(rows):
    with pytest.raises(InputError, match="none is left"):
        usable_rows(rows({number: {"frames": []} for number in range(4)}), "skip")


def test_many_rows_are_counted_over_batches(rows):
    data = rows({number: {"frames": []} for number in (3, 1001, 1500)}, count=1600)
    assert len(usable_rows(data, "skip")) == 1597

"""A bad row is found before the first step, and named."""

import io
import logging

import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Picture
from PIL import ImageFile

from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTCollator
from fourdthinker.trainers.pictures import undecoded
from fourdthinker.trainers.rollouts import encode_prompts
from fourdthinker.trainers.row_checks import usable_rows

FEATURES = Features(
    {"id": Value("string"), "response": Value("string"), "frames": List(Image()), "imagery": List(Image())}
)


def png():
    file = io.BytesIO()
    Picture.effect_noise((56, 56), 50).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def rows(make_dift_row):
    """Rows of a data set; a change to a number's row can be given."""

    def make(changes=None, count=4):
        made = [{**make_dift_row(number, number % 3), **(changes or {}).get(number, {})} for number in range(count)]
        return Dataset.from_list([{name: row[name] for name in FEATURES} for row in made], features=FEATURES)

    return make


PNG = png()
PICTURE = {"bytes": PNG, "path": None}
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
    "imagery gone": ({"imagery": [PICTURE, FILE]}, "imagery 2 is not there: /nowhere/frame.png"),
    "no picture": ({"imagery": [PICTURE, {"bytes": b"<html>", "path": None}]}, "imagery 2 is no picture, or damaged"),
    "empty picture": ({"frames": [PICTURE, {"bytes": b"", "path": None}]}, "frames 2 is no picture, or damaged"),
    "header cut off": ({"frames": [{"bytes": PNG[:20], "path": None}]}, "frames 1 is no picture, or damaged"),
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


def test_a_video_will_do_for_frames_and_its_row_is_not_read(tmp_path, caplog, make_video):
    make_video(tmp_path / "there.mp4", 2)
    (tmp_path / "page.mp4").write_bytes(b"<html>not found</html>")
    (tmp_path / "empty.mp4").touch()
    whole = (tmp_path / "there.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    names = ("there.mp4", "gone.mp4", ".", "page.mp4", "empty.mp4", "half.mp4")
    files = [*(str(tmp_path / name) for name in names), None]
    features = Features({"id": Value("string"), "frames": List(Image()), "video": Value("string")})
    named = [{"id": f"row-{number}", "frames": [], "video": file} for number, file in enumerate(files)]

    def decoding(batch):
        raise AssertionError("a row was read")

    data = Dataset.from_list(named, features=features).with_transform(decoding)
    with pytest.raises(InputError, match=r"6 of 7 .* the first is row-1: its video is not there: .*gone\.mp4"):
        usable_rows(data)
    with caplog.at_level(logging.WARNING):
        left = usable_rows(data, "skip")
    assert list(left.with_format(None)["id"]) == ["row-0"]
    assert "row-2 is left out: its video is not there" in caplog.text
    for number, name in ((3, "page.mp4"), (4, "empty.mp4"), (5, "half.mp4")):
        assert f"row-{number} is left out: its video is damaged: {tmp_path / name}" in caplog.text
    assert "row-6 is left out: it has no frames" in caplog.text
    with pytest.raises(AssertionError, match="a row was read"):  # what is left is decoded as before
        left[0]


def test_a_file_that_is_no_picture_is_named(rows, tmp_path):
    (tmp_path / "page.png").write_text("<html>not found</html>")
    data = rows({1: {"frames": [PICTURE, {"bytes": None, "path": str(tmp_path / "page.png")}]}})
    with pytest.raises(InputError, match=r"row-1: frames 2 is no picture, or damaged: .*page\.png"):
        usable_rows(data)


@pytest.mark.parametrize("column", ["frames", "imagery"])
def test_damage_behind_the_header_names_the_row_when_it_comes(rows, tiny_processor, column, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)  # lmms-eval, where it is imported, sets it
    cut_off = {"bytes": PNG[: len(PNG) // 2], "path": None}
    data = usable_rows(rows({2: {"frames": [PICTURE] * 2, "imagery": [PICTURE] * 2, column: [PICTURE, cut_off]}}))
    row = {**undecoded(data)[2], "question": "Which way?", "options": [], "timestamps": [0.0, 0.5]}
    with pytest.raises(InputError, match=rf"^row row-2: {column} 2 cannot be decoded .*leave the row out$"):
        DIFTCollator(tiny_processor, latent_size=4)([row])
    if column == "frames":
        with pytest.raises(InputError, match="^row row-2: frames 2 cannot be decoded"):
            encode_prompts(tiny_processor, [row])


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

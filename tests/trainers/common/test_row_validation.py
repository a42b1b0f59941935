"""A bad row is found before the first step, and named."""

import io
import json
import logging

import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Picture
from PIL import ImageFile

from fourdthinker.dataset_builders.schema import MLLM4D_FEATURES
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTCollator, DIFTConfig, LatentGRPOConfig
from fourdthinker.trainers.common.images import keep_images_encoded
from fourdthinker.trainers.common.row_validation import needs_masks, validate_rows
from fourdthinker.trainers.grpo.rollout import encode_prompts

from ...bad_rows import ELEVEN, OF_ANY_STAGE, OF_DIFT, OPTIONS, PICTURE, PNG

FEATURES = MLLM4D_FEATURES["mllm4d_sft"]
STAGES = ("dift", "grpo", "best-of-n", "eval")


@pytest.fixture
def rows(make_dift_row):
    """Rows of a data set; a change to a number's row can be given."""

    def make(changes=None, count=4):
        made = [{**make_dift_row(number, number % 3), **(changes or {}).get(number, {})} for number in range(count)]
        blank = dict.fromkeys(FEATURES)
        return Dataset.from_list([{**blank, **row} for row in made], features=FEATURES)

    return make


CASES = [
    *(pytest.param(STAGES, *case, id=name) for name, case in OF_ANY_STAGE.items()),
    *(pytest.param(("dift",), *case, id=name) for name, case in OF_DIFT.items()),
    pytest.param(("best-of-n", "eval"), {"task": None}, "task is null: write a text", id="null task"),
    *(
        pytest.param(
            ("grpo", "best-of-n"), {name: [[0.0, 1.0], None]}, f"{name} holds [[0.0, 1.0], None]: write", id=name
        )
        for name in ("camera_centers", "object_centers")
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("stages", "change", "words"), CASES)
def test_a_bad_row_is_named_or_left_out(rows, caplog, stages, change, words):
    data = rows({2: {"frames": [PICTURE] * 2, "timestamps": [0.0, 0.5], **change}})
    name = "number 3" if "id" in change else "row-2"
    for stage in stages:
        caplog.clear()
        with pytest.raises(InputError, match=f"1 of 4 rows cannot be .*; the first is {name}: ") as caught:
            validate_rows(data, stage)
        assert words in str(caught.value) and str(caught.value).endswith("(--on-bad-row skip leaves them out)")
        with caplog.at_level(logging.WARNING):
            assert validate_rows(data, stage, "skip")["id"] == ["row-0", "row-1", "row-3"]
        assert f"row {name} is left out: " in caplog.text and words in caplog.text and "1 of 4 rows" in caplog.text


@pytest.mark.parametrize("stage", STAGES)
def test_two_options_to_ten_will_do(rows, stage):
    last = {n: "ABCDEFGHIJ"[n - 1] for n in range(2, 11)}
    said = {n: "<output_image>" * (n % 3) + f"<answer>{letter}</answer>" for n, letter in last.items()}
    data = rows({n: {"options": ELEVEN[:n], "answer": last[n], "response": said[n]} for n in last}, count=11)
    assert validate_rows(data, stage) is data


def test_rows_without_options_have_them_in_the_question(rows):
    """As the published rows do, of which those of `dift` have their answer in the response alone."""
    unlisted = {"options": [], "answer": ""}
    answered = {"answer": "D", "response": "<output_image><output_image><answer>D</answer>"}
    assert len(validate_rows(rows({1: unlisted, 2: unlisted | answered}), "dift")) == 4
    for answer in ("", "E", None):
        with pytest.raises(InputError, match="row-1: answer .* an option: write one of A, B, C, D"):
            validate_rows(rows({1: {**unlisted, "answer": answer}}), "grpo")


def test_a_row_that_ends_in_its_imagery_needs_no_answer(rows):
    unanswered = {"answer": "", "response": "<think>I picture it <output_image>, then <output_image>"}
    assert len(validate_rows(rows({2: unanswered}), "dift")) == 4
    with pytest.raises(InputError, match="row-2: answer 'E' is not the letter of the 4 options"):
        validate_rows(rows({2: unanswered | {"answer": "E"}}), "dift")


@pytest.mark.parametrize("masks", [None, []])
def test_masks_are_asked_for_where_they_are_needed(rows, masks):
    data = rows({1: {"imagery_masks": masks}})
    assert len(validate_rows(data, "dift")) == 4
    with pytest.raises(InputError, match="row-1: imagery_masks has 0, imagery 1: write one mask for each frame"):
        validate_rows(data, "dift", masks=True)


@pytest.mark.parametrize(
    ("stage", "column"),
    [("dift", "imagery"), ("dift", "id"), ("grpo", "answer"), ("eval", "timestamps"), ("best-of-n", "camera_centers")],
)
def test_a_missing_column_is_named(rows, stage, column):
    with pytest.raises(InputError, match=f"have no column {column}: make them with `fourdthinker build-data`"):
        validate_rows(rows().remove_columns(column), stage, "skip")


@pytest.mark.parametrize("column", ["frames", "imagery"])
def test_a_column_of_no_images_is_named(rows, column):
    data = rows()
    words = Dataset.from_dict({column: [["a.png"]] * len(data)})
    data = data.remove_columns(column).add_column(column, words[column], feature=words.features[column])
    with pytest.raises(InputError, match=f"the column {column} holds list.*, no images: make the rows again"):
        validate_rows(data, "dift")


def test_rows_that_have_no_names_are_counted(rows):
    with pytest.raises(InputError, match="the first is number 2: question is null"):
        validate_rows(rows({1: {"question": None}}).remove_columns("id"), "grpo")


def test_good_rows_are_all_kept_whatever_is_decoded_of_them(rows):
    data = rows()
    assert all(validate_rows(data, stage) is data for stage in STAGES)
    undecoded = data.cast_column("frames", List(Image(decode=False)))
    assert validate_rows(undecoded.select([2, 0]), "dift")["id"] == ["row-2", "row-0"]


def test_a_video_will_do_for_frames_and_its_row_is_not_read(tmp_path, caplog, make_video):
    make_video(tmp_path / "there.mp4", 2)
    (tmp_path / "page.mp4").write_bytes(b"<html>not found</html>")
    (tmp_path / "empty.mp4").touch()
    whole = (tmp_path / "there.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    names = ("there.mp4", "gone.mp4", ".", "page.mp4", "empty.mp4", "half.mp4")
    files = [*(str(tmp_path / name) for name in names), None]
    of_text = dict.fromkeys(("id", "question", "answer", "video"), Value("string"))
    lists = {"frames": List(Image()), "timestamps": List(Value("float64")), "options": List(Value("string"))}
    features = Features({**of_text, **lists})
    columns = {"question": "Which way?", "options": OPTIONS, "answer": "A", "frames": [], "timestamps": []}
    named = [{"id": f"row-{number}", "video": file, **columns} for number, file in enumerate(files)]

    def decoding(batch):
        raise AssertionError("a row was read")

    data = Dataset.from_list(named, features=features).with_transform(decoding)
    with pytest.raises(InputError, match=r"6 of 7 .* the first is row-1: its video is not there: .*gone\.mp4"):
        validate_rows(data, "grpo")
    with caplog.at_level(logging.WARNING):
        left = validate_rows(data, "grpo", "skip")
    assert list(left.with_format(None)["id"]) == ["row-0"]
    assert "row-2 is left out: its video is not there" in caplog.text
    for number, name in ((3, "page.mp4"), (4, "empty.mp4"), (5, "half.mp4")):
        assert f"row-{number} is left out: its video is damaged: {tmp_path / name}" in caplog.text
    assert "row-6 is left out: it has no frames" in caplog.text
    with pytest.raises(AssertionError, match="a row was read"):  # what is left is decoded as before
        left[0]


def test_a_file_that_is_no_image_is_named(rows, tmp_path):
    (tmp_path / "page.png").write_text("<html>not found</html>")
    data = rows({1: {"frames": [PICTURE, {"bytes": None, "path": str(tmp_path / "page.png")}]}})
    with pytest.raises(InputError, match=r"row-1: frames 2 is no image, or damaged: .*page\.png"):
        validate_rows(data, "dift")


def test_photos_are_compared_as_they_are_shown(rows):
    upright, lying = Picture.new("RGB", (40, 60)), Picture.new("RGB", (60, 40))
    exif = lying.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    files = [io.BytesIO(), io.BytesIO()]
    upright.save(files[0], "JPEG")
    lying.save(files[1], "JPEG", exif=exif)
    frames = [{"bytes": file.getvalue(), "path": None} for file in files]
    validate_rows(rows({1: {"frames": frames, "timestamps": [0.0, 0.5]}}), "dift")


@pytest.mark.parametrize("column", ["frames", "imagery"])
def test_damage_behind_the_header_names_the_row_when_it_comes(rows, tiny_processor, column, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)  # lmms-eval, where it is imported, sets it
    cut_off = {"bytes": PNG[: len(PNG) // 2], "path": None}
    whole = {"frames": [PICTURE] * 2, "imagery": [PICTURE] * 2, "timestamps": [0.0, 0.5]}
    data = validate_rows(rows({2: {**whole, column: [PICTURE, cut_off]}}), "dift")
    row = keep_images_encoded(data)[2]
    with pytest.raises(InputError, match=rf"^row row-2: {column} 2 cannot be decoded .*leave the row out$"):
        DIFTCollator(tiny_processor, latent_size=4)([row])
    if column == "frames":
        with pytest.raises(InputError, match="^row row-2: frames 2 cannot be decoded"):
            encode_prompts(tiny_processor, [row])


NAMED_BY_USE = ["null question", "video pad", "null options", "one option", "eleven options", "unequal frames"]
NAMED_BY_USE += ["null times", "infinite time", "equal times", "a time too few", "no frames"]


@pytest.mark.medium
@pytest.mark.parametrize("name", NAMED_BY_USE)
def test_rows_that_were_not_looked_through_are_named_by_what_uses_them(
    tiny_model, tiny_processor, make_dift_row, name
):
    """As in a stream, or where a trainer is called from Python."""
    case, words = OF_ANY_STAGE[name]
    frames = {"frames": [PICTURE] * 2, "timestamps": [0.0, 0.5]}
    rows = [make_dift_row(0), make_dift_row(1, **{**frames, **case})]
    uses = [DIFTCollator(tiny_processor, latent_size=4), lambda rows: encode_prompts(tiny_processor, rows)]
    if "times" not in name and "time" not in name and "frames" not in name:
        # Of a video that cannot be shown, evaluation counts the row as missing.
        uses.append(lambda rows: predict(tiny_model, tiny_processor, rows, max_new_tokens=1, progress=False))
    for use in uses:
        with pytest.raises(InputError) as caught:
            use(rows)
        assert str(caught.value).startswith("row row-1: ") and words.partition(":")[0].removeprefix("no ") in str(
            caught.value
        )


@pytest.mark.parametrize(
    ("settings", "saved", "needed"),
    [
        ({}, {}, False),
        ({"latent_pooling": "region"}, {}, True),
        ({}, {"latent_pooling": "region"}, True),
        ({"latent_pooling": "grid"}, {"latent_pooling": "region"}, False),
        ({"drop_imagery": True}, {"latent_pooling": "region"}, False),
    ],
)
def test_masks_are_needed_for_pooling_by_region(tmp_path, settings, saved, needed):
    (tmp_path / "config.json").write_text(json.dumps(saved))
    assert needs_masks(DIFTConfig(str(tmp_path), use_cpu=True, bf16=False, **settings), str(tmp_path)) is needed
    assert not needs_masks(LatentGRPOConfig(str(tmp_path), use_cpu=True, bf16=False), str(tmp_path))


def test_files_that_are_there_will_do(rows, make_dift_row, tmp_path):
    make_dift_row(0)["frames"][0].save(tmp_path / "frame.png")
    one = {"frames": [{"bytes": None, "path": str(tmp_path / "frame.png")}], "timestamps": [0.0]}
    data = rows({1: one})
    assert len(validate_rows(data, "dift")) == 4


def test_no_row_left_is_an_error(rows):
    with pytest.raises(InputError, match="none is left"):
        validate_rows(rows({number: {"frames": []} for number in range(4)}), "dift", "skip")


@pytest.mark.medium
def test_many_rows_are_counted_over_batches(rows):
    few = rows({3: {"frames": []}})
    data = few.select([3 if number in (3, 1001, 1500) else number % 3 for number in range(1600)])
    assert len(validate_rows(data, "dift", "skip")) == 1597

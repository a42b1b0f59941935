"""The card of a built data set: what its files hold, a row with its pictures, how to build it again."""

import json
import shutil

import numpy as np
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard
from PIL import Image

from fourdthinker.dataset_builders.fourd_cot import write_dataset
from fourdthinker.dataset_builders.gates.report import Gate, GateReport, write_section
from fourdthinker.hub_cards import dataset_card, write_dataset_card
from fourdthinker.hub_cards.build_record import record_build
from fourdthinker.modeling.errors import InputError


def make_row(number: int, letter: str = "B", task: str = "camera_motion", question: str = "Which way?") -> dict:
    draw = np.random.default_rng(number)
    images = [Image.fromarray(draw.integers(0, 255, (90, 160, 3), dtype=np.uint8)) for _ in range(9)]
    return {
        "id": f"row-{number}",
        "source": "walk.mp4",
        "task": task,
        "question": question,
        "options": ["left", "right", "up", "down"],
        "answer": letter,
        "frames": images[:8],
        "timestamps": [index / 2 for index in range(8)],
        "facts": json.dumps({"metres": 1.5, "licence": "cc-by-nc-sa-4.0"}),
        "response": "<think>I see <output_image>. It is right</think><answer>B. right</answer>",
        "imagery": images[8:],
        "imagery_timestamps": [0.4],
        "imagery_masks": [images[8].convert("L").point(lambda value: 255 * (value > 128))],
    }


def build(folder, rows):
    folder.mkdir(exist_ok=True)

    def card(written):
        licence = "cc-by-nc-sa-4.0"
        return str(dataset_card(written.files, written.counts, license=licence, contents=written.contents))

    splits = {"train": rows, "test": rows[:1]}
    for name in ("dift", "grpo"):
        shutil.rmtree(folder / name, ignore_errors=True)
    write_dataset({"dift": splits, "grpo": {"train": rows}}, folder, card)
    command = ["fourdthinker", "build-data", "--source", "videos", "--seed", "3", "--output", "data"]
    record_build(folder, command, 3, {"SpatialVID": ["cc-by-nc-sa-4.0"]}, "Walks through a town.")
    return folder


@pytest.fixture
def folder(tmp_path):
    return build(tmp_path / "data", [make_row(0), make_row(1, "C"), make_row(2, "B", "object_motion")])


def test_the_card_says_what_is_in_the_files(folder, tmp_path):
    path = write_dataset_card(folder, "v1", "org/walks")
    text, data = path.read_text(), DatasetCard.load(path).data
    assert '"org/walks", "dift", revision="v1"' in text and str(tmp_path) not in text
    assert "| camera_motion | 2 | 1 | 2 |" in text and "| object_motion | 1 | 0 | 1 |" in text
    assert "| dift, train | 66.7 | 33.3 |" in text, "of letters that are right"
    assert "cc-by-nc-sa-4.0 (4)" in text and "no commercial use" in text and "- SpatialVID: cc-by-nc-sa-4.0" in text
    assert "fourdthinker build-data --source videos --seed 3 --output data" in text and "Seed 3, fourdthinker" in text
    assert "Walks through a town." in text and "@article{chen2026fourdthinker," in text and "\n\n\n" not in text
    assert data.language == "en" and data.annotations_creators == ["machine-generated"]
    dift = next(info for info in data.dataset_info if info["config_name"] == "dift")
    assert [(split["name"], split["num_examples"]) for split in dift["splits"]] == [("train", 3), ("test", 1)]
    assert dift["download_size"] == sum(path.stat().st_size for path in (folder / "dift").iterdir())


def test_one_whole_row_is_shown_with_its_pictures(folder):
    text = write_dataset_card(folder).read_text()
    assert "](assets/row.jpg)" in text and "metres: 1.5" in text and "I see <output_image>" in text
    sheet = folder / "assets" / "row.jpg"
    assert sheet.stat().st_size <= 1_000_000
    with Image.open(sheet) as image:
        assert image.width == 720 and image.height > 4 * 90, "two lines of frames, one of imagery, one of masks"


def test_the_default_configuration_and_the_columns_load_as_they_are(folder, tmp_path):
    write_dataset_card(folder)
    rows = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["id"] == ["row-0", "row-1", "row-2"] and "response" in rows.column_names
    assert len(rows[0]["frames"]) == 8


def test_rows_built_anew_under_the_same_names_are_seen(folder, tmp_path):
    cache = str(tmp_path / "cache")
    write_dataset_card(folder)
    before = sorted(path.name for path in (folder / "dift").iterdir())
    assert load_dataset(str(folder), "grpo", split="train", cache_dir=cache)["question"] == ["Which way?"] * 3
    build(folder, [make_row(0, question="And now?"), make_row(1), make_row(2)])
    write_dataset_card(folder)
    assert sorted(path.name for path in (folder / "dift").iterdir()) == before, "no hash in a name"
    assert load_dataset(str(folder), "grpo", split="train", cache_dir=cache)["question"][0] == "And now?"


def test_gates_and_own_words_stay_where_they_are(folder):
    path = write_dataset_card(folder)
    path.write_text(path.read_text() + "\n## Thanks\n\nTo you.\n")
    for found in (0.5, 0.25):
        write_section(folder, GateReport((Gate("camera_motion", "first frame", "pass", 3, 0.25, found),)))
        write_dataset_card(folder, "v2", "org/walks")
    text = path.read_text()
    assert text.count("## Gates") == 1 and "25.0 %" in text and "50.0 %" not in text
    assert text.index("## Gates") < text.index("<!-- end of the generated card -->") < text.index("## Thanks")
    assert text.count("## Thanks") == 1 and 'revision="v2"' in text


def test_a_card_of_somebody_else_is_left_alone_and_a_missing_file_named(folder):
    write_dataset_card(folder)
    next((folder / "grpo").iterdir()).unlink()
    with pytest.raises(InputError, match=r"train-00000-of-00001\.parquet cannot be read"):
        write_dataset_card(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    write_dataset_card(folder)
    assert (folder / "README.md").read_text().endswith("# Mine\n")

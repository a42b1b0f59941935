"""`FourDCoT`: rows to Parquet that plain `load_dataset` reads, whole or not at all."""

import re
import subprocess
import sys

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image
from pyarrow import parquet

from fourdthinker.dataset_builders.fourd_cot import FourDCoT, build_world, write_dataset
from fourdthinker.dataset_builders.schema import DIFT_FEATURES, GRPO_FEATURES
from fourdthinker.modeling.atomic import atomic_dir
from fourdthinker.modeling.errors import InputError

COLUMNS = ["id", "source", "task", "question", "options", "answer", "frames", "timestamps", "facts"]
BUILD = """
import sys
from pathlib import Path
from fourdthinker.dataset_builders.fourd_cot import build_world
build_world(Path(sys.argv[1]), {"train": 2, "test": 2})
"""


def make_row(number, task="camera_motion"):
    draw = np.random.default_rng(number)
    images = [Image.fromarray(draw.integers(0, 255, (28, 28, 3), dtype=np.uint8)) for _ in range(3)]
    return {
        "id": f"row-{number}",
        "source": "test",
        "task": task,
        "question": f"Which way, {number}?",
        "options": ["left", "right", "up", "down"],
        "answer": "B",
        "frames": images[:2],
        "timestamps": [0.0, 0.4],
        "facts": "{}",
        "response": "<think>I see <output_image>. It is right</think><answer>B. right</answer>",
        "imagery": images[2:],
        "imagery_timestamps": [0.4],
    }


@pytest.fixture
def load(tmp_path):
    """`load_dataset` with a cache of its own, the same for every call of a test."""
    return lambda folder, name, **kwargs: load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache"), **kwargs)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pytest.importorskip("pybullet", reason="needs the extra `world`")
    folder = tmp_path_factory.mktemp("built") / "data"
    with atomic_dir(folder) as building:
        written = build_world(building, {"train": 2, "test": 2})
    return folder, written


@pytest.mark.medium
def test_a_built_world_loads_plainly_with_the_columns_of_each_configuration(built, load):
    folder, written = built
    dift, grpo = load(folder, "dift"), load(folder, "grpo")
    assert dift["train"].column_names == [*COLUMNS, "response", "imagery", "imagery_timestamps", "imagery_masks"]
    assert grpo["train"].column_names == COLUMNS
    assert dift["test"].features == DIFT_FEATURES and grpo["test"].features == GRPO_FEATURES
    assert written.counts == {name: {"train": 4, "test": 4} for name in ("dift", "grpo")}
    assert {split: len(rows) for split, rows in dift.items()} == written.counts["dift"]
    row = dift["train"][0]
    assert [frame.size for frame in row["frames"]] == [(56, 56)] * 8 and len(row["imagery"]) == 2
    assert row["timestamps"] == [number / 2 for number in range(8)]


@pytest.mark.medium
def test_reinforcement_learns_from_other_clips_and_is_tested_on_the_same(built, load):
    folder, _ = built
    dift, grpo = load(folder, "dift"), load(folder, "grpo")
    clips = {name: {row.split("-")[1] for row in rows["train"]["id"]} for name, rows in (("d", dift), ("g", grpo))}
    assert not clips["d"] & clips["g"]
    assert dift["test"]["id"] == grpo["test"]["id"] and not set(dift["test"]["id"]) & set(dift["train"]["id"])


@pytest.mark.medium
def test_nothing_lies_in_the_folder_but_the_card_and_the_files_that_it_names(built):
    folder, written = built
    listed = {path for splits in written.files.values() for paths in splits.values() for path in paths}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"README.md", *listed}
    card = (folder / "README.md").read_text()
    assert all(path in card for path in listed) and str(folder.parent) not in card
    assert all(re.fullmatch(r"(dift|grpo)/(train|test)-00000-of-00001\.parquet", path) for path in listed)
    assert [path for path in folder.parent.iterdir() if path != folder] == []


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(built, tmp_path):
    folder, written = built
    subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], check=True, capture_output=True)
    for splits in written.files.values():
        for path in (path for paths in splits.values() for path in paths):
            assert (tmp_path / path).read_bytes() == (folder / path).read_bytes()


def test_rows_come_back_as_they_were_given(tmp_path, load):
    rows = [make_row(number) for number in range(3)]
    write_dataset({"dift": {"train": rows}, "grpo": {"train": iter(rows[:2])}}, tmp_path)
    for row, read in zip(rows, load(tmp_path, "dift", split="train"), strict=True):
        for name in ("frames", "imagery"):
            assert [image.tobytes() for image in read[name]] == [image.tobytes() for image in row[name]]
        assert read["imagery_masks"] is None, "rows from elsewhere may do without"
        assert {k: v for k, v in read.items() if k not in ("frames", "imagery", "imagery_masks")} == {
            k: v for k, v in row.items() if k not in ("frames", "imagery")
        }
    assert load(tmp_path, "grpo", split="train")["id"] == ["row-0", "row-1"]


def test_few_rows_are_in_memory_at_once_when_they_are_written_and_read(tmp_path):
    """Rows carry a dozen pictures, and Parquet is written and read by row groups."""
    write_dataset({"dift": {"train": map(make_row, range(50))}}, tmp_path)
    metadata = parquet.read_metadata(next(tmp_path.glob("dift/*.parquet")))
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [20, 20, 10]


def test_rows_written_anew_are_seen_though_the_old_ones_were_cached(tmp_path, load):
    for question in ("Old?", "New?"):
        with atomic_dir(tmp_path / "data") as folder:
            write_dataset({"grpo": {"train": [{**make_row(0), "question": question}]}}, folder)
        assert load(tmp_path / "data", "grpo", split="train")["question"] == [question]


def test_a_split_is_not_taken_for_another_whose_name_begins_the_same(tmp_path, load):
    splits = {"test": [make_row(0)], "test_hard": [make_row(1), make_row(2)]}
    written = write_dataset({"grpo": splits}, tmp_path)
    assert written.counts == {"grpo": {"test": 1, "test_hard": 2}}
    assert {split: rows["id"] for split, rows in load(tmp_path, "grpo").items()} == {
        "test": ["row-0"], "test_hard": ["row-1", "row-2"]
    }  # fmt: skip


def test_the_card_is_made_of_what_was_written(tmp_path, load):
    def card(written):
        (path,) = written.files["grpo"]["train"]
        return f"---\nconfigs:\n- config_name: grpo\n  data_files: {path}\n---\n{written.counts['grpo']['train']} rows"

    write_dataset({"grpo": {"train": [make_row(0)]}}, tmp_path, card)
    assert (tmp_path / "README.md").read_text().endswith("1 rows")
    assert len(load(tmp_path, "grpo", split="train")) == 1


@pytest.mark.parametrize("rows", [{"train": []}, {"train": [make_row(0)], "test": []}])
def test_an_empty_split_is_rejected_and_leaves_nothing(tmp_path, rows):
    with (
        pytest.raises(InputError, match="'dift' would have no rows in its split"),
        atomic_dir(tmp_path / "d") as folder,
    ):
        write_dataset({"dift": rows}, folder)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_end_in_bad_input_say_so_in_one_line_and_leave_nothing(tmp_path):
    def rows():
        yield make_row(0)
        raise InputError("clip 2 is broken")

    with pytest.raises(InputError, match="^clip 2 is broken$"), atomic_dir(tmp_path / "data") as folder:
        write_dataset({"grpo": {"train": rows()}}, folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "ids"),
    [("camera", ["row-0", "row-2"]), ("object", ["row-1"]), ("dift", ["row-0", "row-1", "row-2"])],
)
def test_the_configurations_of_one_task_hold_that_task_alone(tmp_path, name, ids):
    rows = [make_row(0), make_row(1, "object_motion"), make_row(2)]
    builder = FourDCoT(config_name=name, rows={"train": rows}, cache_dir=str(tmp_path))
    builder.download_and_prepare()
    made = builder.as_dataset(split="train")
    assert made["id"] == ids and made.features == DIFT_FEATURES


def test_other_rows_are_never_taken_from_the_cache(tmp_path):
    for number in range(2):
        builder = FourDCoT(config_name="grpo", rows={"train": [make_row(number)]}, cache_dir=str(tmp_path))
        builder.download_and_prepare()
        assert builder.as_dataset(split="train")["id"] == [f"row-{number}"]


@pytest.mark.slow
def test_the_builder_renders_the_world_itself(tmp_path):
    pytest.importorskip("pybullet", reason="needs the extra `world`")
    builder = FourDCoT(config_name="object", questions=3, held_out=2, cache_dir=str(tmp_path))
    builder.download_and_prepare()
    made = builder.as_dataset()
    assert {split: set(rows["task"]) for split, rows in made.items()} == dict.fromkeys(
        ("train", "test"), {"object_motion"}
    )
    assert len(made["train"]) == 3 and len(made["test"]) == 2

"""Reading rows with pictures back, a row group at a time."""

import io
import time

import numpy as np
import pyarrow
import pytest
from PIL import Image

from fourdthinker.dataset_builders.fourd_cot import write_dataset
from fourdthinker.dataset_builders.parquet_rows import stream_parquet
from fourdthinker.modeling.images import decode_image

SIDE = 100  # pixels, of 30 kB a picture
ROWS = 120


def make_row(number):
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    image = {"bytes": encoded.getvalue(), "path": None}
    return {
        "id": f"row-{number}", "source": "test", "task": "camera_motion", "question": "Which way?",
        "options": ["left", "right"], "answer": "B", "frames": [image, image], "timestamps": [0.0, 0.4],
        "facts": '{"names": ["cup"]}', "response": "<answer>B. right</answer>", "imagery": [],
        "imagery_timestamps": [],
    }  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    written = write_dataset({"dift": {"train": map(make_row, range(ROWS))}}, folder)
    return [folder / path for path in written.files["dift"]["train"]]


def test_rows_come_back_in_order_with_their_images_as_files(files):
    rows = list(stream_parquet(files))
    assert [row["id"] for row in rows] == [f"row-{number}" for number in range(ROWS)]
    assert rows[3]["frames"] == make_row(3)["frames"] and rows[3]["imagery_masks"] is None
    assert rows[3]["facts"] == make_row(3)["facts"]


def test_columns_are_left_out_and_images_decode(files):
    row = next(stream_parquet(files, ["frames", "id", "no such column"]))
    assert row.keys() == {"id", "frames"} and decode_image(row["frames"][1]).size == (SIDE, SIDE)


def test_one_row_group_is_in_memory_however_slowly_rows_are_taken(files):
    """Arrow's own scan, which `load_dataset` streams by, would hold all the file by now."""
    size = 20 * sum(len(frame["bytes"]) for frame in make_row(0)["frames"])  # of a row group
    before = pyarrow.total_allocated_bytes()
    rows = stream_parquet(files)
    next(rows)
    time.sleep(0.5)
    assert size <= pyarrow.total_allocated_bytes() - before < 2.5 * size < sum(file.stat().st_size for file in files)
    rows.close()

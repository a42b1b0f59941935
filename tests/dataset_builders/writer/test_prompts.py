"""What a model is shown and told."""

import io
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pydantic", reason="schemas of answers need the data extra")
pytest.importorskip("pycocotools", reason="masks need the data extra")
from fourdthinker.dataset_builders.geometry.masks import encode_mask  # noqa: E402
from fourdthinker.dataset_builders.writer.prompts import frame_object, name_messages, refusal_messages  # noqa: E402


@pytest.mark.parametrize(
    ("size", "box", "scale"),
    [
        ((256, 192), (100, 70, 148, 118), 1.0),
        ((256, 192), (0, 0, 20, 30), 1.0),  # in a corner
        ((256, 192), (255, 191, 256, 192), 1.0),  # one pixel
        ((1920, 1080), (100, 50, 1800, 1000), 512 / 1920),  # shown smaller
    ],
)
def test_a_line_goes_round_the_thing_in_the_part_that_shows_it(size, box, scale):
    left, top, right, bottom = box
    mask = np.zeros(size[::-1], bool)
    mask[top:bottom, left:right] = True
    shown = Image.open(io.BytesIO(frame_object(Image.new("RGB", size, (90, 90, 90)), encode_mask(mask))))
    pixels = np.asarray(shown.convert("RGB")).astype(int)
    rows, columns = np.nonzero((pixels[..., 1] > 200) & (pixels[..., 0] < 60))
    assert shown.width <= min(size[0], 512) and shown.height <= min(size[1], 512) and rows.size
    assert shown.size != size
    assert np.ptp(columns) <= (right - left) * scale + 6 and np.ptp(rows) <= (bottom - top) * scale + 6
    inside = pixels[(rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2]
    assert right - left < 5 or np.abs(inside - 90).max() < 12, "the thing itself is not painted over"


def test_the_picture_travels_in_the_message():
    (message,) = name_messages(b"bytes")
    assert message["content"][1]["image_url"]["url"] == "data:image/jpeg;base64,Ynl0ZXM="
    assert json.dumps(message)


def test_a_long_answer_is_not_sent_back_whole():
    told = refusal_messages("x" * 100_000, "y" * 100_000)
    assert sum(len(message["content"]) for message in told) < 2500

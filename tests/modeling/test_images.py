"""Images are decoded as people see them: upright, with their upper eight bits."""

import io

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value
from datasets import Image as ImageFeature
from PIL import Image, ImageOps

from fourdthinker.modeling.images import decode_image
from fourdthinker.modeling.processing import row_pictures
from fourdthinker.trainers.common.images import keep_images_encoded

ORIENTATION = 0x0112


def gradient(dtype=np.uint8, top=255) -> np.ndarray:
    return (np.linspace(0, top, 40)[:, None] * np.linspace(0, 1, 80)[None]).astype(dtype)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_photo_is_applied_as_datasets_does(tmp_path, orientation):
    photo = Image.fromarray(gradient())
    exif = photo.getexif()
    exif[ORIENTATION] = orientation
    photo.save(tmp_path / "photo.png", exif=exif)
    features = Features({"id": Value("string"), "frames": List(ImageFeature())})
    rows = Dataset.from_dict({"id": ["row"], "frames": [[str(tmp_path / "photo.png")]]}, features=features)
    (ours,) = row_pictures(keep_images_encoded(rows)[0], "frames")
    assert ours.size == rows[0]["frames"][0].size == ((80, 40) if orientation < 5 else (40, 80))
    assert np.array_equal(np.asarray(ours), np.asarray(rows[0]["frames"][0].convert("RGB")))
    (again,) = row_pictures(rows[0], "frames")  # already upright: not turned twice
    assert np.array_equal(np.asarray(again), np.asarray(ours))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_keep_their_upper_eight(tmp_path, suffix):
    deep = gradient(np.uint16, 65535)
    Image.fromarray(deep).save(tmp_path / f"deep.{suffix}")
    decoded = decode_image({"path": str(tmp_path / f"deep.{suffix}"), "bytes": None})
    assert decoded.mode == "RGB"
    assert np.array_equal(np.asarray(decoded)[..., 0], deep >> 8)


def test_linear_values_span_the_range(tmp_path):
    Image.fromarray(gradient(np.float32, 1.0)).save(tmp_path / "linear.tiff")
    decoded = np.asarray(decode_image(Image.open(tmp_path / "linear.tiff")))
    assert decoded.max() == 255 and np.abs(decoded[..., 0].astype(int) - gradient()).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "1"])
def test_other_modes_are_as_pil_converts_them(mode):
    image = Image.fromarray(gradient()).convert("RGB").convert(mode)
    assert np.array_equal(np.asarray(decode_image(image)), np.asarray(image.convert("RGB")))


def test_an_image_in_memory_is_decoded():
    buffer = io.BytesIO()
    ImageOps.invert(Image.fromarray(gradient())).save(buffer, "PNG")
    assert decode_image({"bytes": buffer.getvalue(), "path": None}).size == (80, 40)

"""Objects from instance masks beside a clip: numbers, names, gaps, and what is no mask."""

import zlib

import numpy as np
import pytest
from PIL import Image

from fourdthinker.dataset_builders.clip_error import ClipError
from fourdthinker.dataset_builders.geometry.masks import decode_mask
from fourdthinker.dataset_builders.sources.mask_files import mask_folder, read_mask_files

SIZE = (32, 24)


@pytest.fixture
def masks(tmp_path):
    """Objects 1 and 3 in frames 0, 2 and 5 of a video; 3 is missing from frame 2."""
    folder = mask_folder(tmp_path / "clip.mp4")
    folder.mkdir()
    for number in (0, 2, 5):
        picture = np.zeros((24, 32), np.uint8)
        picture[4:10, 2 + number : 8 + number] = 1
        picture[14:20, 20:28] = 0 if number == 2 else 3
        Image.fromarray(picture).save(folder / f"{number:05d}.png")
    return folder


def test_each_number_is_an_object(masks):
    first, second = read_mask_files(masks, [0, 2, 4, 5], SIZE, ["black dog"])
    assert (masks.name, first.name, second.name) == ("clip.masks", "black dog", "object 3")
    assert first.sure.tolist() == [True, True, False, True] and first.masks[2] is None
    assert second.sure.tolist() == [True, False, False, True]
    found = decode_mask(first.masks[1])
    assert found.sum() == 36 and found[4:10, 4:10].all()


def test_names_beside_the_masks_and_another_size(masks):
    (masks / "names.txt").write_text("1: dog: black\n\n3: red ball \nnonsense\n", encoding="utf-8")
    tracks = read_mask_files(masks, [0], (64, 48))
    assert [track.name for track in tracks] == ["dog: black", "red ball"]
    assert tracks[0].masks[0]["size"] == [48, 64] and decode_mask(tracks[0].masks[0]).sum() == 4 * 36


def test_names_in_another_form_are_refused(masks):
    (masks / "names.txt").write_text("brown dog\n", encoding="utf-8")
    with pytest.raises(ClipError, match="names.txt names no object"):
        read_mask_files(masks, [0], SIZE)
    (masks / "names.txt").write_text("\n", encoding="utf-8")
    assert read_mask_files(masks, [0], SIZE)[0].name == "object 1"


def test_palettes_are_numbers(masks):
    picture = Image.open(masks / "00000.png").convert("P")
    picture.putdata(np.asarray(Image.open(masks / "00000.png")).ravel().tolist())
    picture.putpalette([0, 0, 0, 250, 10, 10, 10, 250, 10, 9, 9, 9])
    picture.save(masks / "00000.png")
    assert [int(decode_mask(track.masks[0]).sum()) for track in read_mask_files(masks, [0], SIZE)] == [36, 48]


def test_a_number_that_goes_over_to_another_object_is_not_followed(tmp_path):
    for number in range(8):
        picture = np.zeros((24, 32), np.uint8)
        if number < 4:
            picture[2:5, 2 + number : 5 + number] = 1
        else:
            picture[8:24, 16:32] = 1
        picture[20:22, 3 * number : 3 * number + 2] = 2  # small and fast, and one object all the same
        Image.fromarray(picture).save(tmp_path / f"{number:05d}.png")
    jumped, fast = read_mask_files(tmp_path, list(range(8)), SIZE)
    assert jumped.sure.tolist() == [True] * 4 + [False] + [True] * 3
    assert fast.sure.all()


def test_masks_of_nothing_of_everything_and_of_large_numbers(tmp_path):
    for number, picture in enumerate((np.zeros((24, 32)), np.full((24, 32), 40_000))):
        Image.fromarray(picture.astype(np.uint16)).save(tmp_path / f"{number:05d}.png")
    (everything,) = read_mask_files(tmp_path, [0, 1], SIZE)
    assert everything.name == "object 40000" and everything.sure.tolist() == [False, True]
    assert decode_mask(everything.masks[1]).all()
    assert read_mask_files(tmp_path, [0], SIZE) == []


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels and holds none."""
    size = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    data = b"IDAT" + zlib.compress(b"")
    chunks = [len(part[4:]).to_bytes(4, "big") + part + zlib.crc32(part).to_bytes(4, "big") for part in (size, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (png_header(20_000, 20_000), "00000.png has more pixels than an 8K frame"),
        (png_header(8_000, 6_000), "00000.png has more pixels than an 8K frame"),
        (None, "no mask for frames 0 to 7"),
        (b"\x89PNG\r\n\x1a\n and no more", "00000.png cannot be read as a PNG"),
        (Image.new("RGB", SIZE), "has colours"),
        (Image.new("L", (24, 32)), "00000.png is 24x32, the frames are 32x24"),
    ],
)
def test_what_is_no_mask_is_named(tmp_path, picture, reason):
    if isinstance(picture, bytes):
        (tmp_path / "00000.png").write_bytes(picture)
    elif picture is not None:
        picture.save(tmp_path / "00000.png")
    with pytest.raises(ClipError, match=reason) as caught:
        read_mask_files(tmp_path, [0, 7], SIZE)
    assert caught.value.code == "damaged"

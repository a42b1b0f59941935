"""Rows that name a video: its frames come when the row is read, the same as by every other way, and not before."""

import pickle
from fractions import Fraction

import pytest
from datasets import Dataset, Features, Image, List, Value

from fourdthinker.dataset_builders import loading
from fourdthinker.dataset_builders.loading import decode_frames_when_read
from fourdthinker.dataset_builders.sources.video_reader import read_frames
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.processing import row_clip

FEATURES = Features(
    {
        "id": Value("string"),
        "frames": List(Image(decode=False)),
        "timestamps": List(Value("float64")),
        "video": Value("string"),
    }
)


def read_named(file):
    """The one row of a data set that names this file."""
    row = {"id": "row", "frames": [], "timestamps": [], "video": file}
    return decode_frames_when_read(Dataset.from_list([row], features=FEATURES))[0]


@pytest.fixture
def decoded(monkeypatch):
    """The files decoded so far."""
    files = []
    monkeypatch.setattr(loading, "read_frames", lambda file, **how: files.append(file) or read_frames(file, **how))
    return files


@pytest.fixture
def rows(tmp_path, make_video):
    """Two rows with videos of 3 and 2 s, and between them one with a frame of its own."""
    image = {"bytes": None, "path": str(tmp_path / "frame.png")}
    read_frames(make_video(tmp_path / "a.mp4", 3)).frames[0].save(image["path"])
    make_video(tmp_path / "b.mp4", 2, shade=100)
    named = [
        {"id": "a", "frames": [], "timestamps": [], "video": str(tmp_path / "a.mp4")},
        {"id": "still", "frames": [image], "timestamps": [0.0], "video": None},
        {"id": "b", "frames": [], "timestamps": [], "video": str(tmp_path / "b.mp4")},
    ]
    return decode_frames_when_read(Dataset.from_list(named, features=FEATURES))


def test_a_row_gets_one_frame_a_second_with_its_true_time(rows, tmp_path):
    clip, whole = row_clip(rows[0]), read_frames(tmp_path / "a.mp4")
    assert clip.timestamps == pytest.approx([0, 1, 2])
    assert [frame.tobytes() for frame in clip.frames] == [frame.tobytes() for frame in whole.frames[::4]]
    assert rows[1]["timestamps"] == [0.0] and len(row_clip(rows[1]).frames) == 1


def test_the_times_are_those_of_the_frames_and_not_the_asked_ones(tmp_path, make_video):
    file = make_video(tmp_path / "slow.mp4", 5, rate=Fraction(4, 5))
    assert read_named(file)["timestamps"] == pytest.approx([0, 1.25, 2.5])  # at 3 s the last is nearest again


def test_a_long_video_is_capped_and_spread(tmp_path, make_video):
    file = make_video(tmp_path / "long.mp4", 60, rate=2, size=(32, 32))
    row = read_named(file)
    assert len(row["frames"]) == len(row["timestamps"]) == 50
    assert row["timestamps"][0] == 0 and row["timestamps"][-1] == pytest.approx(59.5)


def test_nothing_is_decoded_before_its_row_is_read(rows, decoded, tmp_path):
    some = rows.select([2, 0, 1])
    assert len(some) == 3 and some.column_names == ["id", "frames", "timestamps", "video"]
    assert list(some.with_format(None)["id"]) == ["b", "a", "still"]
    assert some.select_columns(["id", "video"])[0]["id"] == "b"
    assert decoded == []
    assert row_clip(some[0]).timestamps == pytest.approx([0, 1])
    assert decoded == [str(tmp_path / "b.mp4")]


def test_copies_of_a_row_in_a_batch_share_one_decoding(rows, decoded):
    batch = rows.__getitems__([0, 0, 0, 1, 2, 2])
    assert [row["id"] for row in batch] == ["a", "a", "a", "still", "b", "b"]
    assert len(decoded) == 2
    assert batch[0]["frames"] is batch[2]["frames"] and batch[4]["frames"] is batch[5]["frames"]


def test_worker_processes_take_such_rows(rows):
    assert row_clip(pickle.loads(pickle.dumps(rows))[0]).timestamps == pytest.approx([0, 1, 2])


@pytest.mark.parametrize("content", [None, b"", b"no video", b"<html>"], ids=str)
def test_a_video_that_cannot_be_read_is_reported_with_its_row(rows, tmp_path, content):
    file = tmp_path / "b.mp4"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert row_clip(rows[0])
    with pytest.raises(InputError, match=r"^row b: .*b\.mp4"):
        rows[2]

"""Rows from raw clips: the right answer follows from the poses, names are safe, bad clips are told and left out."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.processing import Clip
from fourdthinker.modeling.tokens import IMAGERY_MARK, OPTION_LETTERS

pytest.importorskip("pycolmap", reason="rows of raw video need the data extra")
from fourdthinker.dataset_builders.geometry.poses import PoseError, Poses  # noqa: E402
from fourdthinker.dataset_builders.sources.raw_video import clip_rows, find_videos, safe_names, video_rows  # noqa: E402

VIDEOS = Path(__file__).parents[2] / "../shared/data/videos"


def moving(x=0.0, y=0.0, z=0.0, back=False, count=25, size=(640, 480)) -> tuple[Clip, Poses]:
    """A clip of 6 s and the poses of a camera that moves evenly, or there and back."""
    share = np.linspace(0, 1, count)
    if back:
        share = 1 - np.abs(2 * share - 1)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, 3] = share[:, None] * (x, y, z)
    frames = [Image.new("RGB", size, (10 * index, 0, 0)) for index in range(count)]
    clip = Clip(frames, np.linspace(0, 6, count).tolist())
    return clip, Poses(poses, np.eye(3), 4.0, np.ones(count, dtype=bool))


def right(row) -> str:
    return row["options"][OPTION_LETTERS.index(row["answer"])]


def test_rows_ask_for_the_clip_and_its_parts():
    rows = clip_rows(*moving(x=2.0), "a", "a.mp4")
    assert [row["id"] for row in rows] == ["a-camera-0-7", "a-camera-0-2", "a-camera-2-5", "a-camera-5-7"]
    for row in rows:
        assert right(row) == "Truck Right"
        assert len(set(row["options"])) == 4
        assert row["response"].count(IMAGERY_MARK) == len(row["imagery"]) == len(row["imagery_timestamps"]) == 2
        assert row["response"].endswith(f"<answer>{row['answer']}. Truck Right</answer>")
        assert len(row["frames"]) == len(row["timestamps"]) == 8
        start, end = row["imagery_timestamps"]
        assert row["imagery"][1] is row["frames"][row["timestamps"].index(end)]
        assert f"{start:.1f} s" in row["question"] and f"{end:.1f} s" in row["question"]
        assert json.loads(row["facts"])["camera_degrees"]["Truck Right"] > 3
        for picture in row["frames"]:
            assert picture.width * picture.height <= 256 * 28 * 28
            assert picture.width % 28 == 0 and picture.height % 28 == 0


def test_parts_may_differ_from_the_whole():
    rows = clip_rows(*moving(z=3.0, back=True), "a", "a.mp4")
    assert {right(row) for row in rows} == {"Dolly In", "Dolly Out"}
    assert "a-camera-0-7" not in {row["id"] for row in rows}, "there and back is no motion of the whole"


def test_frames_without_a_pose_are_left_out():
    clip, poses = moving(x=2.0)
    poses.registered[[0, 13]] = False
    poses.camera_to_world[[0, 13]] = np.nan
    rows = clip_rows(clip, poses, "a", "a.mp4", frames=24)
    assert right(rows[0]) == "Truck Right"
    assert len(rows[0]["frames"]) == 23
    assert clip.timestamps[0] not in rows[0]["timestamps"] and clip.timestamps[13] not in rows[0]["timestamps"]


def test_still_or_muddled_cameras_give_no_row():
    for motion in ({}, {"x": 1.0, "y": 1.0, "z": 1.0}):
        with pytest.raises(PoseError, match="clear motion"):
            clip_rows(*moving(**motion), "a", "a.mp4")


def test_answer_letters_are_spread():
    letters = [
        clip_rows(*moving(x=2.0, count=9, size=(56, 56)), f"clip{index}", "a.mp4")[0]["answer"] for index in range(200)
    ]
    counts = np.array([letters.count(letter) for letter in OPTION_LETTERS[:4]])
    assert ((counts - 50) ** 2 / 50).sum() < 16.3  # chi-squared, 3 degrees of freedom, p = 0.001


def test_same_rows_for_the_same_seed():
    def words(seed):
        return [(row["question"], row["options"]) for row in clip_rows(*moving(x=2.0), "a", "a.mp4", seed=seed)]

    assert words(1) == words(1)
    assert len({str(words(seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    "paths",
    [
        ["../../x.mp4", "/etc/passwd.mp4", "a b.mp4", "päth.mp4", "…mp4.mp4", "x" * 200 + ".mp4", "\udcff.mp4"],
        ["Cat.mp4", "cat.mp4", "cat.mov", "cat.MP4"],
        ["a/b.mp4", "a-b.mp4", "a\nb.mp4"],
        ["сat.mp4", "cat.mp4"],  # the first begins with a Cyrillic letter
    ],
)
def test_names_are_safe_and_distinct(paths):
    names = safe_names([Path(path) for path in paths])
    assert len({name.lower() for name in names}) == len(paths)
    for name in names:
        assert 0 < len(name) <= 80 and name.isascii()
        assert all(letter.isalnum() or letter in "-_" for letter in name)


def test_plain_names_stay():
    assert safe_names([Path("cat.mp4"), Path("my_clip-2.mov")]) == ["cat", "my_clip-2"]


def test_finding_videos(tmp_path):
    for name in ("b.MP4", "a/c.mov", "notes.txt", "._b.mp4", "d.mkv/e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in find_videos(tmp_path)] == ["a/c.mov", "b.MP4"]
    with pytest.raises(InputError, match="holds no video"):
        find_videos(tmp_path / "d.mkv")
    with pytest.raises(InputError, match="does not exist"):
        find_videos(tmp_path / "nowhere")


def test_linked_folders_are_searched_once(tmp_path):
    source, disk = tmp_path / "source", tmp_path / "disk"
    for folder in (source / "real", disk):
        folder.mkdir(parents=True)
    for path in (disk / "a.mp4", source / "real" / "b.mp4", source / "c.mp4"):
        path.touch()
    (source / "a link first").symlink_to(disk)
    (source / "another link").symlink_to(disk)
    (source / "link to real").symlink_to(source / "real")
    (disk / "loop").symlink_to(source)
    (source / "dangling.mp4").symlink_to(tmp_path / "nowhere.mp4")
    found = [path.relative_to(source).as_posix() for path in find_videos(source)]
    assert found == ["a link first/a.mp4", "c.mp4", "real/b.mp4"]


def test_bad_clips_are_told_and_the_run_goes_on(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "page.mp4").write_text("<html>404</html>" * 100)
    told = {}
    assert list(video_rows(tmp_path, on_skip=lambda path, reason: told.update({path.name: reason}))) == []
    assert "is empty" in told["empty.mp4"] and "no video" in told["page.mp4"]


def test_phone_clip_gives_rows():
    if not VIDEOS.exists():
        pytest.skip("the phone clips are not here: they are handed out beside the project, not with it")
    told = []
    rows = list(video_rows(VIDEOS / "backpack.mp4", on_skip=lambda *why: told.append(why)))
    assert rows and not told
    assert {row["source"] for row in rows} == {"backpack.mp4"}

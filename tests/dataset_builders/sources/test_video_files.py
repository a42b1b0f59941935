"""Which files are videos, and what they are called in ids."""

import os
from pathlib import Path

import pytest

from fourdthinker.dataset_builders.pipeline.stage_runner import list_videos
from fourdthinker.dataset_builders.sources.video_files import (
    content_hash,
    file_state,
    find_videos,
    path_text,
    safe_names,
)
from fourdthinker.modeling.errors import InputError


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
    for name in ("b.MP4", "a/c.mov", "notes.txt", "._b.mp4", "d.mkv/e.txt", "a/00001.MTS"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_videos(tmp_path)]
    assert found == ["a/00001.MTS", "a/c.mov", "b.MP4"]
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
    found = [path.relative_to(source).as_posix() for path in find_videos(source)]
    assert found == ["a link first/a.mp4", "c.mp4", "real/b.mp4"]


def test_a_link_that_leads_nowhere_is_listed(tmp_path):
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (video,) = list_videos(tmp_path)
    assert video.name == "dangling"
    (tmp_path / "nowhere.mp4").write_bytes(b"frames")
    assert list_videos(tmp_path)[0].file != video.file  # so that it is looked at again


def test_copies_have_one_hash_and_other_files_another(tmp_path):
    long = b"x" * 3_000_000
    for name, content in (("a", long), ("b", long), ("c", long[1:] + b"y"), ("d", b"")):
        (tmp_path / name).write_bytes(content)
    a, b, c, d = (content_hash(tmp_path / name) for name in "abcd")
    assert a == b and len({a, c, d}) == 3


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(InputError, match="gone.mp4 cannot be read"):
        file_state(tmp_path / "gone.mp4")


def test_names_that_are_no_text_become_text(tmp_path):
    """Old archives hold names in Latin-1; rows and cards are UTF-8."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    try:
        path.write_bytes(b"frames")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    (video,) = list_videos(tmp_path)
    assert video.source == "caf\\xe9.mp4" and video.source.encode() and video.name.isascii()
    assert video.path.read_bytes() == b"frames"
    assert path_text(Path("schön") / "né.mp4") == "schön/né.mp4"

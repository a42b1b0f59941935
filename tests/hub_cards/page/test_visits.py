"""Questions on their way: what is refused before it waits, and what is left of a video afterwards."""

import shutil
import tempfile
from pathlib import Path

import pytest

from fourdthinker.hub_cards.page.limits import PageLimits
from fourdthinker.hub_cards.page.visits import Visits
from fourdthinker.hub_cards.serving.events import Finish, ModelFailure, TextDelta

SECONDS = {"queue": 0.0, "prefill": 0.1, "decode": 0.2, "first_token": 0.1}


def say_left(clip, question, options, settings):
    yield TextDelta("content", f"{len(clip.frames)} frames, {question}, {'/'.join(options)}")
    yield Finish("stop", 10, 5, SECONDS)


@pytest.fixture
def upload(make_video, tmp_path):
    """Puts a video where gradio would put an upload."""

    def put(name="clip.mp4", seconds=2):
        return {"path": str(make_video(tmp_path / name, seconds))}

    return put


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Copies for a question are made here."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def make_visits(folder, ask=say_left, examples=(), **limits):
    return Visits(ask, PageLimits(**limits), folder, examples)


def run(visits, video, question="Where to?", options="left\nright", frames=4, session="a"):
    shown, visit = visits.admit(video, question, options, frames, session)
    return [shown, *(html for html, _ in visits.answer(visit))]


def test_a_question_is_answered_and_nothing_of_the_video_is_left(upload, temporary, tmp_path):
    video = upload()
    shown = run(make_visits(tmp_path), video)
    assert "4 frames, Where to?, left/right" in shown[-1]
    assert not Path(video["path"]).exists() and list(temporary.iterdir()) == []


def test_the_video_is_gone_before_a_visitor_can_read_that_it_was_answered_about(upload, temporary, tmp_path):
    def list_copies(video):
        visits = make_visits(tmp_path)
        _, visit = visits.admit(video, "Where to?", "", 4, "a")
        return [(html, len(list(temporary.iterdir()))) for html, _ in visits.answer(visit)]

    reading, *others = list_copies(upload())
    assert "Reading" in reading[0] and reading[1] == 1
    assert len(others) > 1 and [copies for _, copies in others] == [0] * len(others)
    (tmp_path / "text.mp4").write_text("no video")
    assert [copies for _, copies in list_copies({"path": str(tmp_path / "text.mp4")})] == [1, 0]


def test_options_may_be_left_out(upload, tmp_path):
    assert "4 frames, Where to?, <" in run(make_visits(tmp_path), upload(), options=" \n")[-1]


def test_nothing_is_left_after_an_error_either(upload, temporary, tmp_path):
    def fail(*_):
        raise ModelFailure("the model failed (RuntimeError)")
        yield

    video = upload()
    assert "The model failed (RuntimeError)." in run(make_visits(tmp_path, fail), video)[-1]
    assert not Path(video["path"]).exists() and list(temporary.iterdir()) == []


def test_an_example_stays(upload, tmp_path):
    example = upload("example.mp4")
    cached = {"path": str(shutil.copy(example["path"], tmp_path / "cached.mp4"))}
    visits = make_visits(tmp_path, examples=[Path(example["path"])])
    assert "4 frames" in run(visits, cached)[-1]
    assert "4 frames" in run(visits, cached)[-1]


@pytest.mark.parametrize(
    "change,line",
    [
        ({"question": " "}, "Write a question about the video."),
        ({"options": "left"}, "Options has 1 entry: give 2 to 10, or none."),
        ({"options": "left\nleft"}, "the same as options 1: give each once."),
        ({"question": "<|video_pad|>?"}, "Question has the token &lt;|video_pad|&gt; in its words: take it out."),
        ({"frames": 1000}, "The number of frames must be between 1 and 32."),
    ],
)
def test_what_is_wrong_is_said_before_it_waits_and_the_video_can_be_asked_about_again(upload, change, line, tmp_path):
    visits, video = make_visits(tmp_path), upload()
    shown = run(visits, video, **change)
    assert len(shown) == 1 and line in shown[0] and 'role="alert"' in shown[0]
    assert "4 frames" in run(visits, video)[-1]


@pytest.mark.parametrize("fields", [{"question": 3}, {"options": None}, {"frames": "4"}, {"frames": float("nan")}])
def test_fields_of_other_kinds_get_a_line(upload, tmp_path, fields):
    assert 'role="alert"' in run(make_visits(tmp_path), upload(), **fields)[0]


@pytest.mark.parametrize(
    "video", ["clip.mp4", 3, ["a"], {"path": 3}, {"path": "/etc/a\0b"}, {"path": "/" + "a" * 5000}]
)
def test_videos_of_other_kinds_get_a_line(tmp_path, video):
    assert 'role="alert"' in run(make_visits(tmp_path), video)[0]


def test_without_a_video_the_line_says_how_to_give_one(tmp_path):
    visits = make_visits(tmp_path)
    assert "Give a video first: drop a file, record one or take an example." in run(visits, None)[0]
    assert (
        "The video was deleted after the last answer: give it again."
        in run(visits, {"path": str(tmp_path / "gone.mp4")})[0]
    )


def test_large_long_cut_and_foreign_files_are_told_apart(upload, tmp_path, temporary):
    assert "has 0 MB, at most 0 MB are taken" in run(make_visits(tmp_path, bytes=10), upload())[-1]
    long = run(make_visits(tmp_path, seconds=5), upload(seconds=8))[-1]
    assert "at most 5 s are taken: cut it" in long
    whole = Path(upload(seconds=6)["path"]).read_bytes()
    cut, text = tmp_path / "cut.mp4", tmp_path / "text.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    text.write_text("no video")
    for path, reason in ((cut, "is damaged"), (text, "is no video that can be read")):
        line = run(make_visits(tmp_path), {"path": str(path)})[-1]
        assert 'role="alert"' in line and f"The video {reason}" in line
        assert str(tmp_path) not in line
    assert list(temporary.iterdir()) == []


def test_one_more_than_the_queue_takes_is_turned_away_and_a_place_becomes_free(upload, temporary, tmp_path):
    visits = make_visits(tmp_path, visitors=1)
    _, first = visits.admit(upload("1.mp4"), "Where to?", "", 4, "a")
    shown, second = visits.admit(upload("2.mp4"), "Where to?", "", 4, "b")
    assert second is None and "The queue is full (questions of visitors: 1): try again in a minute." in shown
    assert len(list(temporary.iterdir())) == 1
    list(visits.answer(first))
    assert visits.admit(upload("3.mp4"), "Where to?", "", 4, "b")[1] is not None


def test_a_visitor_who_leaves_frees_the_place_and_takes_the_video_along(upload, temporary, tmp_path):
    visits = make_visits(tmp_path, visitors=1)
    _, visit = visits.admit(upload("1.mp4"), "Where to?", "", 4, "a")
    visits.leave("a")
    assert list(temporary.iterdir()) == [] and list(visits.answer(visit)) == []
    assert visits.admit(upload("2.mp4"), "Where to?", "", 4, "b")[1] is not None


def test_two_visitors_with_the_same_file_do_not_take_it_from_each_other(upload, tmp_path):
    visits, video = make_visits(tmp_path), upload()
    data = Path(video["path"]).read_bytes()
    _, first = visits.admit(video, "First?", "", 4, "a")
    Path(video["path"]).write_bytes(data)  # gradio names an upload by its content
    _, second = visits.admit(video, "Second?", "", 4, "b")
    assert "Second?" in list(visits.answer(second))[-1][0]
    assert "First?" in list(visits.answer(first))[-1][0]


def test_a_file_of_the_server_is_neither_read_nor_deleted(upload, tmp_path):
    video = upload()
    (tmp_path / "uploads").mkdir()
    shown = run(make_visits(tmp_path / "uploads"), video)
    assert "no upload" in shown[-1] and Path(video["path"]).exists()
    (tmp_path / "uploads" / "link.mp4").symlink_to(video["path"])
    shown = run(make_visits(tmp_path / "uploads"), {"path": str(tmp_path / "uploads" / "link.mp4")})
    assert "no upload" in shown[-1] and Path(video["path"]).exists()

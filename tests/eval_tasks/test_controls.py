"""Controls of the input: what the model is shown, and which letter is then right."""

from collections import Counter

import pytest
from PIL import Image

from fourdthinker.eval_tasks.controls import (
    ControlledRows,
    choose_partners,
    control_messages,
    media_key,
    repeat_first_frame,
    shuffle_options,
    video_key,
)
from fourdthinker.eval_tasks.scores import is_correct
from fourdthinker.modeling.clip import Clip
from fourdthinker.modeling.errors import InputError


def make_row(number: int, task: str = "camera", **more) -> dict:
    return {
        "id": f"q{number}",
        "task": task,
        "question": "Which way?",
        "options": ["left", "right", "up", "down", "it stays"],
        "answer": "ABCDE"[number % 5],
        "video": f"{number // 2}.mp4",
        **more,
    }


ROWS = [make_row(number, "camera" if number % 3 else "object") for number in range(60)]


def test_another_row_of_the_task_lends_its_video_and_its_window():
    rows = [make_row(number, "ab"[number % 2], video=f"{number}.mp4", start=float(number)) for number in range(8)]
    for row, shown in zip(rows, ControlledRows(rows, "shuffled"), strict=True):
        lender = next(other for other in rows if other["video"] == shown["video"])
        assert lender is not row and lender["task"] == row["task"] and shown["start"] == lender["start"]
        assert {key: shown[key] for key in ("id", "options", "answer")} == {
            key: row[key] for key in ("id", "options", "answer")
        }


def test_no_question_keeps_its_video_where_questions_share_them():
    for seed in range(20):
        shown = ControlledRows(ROWS, "shuffled", seed=seed)
        assert all(row["video"] != other["video"] for row, other in zip(ROWS, shown, strict=True))


def test_videos_are_lent_by_seed_and_id_alone():
    first = [row["video"] for row in ControlledRows(ROWS, "shuffled", seed=1)]
    assert first == [row["video"] for row in ControlledRows(ROWS, "shuffled", seed=1)]
    assert first != [row["video"] for row in ControlledRows(ROWS, "shuffled", seed=2)]


def test_all_videos_of_a_task_are_lent_about_equally():
    lent = Counter(choose_partners(range(3000), ["t"] * 3000, [number % 6 for number in range(3000)]))
    by_video = Counter()
    for number, times in lent.items():
        by_video[number % 6] += times
    assert all(400 < by_video[video] < 600 for video in range(6)), by_video


def test_one_video_cannot_be_shuffled():
    with pytest.raises(InputError, match="all questions of object are about one video.*--limit"):
        ControlledRows([make_row(0), make_row(2), make_row(1, "object")], "shuffled")


def test_without_a_video_nothing_of_it_is_left():
    row = make_row(3, start=1.0, end=2.0, hidden_tail=1.0)
    (blind,) = ControlledRows([row], "none")
    assert blind["frames"] == [] and blind["timestamps"] == []
    assert not {"video", "start", "end", "hidden_tail"} & blind.keys()
    assert blind["question"] == row["question"]


def test_a_clip_that_stands_still_keeps_its_times():
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (1, 2, 3)]
    still = repeat_first_frame(Clip(frames, [0.0, 0.5, 2.0]))
    assert [frame.getpixel((0, 0))[0] for frame in still.frames] == [1, 1, 1]
    assert still.timestamps == [0.0, 0.5, 2.0]


def test_letters_move_with_their_options():
    moved = 0
    for row, shown in zip(ROWS, ControlledRows(ROWS, options="shuffled", seed=3), strict=True):
        right = row["options"]["ABCDE".index(row["answer"])]
        assert sorted(shown["options"]) == sorted(row["options"])
        assert shown["options"]["ABCDE".index(shown["answer"])] == right
        assert is_correct({**shown, "response": right})
        moved += shown["answer"] != row["answer"]
    assert 35 < moved < 60  # four in five, and no letter is right more often than another
    letters = Counter(row["answer"] for row in ControlledRows([make_row(n) for n in range(1000)], options="shuffled"))
    assert all(140 < letters[letter] < 260 for letter in "ABCDE"), letters


def test_equal_options_stay_right_when_shuffled():
    shown = shuffle_options(make_row(0, options=["left", "up", "left", "down"], answer="A"))
    assert is_correct({**shown, "response": f"<answer>{shown['answer']}</answer>"})


def test_videos_are_told_apart_by_id_file_or_frames():
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    rows = [{"frames": [red, blue]}, {"frames": [red.copy(), blue.copy()]}, {"frames": [blue, red]}]
    assert video_key(rows[0]) == video_key(rows[1]) != video_key(rows[2])
    stored = [{"frames": [{"bytes": b"x", "path": None}]}, {"frames": [{"bytes": None, "path": "x.png"}]}]
    assert len({video_key(row) for row in stored}) == 2
    mirrored = [make_row(0, video="hflip/1.mp4", video_id="1"), make_row(1, video="std/1.mp4", video_id="1")]
    assert video_key(mirrored[0]) == video_key(mirrored[1])


def turn(*parts) -> list[dict]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": list(parts)}]


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def image(name: str) -> dict:
    return {"type": "image", "url": name}


VIDEO = {"type": "video", "url": "own.mp4", "start_time": 1.0}
OTHER = {"type": "video", "url": "other.mp4", "end_time": 9.0}


@pytest.mark.parametrize(
    "parts,control,other,expected",
    [
        ([VIDEO, text("q")], "own", [OTHER], [VIDEO, text("q")]),
        ([VIDEO, text("q")], "none", [], [text("q")]),
        ([VIDEO, text("q")], "first", [], [VIDEO, text("q")]),
        ([VIDEO, text("q")], "shuffled", [OTHER, text("p")], [OTHER, text("q")]),
        ([text("q"), image("a"), image("b")], "none", [], [text("q")]),
        ([image("a"), image("b"), text("q")], "first", [], [image("a"), image("a"), text("q")]),
        (
            [image("a"), text("q"), image("b")],
            "shuffled",
            [image("c"), image("d")],
            [image("c"), text("q"), image("d")],
        ),
        ([text("q"), image("a"), image("b")], "shuffled", [image("c")], [text("q"), image("c")]),
        ([image("a"), text("q")], "shuffled", [image("c"), image("d")], [image("c"), image("d"), text("q")]),
        ([text("q")], "first", [], [text("q")]),
    ],
)
def test_messages(parts, control, other, expected):
    given = turn(*parts)
    assert control_messages(given, control, turn(*other)) == turn(*expected)
    assert given == turn(*parts), "the messages that came in were changed"


def test_messages_with_other_media_have_other_keys():
    pictures = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    conversations = [[VIDEO, text("q")], [OTHER, text("q")], [image(pictures[0])], [image(pictures[1])], [text("q")]]
    assert len({media_key(turn(*parts)) for parts in conversations}) == 5
    assert media_key(turn(VIDEO, text("q"))) == media_key(turn(text("another question"), VIDEO))


def test_an_unknown_control_is_one_line():
    with pytest.raises(InputError, match="unknown video 'last': choose one of own, none, first, shuffled"):
        control_messages(turn(VIDEO), "last")

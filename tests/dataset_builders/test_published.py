"""4DThinker's own JSONL files become rows as of `load_dataset`."""

import json

import pytest

from fourdthinker.dataset_builders.published import read_published
from fourdthinker.modeling.errors import InputError

DIFT = {
    "id": "a_1->4",
    "text_input": "Which way does the cat turn?\nA. Left\nB. Right\nC. Up\nD. Down",
    "text_output": "<think>I see it <output_image>.</think><answer>B. Right</answer>",
    "image_input": ["a/0.jpg", "a/1.jpg", "a/2.jpg"],
    "image_output": ["a/masked.jpg"],
}
GRPO = {"Type": "abs_dir", "Question": "Which way?", "A": "l", "B": "r", "C": "u", "D": "d", "Correct": "c"}
GRPO |= {"frame_paths": ["b/0.jpg", "/data/b/1.jpg"]}


@pytest.fixture
def written(tmp_path):
    def write(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("\n\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
        return path

    return write


def paths(row, column):
    return [picture["path"] for picture in row[column]]


def test_dift_rows(written, tmp_path):
    row = read_published(written(DIFT), "dift")[0]
    assert (row["id"], row["question"], row["options"]) == ("a_1->4", DIFT["text_input"], [])
    assert row["response"] == DIFT["text_output"]
    assert paths(row, "frames") == [str(tmp_path / name) for name in DIFT["image_input"]]
    assert paths(row, "imagery") == [str(tmp_path / "a/masked.jpg")]
    assert row["timestamps"] == [0.0, 1.0, 2.0]


def test_relative_names_start_from_the_root(written, tmp_path):
    row = read_published(written(GRPO), "grpo", tmp_path / "pictures")[0]
    assert paths(row, "frames") == [str(tmp_path / "pictures/b/0.jpg"), "/data/b/1.jpg"]


def test_grpo_rows(written):
    row = read_published(written(GRPO, GRPO), "grpo")[1]
    assert (row["task"], row["question"], row["options"], row["answer"]) == ("abs_dir", "Which way?", [*"lrud"], "C")


def test_grpo_rows_may_name_a_video_in_the_place_of_frames(written, tmp_path):
    video = {k: v for k, v in GRPO.items() if k != "frame_paths"} | {"video_path": "b/clip.mp4"}
    both = GRPO | {"video_path": "b/clip.mp4"}
    empty = GRPO | {"frame_paths": [], "video_path": "/data/clip.mp4"}
    stored = read_published(written(video, both, empty), "grpo", tmp_path / "root").with_format(None)
    assert list(stored["video"]) == [str(tmp_path / "root/b/clip.mp4"), None, "/data/clip.mp4"]
    assert [len(row["frames"]) for row in stored] == [len(row["timestamps"]) for row in stored] == [0, 2, 0]


@pytest.mark.parametrize(
    ("rows", "configuration", "words"),
    [
        (["{"], "dift", "line 1: this is no JSON"),
        ([DIFT, "[]"], "dift", "line 3: this is no JSON object"),
        ([{**DIFT, "text_output": None}], "dift", "'text_output' is missing or no text"),
        ([{**DIFT, "image_input": "a.jpg"}], "dift", "'image_input' is missing or no list"),
        ([{**GRPO, "Correct": "E"}], "grpo", "'Correct' is 'E'"),
        ([{**GRPO, "Correct": "AB"}], "grpo", "'Correct' is 'AB'"),
        ([{k: v for k, v in GRPO.items() if k != "D"}], "grpo", "'D' is missing"),
        ([{**GRPO, "frame_paths": []}], "grpo", "neither 'frame_paths' nor 'video_path'"),
        ([{**GRPO, "frame_paths": "b.jpg"}], "grpo", "'frame_paths' is missing or no list"),
        ([{**GRPO, "frame_paths": None, "video_path": ["b.mp4"]}], "grpo", "'video_path' is missing or no text"),
        ([" "], "grpo", "has no rows"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(written, rows, configuration, words):
    with pytest.raises(InputError) as caught:
        read_published(written(*rows), configuration)
    assert words in str(caught.value) and "rows.jsonl" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.jsonl"):
        read_published(tmp_path / "no.jsonl", "dift")

"""4DThinker's own JSONL files become rows as of `load_dataset`."""

import json
import logging
from pathlib import Path

import pytest

from fourdthinker.dataset_builders.sources.published_jsonl import read_published
from fourdthinker.modeling.errors import InputError

DIFT = {
    "id": "a_1->4",
    "text_input": "Which way does the cat turn?\nA. Left\nB. Right\nC. Up\nD. Down",
    "text_output": "<think>I see it <output_image>.</think><answer>B. Right</answer>",
    "image_input": ["a/0.jpg", "a/1.jpg", "a/2.jpg"],
    "image_output": ["a/masked.jpg"],
}
GRPO = {"Type": "abs_dir", "Question": "Which way?", "A": "l", "B": "r", "C": "u", "D": "d", "Correct": "c"}
GRPO |= {"frame_paths": ["b/0.jpg", "b/1.jpg"]}


@pytest.fixture
def written(tmp_path):
    def write(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("\n\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
        return path

    return write


def paths(row, column):
    return [image["path"] for image in row[column]]


def test_dift_rows(written, tmp_path):
    row = read_published(written(DIFT), "dift")[0]
    assert (row["id"], row["question"], row["options"]) == ("a_1->4", DIFT["text_input"], [])
    assert row["response"] == DIFT["text_output"]
    assert paths(row, "frames") == [str(tmp_path / name) for name in DIFT["image_input"]]
    assert paths(row, "imagery") == [str(tmp_path / "a/masked.jpg")]
    assert row["timestamps"] == [0.0, 1.0, 2.0]


def test_relative_names_start_from_the_root(written, tmp_path):
    """And so may absolute ones, if they do not lead out of it."""
    root = tmp_path / "pictures"
    row = read_published(written(GRPO | {"frame_paths": ["b/0.jpg", f"{root}/b/1.jpg"]}), "grpo", root)[0]
    assert paths(row, "frames") == [str(root / "b/0.jpg"), str(root / "b/1.jpg")]
    # As does a root that is reached by a link, or is the whole disk.
    (tmp_path / "link").symlink_to(root)
    assert len(read_published(written(GRPO | {"frame_paths": [f"{root}/b/1.jpg"]}), "grpo", tmp_path / "link")) == 1
    assert len(read_published(written(GRPO | {"frame_paths": ["/b/1.jpg"]}), "grpo", Path("/"))) == 1


def test_grpo_rows(written):
    row = read_published(written(GRPO, GRPO), "grpo")[1]
    assert (row["task"], row["question"], row["options"], row["answer"]) == ("abs_dir", "Which way?", [*"lrud"], "C")


def test_grpo_rows_may_name_a_video_in_the_place_of_frames(written, tmp_path):
    video = {k: v for k, v in GRPO.items() if k != "frame_paths"} | {"video_path": "b/clip.mp4"}
    both = GRPO | {"video_path": "b/clip.mp4"}
    empty = GRPO | {"frame_paths": [], "video_path": "b/other.mp4"}
    stored = read_published(written(video, both, empty), "grpo", tmp_path / "root").with_format(None)
    assert list(stored["video"]) == [str(tmp_path / "root/b/clip.mp4"), None, str(tmp_path / "root/b/other.mp4")]
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
        ([{k: v for k, v in GRPO.items() if k != "C"}], "grpo", "'C' is missing"),
        ([{k: v for k, v in GRPO.items() if k not in "BCD"}], "grpo", "'B' is missing"),
        (
            [{**GRPO, "D": None, "Correct": "D"}],
            "grpo",
            "'Correct' is 'D': answer 'D' is not the letter of the 3 opti",
        ),
        ([{**GRPO, **dict.fromkeys("EFGHIJK", "x")}], "grpo", "an option K: give 10 options at most"),
        (['{"id": "\\ud83d"}'], "dift", "line 1: a \\u escape names half of a character"),
        ([{**DIFT, "image_input": ["a.jpg", None]}], "dift", "row a_1->4: image_input 2 has None, no file name"),
        ([{**DIFT, "image_output": ["a\0.jpg"]}], "dift", "image_output 1 has 'a\\x00.jpg', no file name"),
        ([{**GRPO, "frame_paths": []}], "grpo", "neither 'frame_paths' nor 'video_path'"),
        ([{**GRPO, "frame_paths": "b.jpg"}], "grpo", "'frame_paths' is missing or no list"),
        ([{**GRPO, "frame_paths": None, "video_path": ["b.mp4"]}], "grpo", "'video_path' is missing or no text"),
        ([" "], "grpo", "has no rows"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line_or_left_out(written, caplog, rows, configuration, words):
    path = written(*rows)
    with pytest.raises(InputError) as caught:
        read_published(path, configuration)
    assert words in str(caught.value) and "rows.jsonl" in str(caught.value) and "\n" not in str(caught.value)
    if rows != [" "]:
        good = GRPO if configuration == "grpo" else {**DIFT, "id": "good"}
        path.write_text(f"{path.read_text()}{json.dumps(good)}\n")
        with caplog.at_level(logging.WARNING):
            left = read_published(path, configuration, on_bad_row="skip")
        assert left["question"][-1:] == [good["Question" if configuration == "grpo" else "text_input"]]
        assert len(left) == len(rows) and words in caplog.text


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_two_options_to_ten(written, count):
    options = {letter: letter.lower() for letter in "ABCDEFGHIJ"[:count]}
    plain = {k: v for k, v in GRPO.items() if k not in "ABCD"}
    row = read_published(written({**plain, **options, "Correct": "ABCDEFGHIJ"[count - 1]}), "grpo")[0]
    assert row["options"] == list(options.values()) and row["answer"] == "ABCDEFGHIJ"[count - 1]


@pytest.mark.parametrize("name", ["/etc/hostname", "../secret.png", "in/../../secret.png", "in/../f.png", "link.png"])
@pytest.mark.parametrize("field", ["image_input", "image_output", "frame_paths", "video_path"])
def test_no_file_outside_the_root_is_named(tmp_path, caplog, name, field):
    (tmp_path / "root" / "in").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "root" / "link.png").symlink_to(tmp_path / "secret.png")
    stage = "dift" if field in DIFT else "grpo"
    row = {**(DIFT if stage == "dift" else {**GRPO, "id": "g", "frame_paths": []})}
    path = tmp_path / "root" / "rows.jsonl"
    bad = {**row, field: name if field == "video_path" else ["f.png", name]}
    path.write_text(json.dumps(bad))
    with pytest.raises(InputError) as caught:
        read_published(path, stage)
    message = str(caught.value)
    assert f"rows.jsonl, line 1, row {row['id']}: {field}" in message and f"names {name!r}, which " in message
    assert f"only files in {tmp_path / 'root'} are read" in message and "--image-root" in message
    assert "--on-bad-row skip leaves it out" in message
    path.write_text(f"{json.dumps(bad)}\n{json.dumps(DIFT if stage == 'dift' else GRPO)}")
    with caplog.at_level(logging.WARNING):
        assert len(read_published(path, stage, on_bad_row="skip")) == 1
    assert f"row {row['id']}: {field}" in caplog.text


def test_a_folder_that_is_a_link_does_not_lead_out_either(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "root" / "b").symlink_to(tmp_path / "other")
    (tmp_path / "root" / "rows.jsonl").write_text(json.dumps(GRPO))
    with pytest.raises(InputError, match="line 1: frame_paths 1 names 'b/0.jpg', which lies outside"):
        read_published(tmp_path / "root" / "rows.jsonl", "grpo")


def test_text_is_utf8_with_or_without_a_mark(tmp_path):
    path = tmp_path / "rows.jsonl"
    line = json.dumps({**DIFT, "text_input": "相机?\u2028B"}, ensure_ascii=False).encode()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n\xef\xbb\xbf" + line)  # as two joined files have it
    assert read_published(path, "dift")["question"] == ["相机?\u2028B"] * 2
    for content in (line + b"\n" + line.decode().encode("gb18030"), (line.decode() + "\n").encode("utf-16")):
        path.write_bytes(content)
        number = 1 if content[:2] == b"\xff\xfe" else 2
        with pytest.raises(
            InputError, match=rf"rows\.jsonl, line {number}: this is not UTF-8: save the file as UTF-8$"
        ):
            read_published(path, "dift", on_bad_row="skip")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.jsonl"):
        read_published(tmp_path / "no.jsonl", "dift")

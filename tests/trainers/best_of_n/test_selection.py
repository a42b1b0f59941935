"""Best of n: which path of a row is kept, by which threshold, and files of paths as others write them."""

import json
import math

import pytest

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.tokens import format_spatial_state, latent_block
from fourdthinker.trainers.best_of_n.paths_file import SampledPaths, read_paths
from fourdthinker.trainers.best_of_n.selection import (
    ScoredRow,
    format_choice,
    is_trainable,
    resolve_thresholds,
    score_paths,
)

ROW = {
    "id": "row-0",
    "task": "camera_distance",
    "answer": "B",
    "options": ["1.00 m", "2.00 m", "3.00 m", "4.00 m"],
    "camera_centers": [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]],
    "object_centers": None,
}


def path(answer="B. 2.00 m", end=(0, 0, 2), opening="<think>", closing="</think>"):
    states = f"{format_spatial_state(1, (0, 0, 0), None)}\nLater:\n{format_spatial_state(6, end, None)}"
    return f"{opening}It moves on. {states}{closing}<answer>{answer}</answer>"


RIGHT, NEAR, WRONG = path(), path(end=(0, 0, 3)), path("A. 1.00 m")


def test_the_best_path_that_can_be_trained_on_is_chosen():
    scored = score_paths(ROW, [WRONG, NEAR, RIGHT, "C"])
    assert scored.rewards == pytest.approx([0.4, 0.9 + 0.1 * math.exp(-0.5), 1.0, 0.0])
    assert (scored.best, scored.best_reward) == (RIGHT, 1.0) and scored.task == "camera_distance"
    # A path in another format may earn more; it could not be trained on.
    untrainable = RIGHT.replace("<think>", "")
    scored = score_paths(ROW, [WRONG, untrainable])
    assert scored.rewards[1] > scored.rewards[0] and scored.best == WRONG
    assert score_paths(ROW, [untrainable]) == ScoredRow("camera_distance", scored.rewards[1:], None, 0.0)
    relative = score_paths(ROW, [NEAR], center_scale="relative")
    assert relative.best_reward == pytest.approx(0.9 + 0.1 * math.exp(-0.25))
    with pytest.raises(InputError, match="row row-0 has no answer"):
        score_paths({**ROW, "answer": None}, [RIGHT])


@pytest.mark.parametrize(
    "text",
    [
        RIGHT.replace("It moves", "I picture it <output_image>. It moves"),
        RIGHT.replace("It moves", f"{latent_block(4)} It moves"),
        RIGHT.replace("It moves", "<|video_pad|> It moves"),
        RIGHT + RIGHT,
        RIGHT.replace("<answer>", ""),
        "",
    ],
)
def test_what_cannot_be_trained_on(text):
    assert not is_trainable(text) and is_trainable(RIGHT)


def scored_rows():
    rewards = {"a": (0.1, 0.4, 0.4, 0.9), "b": (0.2, 0.2, 0.2)}
    return [ScoredRow(task, [best, best / 2], "path", best) for task, bests in rewards.items() for best in bests]


def test_thresholds_are_the_mean_of_the_best_unless_given():
    rows = scored_rows()
    assert resolve_thresholds(rows, {}) == pytest.approx({"a": 0.45, "b": 0.2})
    assert resolve_thresholds(rows, {None: 0.3}) == {"a": 0.3, "b": 0.3}
    assert resolve_thresholds(rows, {None: 0.3, "b": 0.1}) == {"a": 0.3, "b": 0.1}
    with pytest.raises(InputError, match="threshold is given for 'c', but the rows are of a, b"):
        resolve_thresholds(rows, {"c": 0.3})


def test_rows_keep_their_best_from_the_threshold_on():
    rows = scored_rows()
    assert [row.reaches(0.4) for row in rows if row.task == "a"] == [False, True, True, True]
    # 0.2 + 0.2 + 0.2 is more than 3 · 0.2, but the mean of equal rewards keeps them all.
    mean = resolve_thresholds(rows, {})["b"]
    assert all(row.reaches(mean) for row in rows if row.task == "b")
    assert not ScoredRow("a", [0.0], "path", 0.0).reaches(0.0), "one that earns nothing"
    assert not ScoredRow("a", [0.9], None, 0.0).reaches(0.0)


def test_the_table_tells_what_is_kept():
    rows = scored_rows()
    lines = format_choice(rows, resolve_thresholds(rows, {None: 0.4})).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["a", "4", "3", "0.400", "0.338", "0.450"],
        ["b", "3", "0", "0.400", "0.150", "0.200"],
        ["all", "7", "3", "0.257", "0.343"],
    ]
    assert len({len(line) for line in lines}) == 1


def write(file, *lines):
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return file


def test_paths_of_others_are_read_in_our_tags(tmp_path):
    theirs = path(opening="<thinking>\n", closing="\n</thinking>\n")
    file = write(tmp_path / "p.jsonl", {"id": "a", "paths": [theirs, "C"]}, {"id": "b", "path": f" {RIGHT}\n"})
    with file.open("a") as more:
        more.write(json.dumps({"id": "a", "path": WRONG, "model": "another"}))
    found = read_paths(file, {"a", "b", "c"})
    assert found["a"][1:] == ["C", WRONG] and found["b"] == [RIGHT]
    assert score_paths(ROW, found["a"]).best_reward == 1 and score_paths(ROW, [theirs]).best is None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["{"], "line 1: this is no JSON"),
        ([{"id": "a", "paths": ["x"]}, [1]], "line 2: this is no JSON object"),
        ([{"id": "a", "paths": "x"}], "line 1: 'paths' is missing or no list of texts"),
        ([{"id": "a", "paths": []}], "line 1: 'paths' is missing or no list of texts"),
        ([{"id": "a", "path": 3}], "line 1: 'paths' is missing or no list of texts"),
        ([{"id": "z", "path": "x"}], "line 1: the dataset has no row 'z'"),
        ([{"id": ["a"], "path": "x"}], r"line 1: the dataset has no row \['a'\]"),
        ([], "has no paths"),
    ],
    ids=str,
)
def test_files_that_are_none_are_rejected(tmp_path, lines, words):
    with pytest.raises(InputError, match=words):
        read_paths(write(tmp_path / "p.jsonl", *lines), {"a"})
    with pytest.raises(InputError, match="cannot read .*nowhere"):
        read_paths(tmp_path / "nowhere.jsonl", {"a"})


def test_paths_are_utf8_with_or_without_a_mark(tmp_path):
    file, line = tmp_path / "p.jsonl", '{"id": "a", "path": "ü\u2028"}'
    file.write_bytes(f"\ufeff{line}\r\n\n{line}".encode())
    assert read_paths(file, {"a"}) == {"a": ["ü"] * 2}
    for content, number in ((f"{line}\n\n{line}".encode("cp1252", "replace"), 1), (line.encode("utf-16"), 1)):
        file.write_bytes(content)
        with pytest.raises(InputError, match=rf"p\.jsonl, line {number}: this is not UTF-8: save the file as UTF-8$"):
            read_paths(file, {"a"})
    file.write_bytes(f"{line}\n\n".encode() + b"\xfc\n")
    with pytest.raises(InputError, match="line 3: this is not UTF-8"):
        read_paths(file, {"a"})


def test_a_file_of_samples_goes_on_after_a_torn_line(tmp_path):
    file, settings = tmp_path / "deep" / "p.jsonl", {"model": "m", "n": 2}
    SampledPaths(file, settings).add(["a", "b"], [["x", "y"], ["z", "ü"]])
    with file.open("a") as more:
        more.write('{"id": "c", "paths": ["half')
    again = SampledPaths(file, settings)
    assert again.done == {"a", "b"}
    again.add(["c"], [["v", "w"]])
    assert read_paths(file, {"a", "b", "c"}) == {"a": ["x", "y"], "b": ["z", "ü"], "c": ["v", "w"]}
    with pytest.raises(InputError, match="sampled otherwise (.*): set that back, score"):
        SampledPaths(file, {**settings, "n": 3})


def test_sampled_paths_may_hold_any_character(tmp_path):
    text = "<think>one\u2028two\x85three</think>"
    SampledPaths(tmp_path / "paths.jsonl", {"n": 1}).add(["row-0"], [[text]])
    assert SampledPaths(tmp_path / "paths.jsonl", {"n": 1}).done == {"row-0"}
    assert read_paths(tmp_path / "paths.jsonl", {"row-0"}) == {"row-0": [text]}

"""The file of verdicts: what a crash leaves of it, what stands, and how far reviewers agree."""

import os
import signal
import subprocess
import sys

import pytest

from fourdthinker.dataset_builders.review.verdicts import REVIEW, ReviewFile, Verdict, count_agreement, latest
from fourdthinker.modeling.errors import InputError

WRITER = """
import sys
from pathlib import Path
from fourdthinker.dataset_builders.review.verdicts import ReviewFile, Verdict

file = ReviewFile(Path(sys.argv[1]))
for number in range(10000):
    file.append(Verdict(f"{sys.argv[2]}{number}", "row", "accept", "ann"))
    print(number, flush=True)
"""


def verdict(subject, decision="accept", reviewer="ann", **more):
    return Verdict(subject, f"id of {subject}", decision, reviewer, **more)


def test_verdicts_survive_and_the_last_one_stands(tmp_path):
    file = ReviewFile(tmp_path)
    assert file.read() == []
    given = [
        verdict("one"),
        verdict("two", "reject", reason="wrong mask"),
        verdict("two", "rename", name="dog", track="t"),
        verdict("one", "reject", "ben", reason="ünclear \u2028 line"),
        verdict("three"),
        verdict("three", "undo"),
    ]
    for one in given:
        file.append(one)
    read = ReviewFile(tmp_path).read()
    assert [(v.subject, v.decision, v.reviewer, v.reason, v.name) for v in read] == [
        (v.subject, v.decision, v.reviewer, v.reason, v.name) for v in given
    ]
    assert all(v.time.endswith("+00:00") for v in read)
    standing = latest(read)
    assert {key: v.decision for key, v in standing.items()} == {
        ("one", "ann"): "accept",
        ("two", "ann"): "rename",
        ("one", "ben"): "reject",
    }


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_no_verdict_and_the_next_one_is_whole(tmp_path, cut):
    file = ReviewFile(tmp_path)
    file.append(verdict("one"))
    file.append(verdict("two"))
    path = tmp_path / REVIEW
    path.write_bytes(path.read_bytes()[:-cut])
    whole = ["one", "two"] if cut == 1 else ["one"]  # without its end the line is still a verdict
    assert [v.subject for v in file.read()] == whole
    file.append(verdict("three"))
    assert [v.subject for v in file.read()] == [*whole, "three"]


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "null",
        "{}",
        '{"subject": 1}',
        "\x00\x00",
        '{"subject": "a", "id": "b", "decision": "eat", "reviewer": "c"}',
    ],
)
def test_lines_that_are_no_verdict_are_passed_over(tmp_path, line):
    (tmp_path / REVIEW).write_text(line + "\n", encoding="utf-8")
    ReviewFile(tmp_path).append(verdict("one"))
    assert [v.subject for v in ReviewFile(tmp_path).read()] == ["one"]


def test_two_writers_killed_in_the_middle_lose_nothing_that_they_reported(tmp_path):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    reported = [[next(writer.stdout) for _ in range(20)][-1] for writer in writers]
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    kept = {v.subject for v in ReviewFile(tmp_path).read()}
    for name, last in zip("ab", reported, strict=True):
        assert {f"{name}{number}" for number in range(int(last) + 1)} <= kept


def test_agreement_is_about_keeping(tmp_path):
    standing = latest(
        [
            verdict("one"),
            verdict("one", "rename", "ben", name="dog"),
            verdict("two"),
            verdict("two", "reject", "ben", reason="no"),
            verdict("three"),
            verdict("gone", "reject", reason="no"),
            verdict("gone", "reject", "ben", reason="no"),
        ]
    )
    assert count_agreement(standing, ["one", "two", "three"]) == (1, 2)


def test_a_folder_that_takes_no_file_is_named(tmp_path):
    with pytest.raises(InputError, match="verdict is not kept"):
        ReviewFile(tmp_path / "missing").append(verdict("one"))
    (tmp_path / REVIEW).mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        ReviewFile(tmp_path).read()

"""The page of error messages holds what the sources raise, and what a user meets is found on it."""

import json
import re
import runpy
from pathlib import Path

import pytest

from fourdthinker.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "errors.md"


@pytest.fixture(scope="module")
def list_errors():
    return runpy.run_path(str(ROOT / "docs" / "list_errors.py"))


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sources(list_errors):
    return list_errors["Sources"](ROOT)


@pytest.mark.medium
def test_the_page_is_of_these_sources(list_errors, sources, page):
    assert list_errors["render"](sources) == page, "run `make style`, or python docs/list_errors.py"


def test_messages_are_found_however_they_are_raised(list_errors, tmp_path):
    (tmp_path / "modeling").mkdir()
    (tmp_path / "modeling" / "a.py").write_text(
        """
AGAIN = "copy it again"

class InputError(ValueError):
    pass

class FileError(InputError):
    def __init__(self, path, reason, remedy=AGAIN):
        super().__init__(f"{path} {reason}; {remedy}.")

def row_fault(row):
    return None if row else f"row {row.id!r} is empty: " "leave it out"

def check(path, row, sizes):
    if fault := row_fault(row):
        raise InputError(fault)
    raise InputError(f"size {len(sizes)} of {', '.join(sizes)}: give {'two' if row else path.name} | {AGAIN}")
    raise FileError(path, f"has {sizes[0]} bytes")
    raise FileError(path, "is cut" if row else "is empty", remedy="replace it")
    raise ValueError("not of ours")
""",
        encoding="utf-8",
    )
    assert list_errors["Sources"](tmp_path).messages("modeling") == [
        "row {id} is empty: leave it out",
        "size {sizes} of {…}: give {…} | copy it again",
        "{path} has {sizes} bytes; copy it again",
        "{path} is cut; replace it",
        "{path} is empty; replace it",
    ]


@pytest.mark.parametrize(
    "message,parts",
    [
        ("fps is {fps}; it must be more than 0", ("fps is {fps}", "it must be more than 0")),
        ("row {x}: it is empty: give {one: two}", ("row {x}: it is empty", "give {one: two}")),
        ("there is no file {path}", ("there is no file {path}", "check the path, and that you may read it")),
        ("{path}: {error}", ("{path}: {error}", "")),
    ],
)
def test_the_remedy_is_split_off(list_errors, message, parts):
    assert list_errors["split_remedy"](message) == parts


@pytest.mark.medium
def test_every_message_has_a_remedy_or_says_itself_what_is_right(list_errors, sources):
    """As a reader sees it: a row of the page that leaves nobody wondering what to do."""
    pairs = [
        list_errors["split_remedy"](message) for area in list_errors["AREAS"] for message in sources.messages(area)
    ]
    assert [wrong for wrong, remedy in pairs if not remedy and not list_errors["SAYS_IT"].search(wrong)] == []


def patterns(page: str) -> list[re.Pattern]:
    """What each row of the tables matches: its first cell, with anything in place of braces."""
    cells = [re.match(r"\| (`+) ?(.*?) ?\1 \|", line) for line in page.splitlines() if line.startswith("| `")]
    cells = [re.sub(r"\{[^}]*\}", "\0", cell[2].replace("\\|", "|")) for cell in cells]
    return [
        re.compile(".+".join(map(re.escape, cell.split("\0")))) for cell in cells if len(cell.replace("\0", "")) > 8
    ]


@pytest.mark.medium
@pytest.mark.parametrize(
    "command",
    [
        ["ask", "gone.mp4", "Which way?", "--model", "model"],
        ["eval", "--model", "nowhere", "--tasks", "fourd_world"],
        ["eval", "--model", "model", "--tasks", "no_such_task"],
        ["build-data", "--source", "nowhere", "--output", "data"],
        ["build-data", "--source", "world", "--questions", "no_such_family", "--output", "data"],
        ["dift", "--model", "nowhere", "--dataset", "rows.jsonl", "--output", "out"],
        ["dift", "--model", "model", "--dataset", "bad.jsonl", "--output", "out"],
        ["dift", "--recipe", "no_such_recipe"],
        ["score", "gone.jsonl", "--task", "fourd_world"],
        ["diagnose", "--model", "model", "--tasks", "fourd_world", "--controls", "no_such_control"],
    ],
    ids=" ".join,
)
def test_errors_of_commands_are_on_the_page(command, page, tmp_path, monkeypatch, capsys):
    from fourdthinker.cli.init import TINY_TRAINED

    monkeypatch.chdir(tmp_path)
    Path("model").symlink_to(TINY_TRAINED)
    Path("bad.jsonl").write_text(json.dumps({"video": "gone.mp4", "question": "Which way?", "response": "Left."}))
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main(command))
    assert ended.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert any(pattern.search(line) for pattern in patterns(page)), line

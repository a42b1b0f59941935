"""Every code block of the README and the guides runs, or says why not.

A block that is not run has a comment before it: `<!-- not run: REASON -->`. All others run as printed, page by page,
in a folder that holds what the page speaks of: the shipped model, a clip, a file of rows. What takes long is cut short
by the options in `SHORTER`.
"""

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from .made_videos import truck, write_video

ROOT = Path(__file__).resolve().parents[1]
CODE = {"console", "python", "json", "yaml"}
NO_CODE = {"text"}
# Pages whose blocks another test runs as printed.
RUN_ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "docs/commands.md": "tests/test_readme.py",
    # These need a running server, or a Hub, which these tests start.
    "docs/publishing.md": "tests/hub_cards/publishing/test_loading_back.py",
    "docs/serving.md": "tests/hub_cards/serving/test_endpoint.py",
}
SHORTER = {
    "dift": ["--set", "max_steps=1"],
    "grpo": ["--set", "max_steps=1", "--set", "max_completion_length=48"],
}
CLIPS = 4  # rendered, in the place of any number of `--clips` of the rendered world
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>.+?) -->\n)?^```(?P<language>.*)\n(?P<body>(?s:.*?))^```$", re.MULTILINE
)


@dataclass
class Block:
    """A fenced block of a page."""

    language: str
    body: str
    reason: str | None


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(match["language"], match["body"], match["reason"]) for match in _BLOCK.finditer(text)]


PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
RUN = [
    page
    for page in PAGES
    if page not in RUN_ELSEWHERE and any(b.language in CODE and not b.reason for b in blocks(page))
]


@pytest.mark.parametrize("page", PAGES)
def test_a_block_is_code_with_a_language_or_text(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    found = blocks(page)
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(found)
    assert text.count("<!-- not run:") == sum(block.reason is not None for block in found)
    for block in found:
        assert block.language in CODE | NO_CODE, block.body
        assert block.reason is None or len(block.reason.split()) >= 3, block.body


@pytest.mark.parametrize("page,place", RUN_ELSEWHERE.items())
def test_a_page_that_is_run_elsewhere_is_read_there(page, place):
    text = (ROOT / place).read_text(encoding="utf-8")
    assert Path(page).name in text and r"```console\n" in text


def test_blocks_and_reasons_are_found():
    text = "<!-- not run: needs a GPU -->\n```console\na\n```\n\n```python\nb\n```\n"
    assert [(m["language"], m["reason"]) for m in _BLOCK.finditer(text)] == [
        ("console", "needs a GPU"),
        ("python", None),
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small rendered world: rows of three clips."""
    pytest.importorskip("pybullet", reason="the rendered world needs the world extra")
    from fourdthinker.dataset_builders.fourd_cot import build_world

    folder = tmp_path_factory.mktemp("world")
    build_world(folder, {"train": 1, "test": 2})
    return folder


@pytest.fixture
def workspace(tmp_path, monkeypatch, world, request):
    """The folder that pages speak of, as the working folder."""
    from fourdthinker.cli.init import EXAMPLE, TINY_TRAINED
    from fourdthinker.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOURD_WORLD_DATA", str(world))  # else all 800 questions would be rendered
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    if not any("init --trained" in block.body for block in blocks(request.node.callspec.params["page"])):
        assert main(["init", "--trained", "--output", "models/trained"]) == 0
    for name in ("clip.mp4", "cat.mp4"):
        shutil.copy(TINY_TRAINED / EXAMPLE, name)
    row = {
        "question": "Which way does it go?",
        "options": ["left", "right"],
        "answer": "right",
        "response": "It goes right.",
    }
    rows = [
        {"id": f"{name}-{number}", "video": f"{name}.mp4", **row} for name in ("clip", "cat") for number in range(4)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def prepare(page: str, world: Path, wall_clip) -> None:
    """Make what a page takes for granted, as soon as it can be made."""
    if page == "docs/build_data.md" and not Path("videos").exists():
        Path("videos").mkdir()
        for name, metres in (("right", 1.0), ("left", -1.0)):
            write_video(f"videos/{name}.mp4", truck(wall_clip, metres), rate=5)
    if page == "docs/cards.md" and not Path("models/dift").exists():
        from fourdthinker.cli.main import main

        assert main(["init", "--tiny", "--output", "models/tiny"]) == 0
        shutil.copytree("models/trained", "models/dift")
    if page == "docs/data_format.md" and not Path("data").exists():
        shutil.copytree(world, "data")
    if page == "docs/own_data.md" and not Path("rows.csv").exists():
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet

        rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), "test.parquet")
        rows = [{**row, "options": json.dumps(row["options"])} for row in rows]
        pyarrow.csv.write_csv(pyarrow.Table.from_pylist(rows), "rows.csv")
    if page == "docs/evaluation.md" and Path("answers.jsonl").exists():
        for name in ("new.jsonl", "old.jsonl"):
            shutil.copy("answers.jsonl", name)


def run_console(body: str) -> None:
    from fourdthinker.cli.main import main

    for line in body.replace("\\\n", " ").splitlines():
        program, command, *arguments = shlex.split(line)
        assert program == "fourdthinker", f"say in a comment why this is not run: {line}"
        if "world" in arguments and "--clips" in arguments:
            arguments[arguments.index("--clips") + 1] = str(CLIPS)
        if "videos/" in arguments:  # a busy machine is no slow clip
            arguments += ["--time-limit", "3600"]
        assert main([command, *arguments, *SHORTER.get(command, [])]) == 0, line


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_blocks_run_as_printed(page, workspace, world, wall_clip):
    if page == "docs/build_data.md":
        pytest.importorskip("pycolmap", reason="poses need the data extra")
    if page == "docs/page.md":
        pytest.importorskip("gradio", reason="a Space needs the serve extra")
    for block in blocks(page):
        if block.language not in CODE or block.reason:
            continue
        prepare(page, world, wall_clip)
        if block.language == "console":
            run_console(block.body)
        elif block.language == "python":
            exec(compile(block.body, page, "exec"), {"__name__": page})
        elif block.language == "json":
            assert all(isinstance(json.loads(line), dict) for line in block.body.splitlines())
        else:
            assert yaml.safe_load(block.body) is not None

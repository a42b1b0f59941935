"""The lines of the README and of the page of commands, run as printed, with 16:9 clips made on the spot."""

import json
import re
import shlex
from pathlib import Path

import pytest
from datasets import load_dataset

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders.fourd_cot import build_world
from fourdthinker.modeling import load_model

from .made_videos import truck, write_video

README = Path(__file__).parents[1] / "README.md"
COMMANDS = README.parent / "docs" / "commands.md"


def console_lines(section: str, page: Path = README) -> list[str]:
    """The lines of the `console` blocks under a heading, continued ones joined."""
    text = page.read_text(encoding="utf-8")
    (body,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"```console\n(.*?)```", body, re.DOTALL)
    return "".join(blocks).replace("\\\n", " ").splitlines()


def python_block(section: str) -> str:
    """The one `python` block under a heading."""
    text = README.read_text(encoding="utf-8")
    (body,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    (block,) = re.findall(r"```python\n(.*?)```", body, re.DOTALL)
    return block


@pytest.mark.slow
def test_python_blocks_print_what_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in console_lines("Ask about a video"):
        assert main(shlex.split(line)[1:]) == 0
    capsys.readouterr()
    exec(python_block("Ask about a video"), {})
    text = README.read_text(encoding="utf-8")
    assert " ".join(capsys.readouterr().out.split()) in " ".join(text.split())

    (row,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    Path("rows.jsonl").write_text(row * 8)  # the first step of the warm-up moves nothing
    exec(python_block("Train"), {})
    before, after = (load_model(Path("models") / name)[0].state_dict() for name in ("trained", "tuned"))
    assert any(not after[name].float().equal(weight.float()) for name, weight in before.items())


@pytest.mark.slow
def test_commands_work_as_printed(tmp_path, monkeypatch, capsys, wall_clip):
    pytest.importorskip("pycolmap", reason="poses need the data extra")
    pytest.importorskip("pybullet", reason="the benchmark needs the world extra")
    monkeypatch.chdir(tmp_path)
    for folder in ("videos", "world"):
        Path(folder).mkdir()
    for name, metres in (("right.mp4", 1.0), ("left.mp4", -1.0)):
        write_video(f"videos/{name}", truck(wall_clip, metres), rate=5)
    build_world(Path("world"), {"train": 1, "test": 2})
    monkeypatch.setenv("FOURD_WORLD_DATA", "world")  # or `eval` renders all of its 800 questions

    text = README.read_text(encoding="utf-8")
    try_first = re.search(r"Append `(--set max_steps=\d)`", COMMANDS.read_text(encoding="utf-8"))[1].split()
    printed = {}
    for line in [*console_lines("Ask about a video"), *console_lines("From videos to a scored model", COMMANDS)]:
        program, command, *arguments = shlex.split(line)
        if program == "lmms_eval":  # another program, tested where its number is compared with ours
            continue
        assert program == "fourdthinker", line
        assert main([command, *arguments, *(try_first if command in ("dift", "grpo") else [])]) == 0, line
        printed[command] = capsys.readouterr().out

    reasoning, _, answer = printed["ask"].partition("\n\nAnswer: ")
    assert " ".join(reasoning.split()) in " ".join(text.split()) and f"\n\nAnswer: {answer.strip()}\n" in text
    assert re.search(r"^all +4 ", printed["eval"], re.MULTILINE)
    rows = load_dataset("data", "dift", split="train", cache_dir="cache")
    assert {row["options"]["ABCD".index(row["answer"])] for row in rows} == {"Truck Right", "Truck Left"}
    assert all(frame.size == (476, 280) for row in rows for frame in row["frames"])
    for stage in ("dift", "grpo"):
        assert load_model(Path("models") / stage)[0].config.latent_size == 4
        log = json.loads((Path("models") / stage / "training_log.json").read_text())["log_history"]
        assert log[-1]["step"] == int(try_first[1].partition("=")[2]), f"{stage} trains"
    assert {path.name for path in Path("models").iterdir()} == {"tiny", "trained", "dift", "grpo"}

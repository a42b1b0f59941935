"""`fourdthinker diagnose` from folders on disk: tables, JSON, page, answers that are kept, and errors in one line."""

import json
import re

import pytest

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders.fourd_cot import write_dataset
from fourdthinker.eval_tasks.diagnosis.controls import CONTROLS

from ..built_checkpoints import build_checkpoint, make_questions


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "carry"
    for part in build_checkpoint("carry"):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """A folder of 12 rows whose imagery stands with the supervised rows."""
    rows = [{**row, "source": "test", "facts": "{}"} for row in make_questions(12, seed=1, imagery=True)]
    supervised = {"imagery_timestamps": [1.5], "response": "<think><output_image></think><answer>A. red</answer>"}
    plain = [{name: value for name, value in row.items() if name != "imagery"} for row in rows]
    folder = tmp_path_factory.mktemp("questions") / "data"
    folder.mkdir()
    write_dataset({"grpo": {"test": plain}, "dift": {"test": [{**row, **supervised} for row in rows]}}, folder)
    return folder


@pytest.fixture(autouse=True)
def journal(tmp_path, monkeypatch):
    monkeypatch.setenv("FOURDTHINKER_JOURNAL", str(tmp_path / "journal"))
    return tmp_path / "journal"


def read_journal(folder):
    lines = [json.loads(line) for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    return {line["key"]: line["response"] for line in lines}


def run(*arguments):
    return main(["diagnose", "--max-new-tokens", "16", *map(str, arguments)])


@pytest.mark.medium
def test_tables_json_page_and_kept_answers(checkpoint, questions, journal, tmp_path, capsys):
    arguments = ("--model", checkpoint, "--dataset", questions, "--batch-size", 5)
    assert run(*arguments, "--output", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "verdict: too few questions to tell" in printed
    assert {line.split()[0] for line in printed.splitlines() if line.strip()} >= {"own", *CONTROLS}
    assert "Weights in float32, greedy decoding, at most 16 new tokens" in " ".join(printed.split())

    found = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    (diagnosis,) = found["tasks"].values()
    assert found["settings"]["seed"] == 0 and diagnosis["n"] == 12 and list(diagnosis["controls"]) == list(CONTROLS)
    assert diagnosis["latents"]["activation_rate"] == diagnosis["latents"]["most_blocks"] == 1
    assert diagnosis["latents"]["target_norm_source"] == "imagery of the rows"
    answers = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert len(answers) == 12 and list(answers[0]["responses"]) == ["own", *CONTROLS]
    assert answers[0]["responses"]["markers"].startswith("<|latent_start|><|latent_end|>")

    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<svg") == page.count("</svg>") == 6 and "Too few questions to tell" in page
    assert page.count("data:image/jpeg") == 16 and "<script" not in page
    assert not re.search(r'(?:src|href)="(?!data:)', page), "the page needs no other file"

    # A second run takes what the first has finished; half of it lost is decoded again to the same.
    (kept,) = journal.rglob("*.jsonl")
    lines, answers_before = kept.read_text().splitlines(keepends=True), read_journal(journal)
    assert len(answers_before) == len(lines) == 12 * len(CONTROLS)
    kept.write_text("".join(lines[:60]))
    assert run(*arguments) == 0
    again = capsys.readouterr().out
    assert again.strip() == printed[: printed.index("wrote ")].strip()
    assert read_journal(journal) == answers_before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--controls", "zero,ones"), "unknown control 'ones': choose from zero, noise"),
        (("--margin", "0"), "--margin must be between 0 and 100 points"),
        (("--limit", "0"), "--limit must be at least 1"),
        (("--seed", "-1"), "--seed must be between"),
        (("--batch-size", "0"), "batch size and new tokens must be positive"),
        (("--tasks", "nothing"), "unknown task 'nothing'"),
        (("--image-root", "."), "--image-root goes with --dataset"),
        (("--tasks", "dsr_bench", "--on-bad-row", "skip"), "--on-bad-row skip does not go with --tasks dsr_bench"),
        (("--dataset", "no/such/folder"), "there is no such file or folder"),
        (("--output", "."), "exists already"),
    ],
)
def test_bad_input_is_one_line(arguments, words, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "something").touch()
    assert run("--model", checkpoint, *arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1

"""Scores for the Hub: files of registered benchmarks, and the header of the card for all others."""

import dataclasses
import json

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub._eval_results import parse_eval_result_entries

from fourdthinker.eval_tasks.report.build import build_report, report_controls
from fourdthinker.eval_tasks.tasks import BENCHMARKS
from fourdthinker.hub_cards.eval_results import Registered, add_scores, find_registered, write_eval_results
from fourdthinker.modeling.errors import InputError

DATASET = "someone/world-bench"


def answers(letters: str) -> list[dict]:
    row = {"task": "camera", "question": "Which way?", "options": ["l", "r", "u", "d"], "answer": "A"}
    return [{**row, "id": str(number), "response": letter} for number, letter in enumerate(letters)]


@pytest.fixture
def report():
    own = answers("AAAB")
    controls = report_controls(own, {"video none": answers("ABBB"), "options shuffled": answers("AABB")})
    return {**build_report(own), "controls": controls, "settings": {"frames": "8 a clip"}}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\ntags:\n- own\n---\n\n# A model\n\nMy words.\n")
    return tmp_path


@pytest.fixture
def register(monkeypatch):
    """Name a registered benchmark of the Hub in the table of tasks."""

    def put(name: str = "fourd_world", task: str = "motion") -> None:
        entry = dataclasses.replace(BENCHMARKS[name], hub_benchmark=(DATASET, task))
        monkeypatch.setitem(BENCHMARKS, name, entry)

    return put


def test_a_registered_benchmark_gets_a_file_for_each_variant(folder, register, report):
    register()
    written = write_eval_results(folder, {"fourd_world": report}, "2026-11-27")
    names = ["fourd_world.yaml", "fourd_world-video-none.yaml", "fourd_world-options-shuffled.yaml", "README.md"]
    assert [path.name for path in written] == names
    entries = [parse_eval_result_entries(yaml.safe_load(path.read_text()))[0] for path in written[:-1]]
    assert {(entry.dataset_id, entry.task_id, entry.date) for entry in entries} == {(DATASET, "motion", "2026-11-27")}
    assert [entry.value for entry in entries] == [75.0, 25.0, 50.0]
    assert entries[0].notes == "answers read by the tolerant policy; frames: 8 a clip"
    assert entries[1].notes.startswith("control: video none; ")
    assert ModelCard.load(folder / "README.md").data.eval_results, "the header holds the scores of every benchmark"


def test_an_unregistered_one_goes_into_the_header_of_the_card_alone(folder, report):
    written = write_eval_results(folder, {"fourd_world": report})
    assert written == [folder / "README.md"] and not (folder / ".eval_results").exists()
    card = ModelCard.load(folder / "README.md")
    whole, task = card.data.eval_results
    assert (whole.dataset_type, whole.metric_value, task.dataset_config) == ("fourd_world", 0.75, "camera")
    assert card.data.license == "mit" and card.data.tags == ["own"] and "My words." in card.text
    # Once more replaces what was there, and leaves other benchmarks alone.
    write_eval_results(folder, {"another": report})
    write_eval_results(folder, {"fourd_world": build_report(answers("AAAA"))})
    results = ModelCard.load(folder / "README.md").data.eval_results
    assert sorted((one.dataset_type, one.metric_value) for one in results if not one.dataset_config) == [
        ("another", 0.75),
        ("fourd_world", 1.0),
    ]


def test_where_there_is_no_card_nothing_is_written(tmp_path, report):
    with pytest.raises(InputError, match="has no README.md to put scores in"):
        write_eval_results(tmp_path, {"fourd_world": report})
    assert not list(tmp_path.iterdir())


def test_only_what_the_table_names_is_registered(register):
    assert find_registered("fourd_world") is None and find_registered("own rows") is None
    register()
    assert find_registered("fourd_world") == Registered(DATASET, "motion")


def test_scores_beside_the_own_ones_stay_out_of_the_header(folder, report):
    report["overlap"] = {"data": "/home/me/rows.jsonl", "overlapping": [], "dropped": 0}
    head = {"model": "/home/me/other", "answers": "/home/me/answers.jsonl"}
    add_scores(folder, {"/home/me/fourd_world": report}, head, "text only")
    assert "model-index" not in (folder / "README.md").read_text(), "these are another model's"
    (stored,) = (folder / "scores").iterdir()
    assert "/home/me" not in stored.read_text() and json.loads(stored.read_text())["label"] == "text only"

"""Scores for the Hub: files of registered benchmarks, and the header of the card for all others."""

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub._eval_results import parse_eval_result_entries

from fourdthinker.eval_tasks.report.build import build_report, report_controls
from fourdthinker.hub_cards.eval_results import Registered, find_registered, write_eval_results
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
def register(tmp_path, monkeypatch):
    """Put a benchmark's `eval.yaml` into the Hub's local cache, as a download leaves it."""
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))

    def put(content: str, dataset: str = DATASET) -> None:
        repository = cache / f"datasets--{dataset.replace('/', '--')}"
        snapshot = repository / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("0" * 40)
        (snapshot / "eval.yaml").write_text(content)

    return put


def test_a_registered_benchmark_gets_a_file_for_each_variant(folder, register, report):
    register("name: World\ntasks:\n- id: fourd_world\n- id: other\n")
    written = write_eval_results(folder, {"fourd_world": report}, {"fourd_world": DATASET})
    names = ["fourd_world.yaml", "fourd_world-video-none.yaml", "fourd_world-options-shuffled.yaml"]
    assert [path.name for path in written] == names
    entries = [parse_eval_result_entries(yaml.safe_load(path.read_text()))[0] for path in written]
    assert {(entry.dataset_id, entry.task_id) for entry in entries} == {(DATASET, "fourd_world")}
    assert [entry.value for entry in entries] == [75.0, 25.0, 50.0]
    assert entries[0].notes == "answers read by the tolerant policy; frames: 8 a clip"
    assert entries[1].notes.startswith("control: video none; ")
    assert "model-index" not in (folder / "README.md").read_text()


def test_an_unregistered_one_goes_into_the_header_of_the_card(folder, report):
    written = write_eval_results(folder, {"fourd_world": report}, {"fourd_world": DATASET})
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


@pytest.mark.parametrize(
    "content,expected",
    [
        ("tasks:\n- id: only_one\n", Registered(DATASET, "only_one")),
        ("tasks:\n- id: a\n- id: b\n", None),
        ("tasks:\n- id: a\n- id: fourd_world\n", Registered(DATASET, "fourd_world")),
        ("tasks: none\n", None),
        ("- a list\n", None),
        ("tasks: [\n", None),
    ],
)
def test_the_task_is_the_one_that_the_dataset_lists(register, content, expected):
    register(content)
    assert find_registered("fourd_world", DATASET) == expected


def test_a_dataset_that_nothing_is_known_of_is_not_registered():
    assert find_registered("fourd_world", "nobody/nothing") is None
    assert find_registered("fourd_world", None) is None

"""The module for the library `evaluate` gives the numbers of `score`."""

from pathlib import Path

import pytest

from fourdthinker.eval_tasks.scores import score

evaluate = pytest.importorskip("evaluate")
MODULE = Path(__file__).parents[2] / "eval_tasks/dynamic_spatial_accuracy"


@pytest.fixture
def metric(tmp_path, monkeypatch):
    return evaluate.load(str(MODULE), cache_dir=str(tmp_path), experiment_id=tmp_path.name)


def test_module_loads_by_path_and_gives_the_same_scores(metric):
    responses = ["The answer is B.", "It goes left.", None, "no idea"]
    options = [["left", "right", "up"]] * 4
    scores = metric.compute(predictions=responses, references=list("BAAC"), options=options, tasks=list("xxyy"))
    rows = [
        {"response": response, "answer": answer, "options": offered, "task": task}
        for response, answer, offered, task in zip(responses, "BAAC", options, "xxyy", strict=True)
    ]
    assert scores == score(rows)
    assert (scores["accuracy"], scores["missing"], scores["parse_failures"]) == (0.5, 1, 1)


def test_strict_rule_of_a_benchmark_is_passed_on(metric):
    question = {"predictions": ["Because of C it is D"], "references": ["B"], "options": [["a", "b", "c", "d"]]}
    assert metric.compute(**question, policy="strict", rule="dsr_bench")["accuracy"] == 1
    assert metric.compute(**question)["accuracy"] == 0

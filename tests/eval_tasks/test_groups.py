"""A group of benchmarks is reported as a whole too, each question counted once."""

import pytest

from fourdthinker.eval_tasks.evaluation import Evaluation, pool_groups
from fourdthinker.eval_tasks.report.build import build_report

OPTIONS = ["left", "right", "up", "down"]


def evaluation(task, responses, controls=()):
    """Questions whose answer is A, with ids that another benchmark has too."""
    rows = [
        {"id": f"validation_{number}", "task": task, "options": OPTIONS, "answer": "A", "response": response}
        for number, response in enumerate(responses)
    ]
    answers = {"own": rows, **{control: [{**row, "response": "B"} for row in rows] for control in controls}}
    return Evaluation({**build_report(rows), "input": {"video": "own"}}, answers)


def test_questions_of_a_group_count_once_each():
    runs = {
        "vlm4d_real": {"first": evaluation("exocentric", "AAB"), "second": evaluation("exocentric", "BBB")},
        "vlm4d_synthetic": {"first": evaluation("directional", "A"), "second": evaluation("directional", "A")},
    }
    (pooled,) = pool_groups(runs).values()
    assert pooled["first"].report["accuracy"] == 3 / 4 and pooled["second"].report["accuracy"] == 1 / 4
    assert {task: scores["n"] for task, scores in pooled["first"].report["tasks"].items()} == {
        "directional": 1,
        "exocentric": 3,
    }
    ids = [row["id"] for row in pooled["first"].answers["own"]]
    assert ids[0] == "vlm4d_real/validation_0" and len(set(ids)) == 4


def test_part_of_a_group_is_no_group():
    assert pool_groups({"vlm4d_real": {"first": evaluation("exocentric", "A")}}) == {}
    assert pool_groups({"my/rows.jsonl": {"first": evaluation("exocentric", "A")}}) == {}


def test_controls_of_a_group_are_paired_over_all_of_its_questions():
    runs = {
        "vlm4d_real": {"first": evaluation("exocentric", "AAB", ["video none"])},
        "vlm4d_synthetic": {"first": evaluation("directional", "A", ["video none"])},
    }
    worth = pool_groups(runs)["vlm4d"]["first"].report["controls"]["video none"]["own_minus_control"]
    assert (worth["n"], worth["difference"]) == (4, pytest.approx(3 / 4))


def test_rows_asked_again_are_marked_in_the_group_too():
    runs = {
        "vlm4d_real": {"m": evaluation("exocentric", "AAB")},
        "vlm4d_synthetic": {"m": evaluation("directional", "A")},
    }
    for number, run in enumerate(runs.values(), start=1):
        run["m"].report["ask_again"] = {"times": 3, "rows": number}
    assert pool_groups(runs)["vlm4d"]["m"].report["ask_again"] == {"times": 3, "rows": 3}

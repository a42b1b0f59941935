"""The laboratory for latents: plans are checked, rows are balanced, and a study goes on where it was."""

import json
import shutil
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset

from fourdthinker.dataset_builders.schema import DIFT_FEATURES
from fourdthinker.dataset_builders.sources.world_places import place_rows
from fourdthinker.eval_tasks.diagnosis.encoding import Encoder
from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError

FOLDER = Path(__file__).parents[2] / "benchmarks" / "latents"
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "latents_study"
BACKBONE = Path(__file__).parents[2] / "modeling" / "tiny" / "backbone"


@pytest.fixture
def script(monkeypatch):
    """Imports a script of the folder, which is no part of the package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module


@pytest.mark.parametrize("name", ["study", "smoke"])
def test_the_plans_in_the_folder_are_valid(script, name):
    plan = script("plan").read_plan(FOLDER / f"{name}.yaml")
    assert {"text", "pads", "self_fed"} <= set(plan.arms)
    assert len(plan.cells) == sum(arm.seeds or plan.seeds for arm in plan.arms.values())
    assert [seed for _, seed in plan.cells] == sorted(seed for _, seed in plan.cells)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: a\ndata: b\n", "needs arms"),
        ("model: a\ndata: b\nsped: 3\narms: {}\n", "unknown 'sped'"),
        ("model: a\ndata: b\narms: {text: {rows: prose}}\n", "arm text: rows is 'prose'"),
        ("model: a\ndata: b\narms: {text: {read: nothing}}\n", "read is 'nothing'"),
        (
            "model: a\ndata: b\narms: {text: {settings: {answer_see: all}}}\n",
            "arm text: .* did you mean 'answer_sees'",
        ),
        ("model: a\ndata: b\ncompare: [text]\narms: {pads: {compare: [txt]}}\n", "compares or draws 'text'"),
        ("model: a\ndata: b\ncompare: []\narms: {pads: {compare: [txt]}}\n", "compares or draws 'txt'"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(script, tmp_path, text, message):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        script("plan").read_plan(tmp_path / "plan.yaml")


def test_bad_input_of_a_script_ends_in_one_line(script, capsys):
    def main():
        raise InputError("no such plan")

    with pytest.raises(SystemExit) as stop:
        script("plan").run_script(main)
    assert stop.value.code == 2 and capsys.readouterr().err == "error: no such plan\n"


def test_words_take_the_place_of_the_block(script):
    plan = script("plan")
    facts = {"start_place": "upper left", "last_place": "central left"}
    said = plan.put_words("<think>I picture it at 5.0 s <output_image>. So.</think>", facts, "row")
    assert said == "<think>I picture it at 5.0 s from upper left to central left <output_image>. So.</think>"
    with pytest.raises(InputError, match="row 3: .*start_place"):
        plan.put_words("<output_image>", {}, "3")


def test_intervals_over_questions_and_seeds(script):
    summary = script("summary")
    right = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]])
    mean, questions, seeds = summary.mean_interval(right)
    assert mean == pytest.approx(0.5)
    # Means of the questions are 1, 2/3, 1/3 and 0; of the seeds 1/2, 1/4 and 3/4.
    assert questions[1] - mean == pytest.approx(1.96 * (5 / 27) ** 0.5 / 2)
    assert seeds[1] - mean == pytest.approx(4.302653 * 0.25 / 3**0.5)
    assert summary.mean_interval(right[:1])[2] is None
    # No answer differs on 100 questions: a difference of a few points stays possible.
    assert summary.mean_interval(np.zeros((3, 100)))[1] == pytest.approx((-0.037, 0.037), abs=1e-3)


def test_differences_are_paired_on_the_seeds_that_both_have(script):
    cells = [{"seed": seed, "read": "own", "right": {"own": own}} for seed, own in enumerate(("1100", "1010"))]
    other = [{"seed": 1, "read": "pad", "right": {"own": "0000", "pad": "1000"}}]
    mean, *_ = script("summary").paired_difference(cells, other, None, None)
    assert mean == pytest.approx(0.25)


def test_the_published_tables_are_those_of_the_published_cells(script, tmp_path):
    plan, summary = script("plan").read_plan(FOLDER / "study.yaml"), script("summary")
    shutil.copytree(RESULTS / "cells", tmp_path / "cells")
    written = summary.write_summary(plan, tmp_path)
    assert written == (RESULTS / "report.md").read_text() and len(written.splitlines()) > 60
    assert {arm for arm in plan.arms if f"| `{arm}` |" in written} == set(summary.read_cells(tmp_path))


def test_a_folder_without_cells_or_with_those_of_two_plans_has_no_tables(script, tmp_path, monkeypatch):
    summary = script("summary")
    monkeypatch.setattr(sys, "argv", ["", "--plan", str(FOLDER / "study.yaml"), "--output", str(tmp_path / "none")])
    with pytest.raises(InputError, match="has no finished cells"):
        summary.main()
    assert not (tmp_path / "none").exists()
    (tmp_path / "cells").mkdir()
    for seed in (0, 1):
        cell = {"arm": "text", "seed": seed, "key": f"plan {seed}"}
        (tmp_path / "cells" / f"text-{seed}.json").write_text(json.dumps(cell))
    with pytest.raises(InputError, match="of several plans: remove the old ones"):
        summary.read_cells(tmp_path)


@pytest.mark.medium
def test_imagery_is_enlarged_for_an_arm_and_the_keys_of_others_stay(script):
    plan = script("plan")
    arm = plan.Arm("fine", imagery_side=84)
    rows = Dataset.from_list([next(place_rows("test", 1, answer_form="text"))], features=DIFT_FEATURES)
    (row,) = plan.shape_imagery(rows, arm)
    assert {frame.size for frame in row["imagery"]} == {(84, 84)} and row["frames"][0].size == (56, 56)
    assert plan.shape_imagery(rows, plan.Arm("as they are")) is rows
    study = plan.Plan("", "", {})
    keys = {plan.cell_key(study, one, "") for one in (arm, plan.Arm("fine"), plan.Arm("fine", imagery_side=56))}
    assert len(keys) == 3


def test_few_answers_are_half_of_what_is_learnt_beside_the_imagery_of_all(script):
    plan = script("plan")
    response = "<think>I picture it <output_image>.</think><answer>left</answer>"
    rows = Dataset.from_list([{"id": str(number), "response": response} for number in range(8)])
    mixed = plan.shape_responses(rows, plan.Arm("few", answers=2))
    assert Counter(mixed["id"]) == Counter({"0": 3, "1": 3, **{str(number): 1 for number in range(2, 8)}})
    said = dict(zip(mixed["id"], mixed["response"], strict=True))
    assert said["1"] == response and said["2"] == "<think>I picture it <output_image>"
    assert plan.shape_responses(rows, plan.Arm("few_text", rows="text", answers=2))["id"] == ["0", "1"]


@pytest.mark.parametrize(("text", "fit"), [(0.40, True), (0.45, False)])
def test_the_gate_asks_for_both_distances(script, text, fit):
    result = {"video": {"accuracy": 0.5}, "true imagery": {"accuracy": 0.66}, "text": {"accuracy": text}}
    assert script("headroom").judge(result)["fit"] is fit
    result["true imagery"]["accuracy"] = 0.64
    verdict = script("headroom").judge(result)
    assert not verdict["fit"]
    line = script("headroom").describe(verdict)
    assert line.startswith("the rows are not fit for a study: true imagery is worth 14.0 points more than the video")
    assert line.endswith("text alone is 5.0 points below what is found in the video (needed: 8)") or fit


def test_prompts_for_4drl_are_right_neither_always_nor_never(script):
    shares = [0.0, 0.125, 0.25, 0.5, 0.75, 0.875, 1.0]
    assert script("rl").keep_uncertain(shares) == [2, 3, 4]
    assert script("rl").keep_uncertain(shares, [0.0, 1.0]) == list(range(7))


@pytest.mark.medium
def test_a_row_that_is_read_again_is_what_it_would_be_without_its_video(script):
    row = next(place_rows("test", 1, answer_form="text"))
    model, processor = load_model(BACKBONE, dtype=torch.float32)
    config, encoder = model.config, Encoder(model, processor, [row], None)
    block = [config.latent_start_token_id, *[config.latent_token_id] * 2, config.latent_end_token_id]
    response = torch.tensor([[*block, *processor.tokenizer("upper left").input_ids]])
    latents = torch.randn(2, config.text_config.hidden_size)
    batch = encoder.encode([0])
    ids, alone = (
        torch.cat([inputs["input_ids"], response], dim=1) for inputs in (batch.inputs, encoder.encode_blind(batch))
    )
    # A second row, padded on the left.
    padded = torch.nn.functional.pad(ids, (3, 0), value=processor.tokenizer.pad_token_id)
    mask = torch.nn.functional.pad(torch.ones_like(ids), (3, 0))
    with torch.no_grad():
        expected = model(input_ids=alone, latent_embeds=latents).logits[:, -response.shape[1] :]
        for one, seen in ((ids, torch.ones_like(ids)), (padded, mask)):
            again = model(
                input_ids=one, latent_embeds=latents, **script("reread").without_videos(model, one, seen)
            ).logits[:, -response.shape[1] :]
            assert torch.allclose(again, expected, atol=1e-4)


@pytest.mark.slow
def test_the_smoke_plan_runs_to_its_end_with_every_kind_of_arm(script, tmp_path, monkeypatch, capsys):
    future = script("future_rows")
    future.write_rows(future.PlaceWorld(), tmp_path / "data", 8, 4)
    plan = yaml.safe_load((FOLDER / "smoke.yaml").read_text())
    plan |= {"model": str(BACKBONE), "data": str(tmp_path / "data"), "steps": 2, "max_new_tokens": 40}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))

    def run(name, *arguments):
        command = [f"{name}.py", "--plan", str(tmp_path / "plan.yaml"), "--output", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", [*command, *arguments])
        script(name).main()

    run("study", "--cells", "1")
    words = script("plan").read_plan(tmp_path / "plan.yaml").arms["words"]
    with script("study").claim_cell(tmp_path / "out", words, 0):  # as another process would
        run("study", "--cells", "1")
    assert {path.stem for path in (tmp_path / "out" / "cells").iterdir()} == {"text-0", "pads-0"}
    run("study")
    run("study")
    shown = capsys.readouterr().out
    assert shown.count("text, seed 0:") == 1  # the second and third run found it
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan | {"steps": 3}, sort_keys=False))
    with pytest.raises(InputError, match="-0.json is of another plan or other rows: name another --output"):
        run("study")
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    cells = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out" / "cells").glob("*.json")}
    assert set(cells) == {f"{name}-0" for name in plan["arms"]}
    assert all(set(map(len, cell["right"].values())) == {4} for cell in cells.values())
    assert set(cells["pads-0"]["right"]) == {"own", "other", "first", "reread", "pad"}
    assert set(cells["bottleneck_1-0"]["right"]) == {"own", "other", "reread"}
    assert [point["step"] for point in cells["text-0"]["curve"]] == [2]
    blinding = [entry["answer_blinding"] for entry in cells["bottleneck_reread-0"]["log"] if "loss" in entry]
    assert blinding == [0.0, 1.0]
    assert "| `bottleneck_reread` | " in (tmp_path / "out" / "report.md").read_text()
    assert (tmp_path / "out" / "curves.svg").read_text().startswith("<?xml")

    run("headroom", "--reader-steps", "10")
    headroom = json.loads((tmp_path / "out" / "headroom.json").read_text())
    assert headroom["n"] == 4 and headroom["chance"] == 0.25
    assert headroom["text"]["accuracy"] == cells["text-0"]["right"]["own"].count("1") / 4  # the study's own cell
    assert set(headroom["verdict"]) >= {"imagery minus video", "video minus text", "fit"}

    with pytest.raises(InputError, match="text-0 does not answer from predicted latents"):
        run("rl", "--cell", "text-0")
    run("rl", "--cell", "bottleneck-0")
    trained = json.loads((tmp_path / "out" / "rl" / "bottleneck-0-rl-0.json").read_text())
    assert trained["prompts"] == 4 and trained["steps"] == 2 and len(trained["right"]["own"]) == 4
    run("rl", "--cell", "bottleneck-0", "--latent-gradient")
    whole = json.loads((tmp_path / "out" / "rl" / "bottleneck-0-rl-whole-0.json").read_text())
    assert whole["settings"]["latent_gradient"] and whole["prompts"] == 4
    plan["rl"] |= {"learning_rate": 1e-3}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    with pytest.raises(InputError, match="of another cell or other settings: remove it"):
        run("rl", "--cell", "bottleneck-0")

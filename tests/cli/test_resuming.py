"""Going on from checkpoints: what may change in between, what may not, and a recipe that makes the same run again."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from fourdthinker.cli.main import main
from fourdthinker.cli.trainer_settings import resolve_settings
from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTConfig
from fourdthinker.trainers.common.model_settings import ModelSettings
from fourdthinker.trainers.common.resuming import check_same_run

SETTINGS = {
    "per_device_train_batch_size": 2,
    "max_steps": 3,
    "learning_rate": "1e-3",
    "warmup_steps": 0,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "steps",
    "save_steps": 1,
}
CLASSES = (DIFTConfig, ModelSettings)
PLACES = ("model", "dataset", "output")
RUN = {"model": "m", "dataset": "d", "dataset_config": "dift", "eval_dataset": None, "image_root": None}


@pytest.fixture
def recipe(tmp_path, tiny_model_folder, dift_dataset):
    def write(**changes):
        places = {"model": str(tiny_model_folder), "dataset": str(dift_dataset), "output": str(tmp_path / "out")}
        path = tmp_path / "dift.yaml"
        path.write_text(yaml.safe_dump({**places, **SETTINGS, **changes}))
        return str(path)

    return write


@pytest.fixture
def record(tmp_path):
    """Writes what a run with some settings keeps beside its checkpoints."""

    def write(run=RUN, **settings):
        path = tmp_path / "run.json"
        path.write_text(json.dumps({**run, "settings": settings}))
        return path

    return write


def check(path, run=RUN, **settings):
    check_same_run(path, {**run, "settings": settings}, lambda fields: resolve_settings(CLASSES, fields))


def weights(folder):
    return load_model(folder)[0].state_dict()


def train_twice_and_cut_one(recipe, tmp_path):
    """An undisturbed run, and one like it of which only the first of three checkpoints is complete."""
    assert main(["dift", "--config", recipe(output=str(tmp_path / "undisturbed"))]) == 0
    assert main(["dift", "--config", recipe()]) == 0
    for late in ("out-checkpoints/checkpoint-3", "out-checkpoints/checkpoint-2"):
        (tmp_path / late / "complete").unlink()


@pytest.mark.slow
def test_a_run_goes_on_with_other_settings_that_change_no_weight(recipe, tmp_path, capsys):
    train_twice_and_cut_one(recipe, tmp_path)
    capsys.readouterr()
    other = {"logging_steps": 1, "dataloader_num_workers": 1, "save_total_limit": 2, "run_name": "no"}
    again = recipe(**other, seed=42, gradient_checkpointing=True, disable_tqdm=True, on_bad_row="skip")
    assert main(["dift", "--config", again, "--output", f"{tmp_path}/data/../out"]) == 0
    assert "resuming from" in capsys.readouterr().err
    expected, resumed = weights(tmp_path / "undisturbed"), weights(tmp_path / "out")
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


@pytest.mark.slow
def test_a_run_goes_on_with_targets_from_a_cache(recipe, tmp_path, capsys):
    train_twice_and_cut_one(recipe, tmp_path)
    capsys.readouterr()
    cache = ["--set", f"feature_cache={tmp_path / 'cache'}", "--precompute-targets"]
    assert main(["dift", "--config", recipe(), *cache]) == 0
    assert "resuming from" in capsys.readouterr().err
    expected, resumed = weights(tmp_path / "undisturbed"), weights(tmp_path / "out")
    for name in expected:
        # A step encodes other batches of images than the cache does, and some CPUs round those differently.
        torch.testing.assert_close(resumed[name], expected[name], atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_finished_run_gets_no_further_step(recipe, tmp_path, capsys):
    settings = recipe(max_steps=1)
    assert main(["dift", "--config", settings]) == 0
    finished = weights(tmp_path / "out")
    assert main(["dift", "--config", settings]) == 0
    assert "resuming from" in capsys.readouterr().err
    again = weights(tmp_path / "out")
    assert all(torch.equal(finished[name], again[name]) for name in finished)
    assert not (tmp_path / "out-checkpoints" / "checkpoint-2").exists()


@pytest.mark.slow
def test_another_run_is_named_by_what_differs_and_nothing_is_lost(recipe, tmp_path, capsys):
    assert main(["dift", "--config", recipe(max_steps=1)]) == 0
    cache = tmp_path / "cache"
    precomputing = {"precompute_videos": True, "precompute_targets": True, "feature_cache": str(cache)}
    other = recipe(learning_rate="2e-3", max_steps=2, report_to="none", logging_steps=5, **precomputing)
    assert main(["dift", "--config", other]) == 2
    assert not cache.exists(), "nothing was precomputed for a run that cannot go on"
    error = capsys.readouterr().err.strip().splitlines()[-1]
    checkpoints = tmp_path / "out-checkpoints"
    assert error == (
        f"fourdthinker: error: {checkpoints} holds checkpoints of another run: max_steps was 1 and is now 2, "
        "learning_rate was 0.001 and is now 0.002; to go on from them set that back, or name another --output, or "
        f"move {checkpoints} away"
    )
    assert (checkpoints / "checkpoint-1" / "complete").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"seed": 42}, {}),
        ({"learning_rate": "1e-5"}, {"learning_rate": 1e-05}),
        ({"save_steps": 5, "save_strategy": "steps"}, {"save_strategy": "no"}),
        ({"per_device_eval_batch_size": 4}, {"eval_generations": 0}),
        ({"hub_model_id": "a/b"}, {"report_to": "wandb"}),
    ],
)
def test_settings_with_the_same_result_are_the_same_run(record, before, after):
    check(record(**before), **after)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {"seed": 1}, "seed was 42 and is now 1"),
        ({"max_grad_norm": 2.0}, {}, "max_grad_norm was 2.0 and is now 1.0"),
        ({"use_peft": True}, {}, "use_peft was True and is now False"),
        ({"eval_strategy": "steps"}, {}, "eval_strategy was steps and is now no"),
        (
            {"load_best_model_at_end": True, "save_steps": 5},
            {"load_best_model_at_end": True, "save_steps": 10},
            "save_steps was 5.0 and is now 10.0",
        ),
    ],
)
def test_settings_with_another_result_are_named(record, before, after, words):
    with pytest.raises(InputError, match=f"of another run: {words}; to go on from them set that back, or name"):
        check(record(**before), **after)


def test_places_are_compared_by_what_they_are(record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    check(record(), {**RUN, "dataset": str(tmp_path / "d")})
    check(record(), {**RUN, "eval_dataset": "held-out"})  # nothing is evaluated
    with pytest.raises(InputError, match="dataset was d and is now e"):
        check(record(), {**RUN, "dataset": "e"})
    with pytest.raises(InputError, match="image_root was not set and is now here"):
        check(record(), {**RUN, "image_root": "here"})


def test_checkpoints_of_another_stage_are_named(record):
    with pytest.raises(InputError, match=r"of another kind of run .*'num_generations'.*: name another"):
        check(record(num_generations=4))


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"settings": {"of_another_version": 1}}'])
def test_checkpoints_without_a_readable_record_are_kept(tmp_path, text):
    path = tmp_path / "run.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match="of a run that cannot be read .*: name another --output, or move"):
        check(path)


@pytest.mark.slow
def test_the_settings_in_a_card_make_the_same_run_again(recipe, tmp_path):
    """They hold no paths, which are given beside them."""
    args = ["--set", "save_strategy=no", "--set", "run_name=off", "--drop-imagery"]
    first = recipe(lr_scheduler_kwargs={}, max_grad_norm=0.5)
    places = {name: value for name, value in yaml.safe_load(Path(first).read_text()).items() if name in PLACES}
    assert main(["dift", "--config", first, *args]) == 0
    out = tmp_path / "out"
    expected, card = weights(out), (out / "README.md").read_text()
    out.rename(tmp_path / "first")
    printed = tmp_path / "printed.yaml"
    settings = yaml.safe_load(re.search(r"```yaml\n(.*?)```", card, re.DOTALL)[1])
    printed.write_text(yaml.safe_dump({**places, **settings}))
    assert main(["dift", "--config", str(printed), *args]) == 0
    again = weights(out)
    assert all(torch.equal(expected[name], again[name]) for name in expected)
    logs = [json.loads((tmp_path / name / "training_log.json").read_text()) for name in ("first", "out")]
    assert all(log["settings"]["drop_imagery"] is True and log["settings"]["max_grad_norm"] == 0.5 for log in logs)

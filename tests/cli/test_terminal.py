"""What commands print: our own lines, and what libraries say only with `--verbose`."""

import logging
import os
import subprocess
import sys
import warnings

import pytest
import yaml

from fourdthinker.cli.terminal import quiet_libraries
from fourdthinker.cli.training_progress import format_entry, format_seconds


def run_command(*argv, cwd):
    quiet = {name: value for name, value in os.environ.items() if "VERBOSITY" not in name}
    command = [sys.executable, "-m", "fourdthinker.cli", *map(str, argv)]
    return subprocess.run(command, cwd=cwd, env=quiet, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_loading_and_saving_print_one_line_of_ours(tmp_path):
    done = run_command("init", "--tiny", "--output", "model", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "model in model\n", "")


@pytest.mark.slow
def test_verbose_shows_the_bars_of_libraries(tmp_path):
    done = run_command("init", "--tiny", "--output", "model", "--verbose", cwd=tmp_path)
    assert done.returncode == 0 and "Loading weights" in done.stderr


@pytest.mark.slow
def test_training_without_a_terminal_prints_a_line_a_step_and_no_bar(tmp_path, tiny_model_folder, dift_dataset):
    settings = {"max_steps": 2, "logging_steps": 1, "per_device_train_batch_size": 2, "activation_checkpointing": True}
    settings |= {"use_cpu": True, "bf16": False, "save_strategy": "no", "precompute_targets": True}
    settings |= {"feature_cache": str(tmp_path / "cache")}
    places = {"model": str(tiny_model_folder), "dataset": str(dift_dataset), "output": str(tmp_path / "out")}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**places, **settings}))
    done = run_command("dift", "--config", "run.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, end, place = done.stdout.splitlines()
    assert first.startswith("step 1/2  loss ") and first.endswith(" s left") and "learning_rate" in first
    assert second.startswith("step 2/2  loss ") and end.startswith("trained to step 2 in ")
    assert place == f"trained model in {tmp_path / 'out'}"


def test_warnings_of_libraries_are_silent_and_ours_are_not(capsys):
    own, library = logging.getLogger("fourdthinker.somewhere"), logging.getLogger("transformers.somewhere")
    unknown = logging.getLogger("some_library")
    before = (dict(os.environ), logging.getLogger().level, library.getEffectiveLevel())
    with quiet_libraries(verbose=False):
        assert own.isEnabledFor(logging.WARNING)
        assert not library.isEnabledFor(logging.WARNING) and not unknown.isEnabledFor(logging.WARNING)
        assert library.isEnabledFor(logging.ERROR)
        with warnings.catch_warnings(record=True) as seen:
            warnings.warn("a library changed", FutureWarning, stacklevel=1)
        assert not seen and os.environ["TRANSFORMERS_VERBOSITY"] == "error"
    assert before == (dict(os.environ), logging.getLogger().level, library.getEffectiveLevel())


def test_verbose_changes_nothing_and_holds_for_commands_that_are_started(monkeypatch):
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    with quiet_libraries(verbose=True):
        assert "TRANSFORMERS_VERBOSITY" not in os.environ
        with quiet_libraries(verbose=False):  # as in the process of a command that a verbose one has started
            assert "TRANSFORMERS_VERBOSITY" not in os.environ


def test_what_a_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    with quiet_libraries(verbose=False):
        assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"


def test_an_entry_is_one_readable_line():
    logs = {"loss": 1.23456, "cosine_1": 0.5, "learning_rate": 1e-5, "grad_norm": 2.0, "epoch": 0.1, "total_flos": 1e9}
    assert format_entry(logs, 7, 300, 200.0) == (
        "step   7/300  loss 1.235  grad_norm 2  learning_rate 1e-05  3 min left"
    )
    rollout = {"reward": 0.75, "reward_std": 0.1, "completions/mean_length": 44.0, "loss": 0.0, "entropy": 1.0}
    assert format_entry(rollout, 1, 2) == ("step 1/2  loss 0  reward 0.75  reward_std 0.1  completions/mean_length 44")
    held_out = {"eval_loss": 1.0, "eval_accuracy": 0.5, "eval_accuracy_low": 0.4, "eval_runtime": 3.0, "epoch": 1}
    assert format_entry(held_out, 2, 2) == "step 2/2  evaluation  loss 1  accuracy 0.5"
    assert format_entry({"train_runtime": 7500.0, "train_loss": 0.5}, 2, 2) == (
        "trained to step 2 in 2 h 5 min, mean loss 0.5"
    )
    assert format_entry({"something": 3, "total_flos": 1.0}, 1, 2) == "step 1/2  something 3"


@pytest.mark.parametrize(("seconds", "text"), [(45.2, "45 s"), (89, "89 s"), (91, "2 min"), (3600, "1 h 0 min")])
def test_seconds_are_readable(seconds, text):
    assert format_seconds(seconds) == text

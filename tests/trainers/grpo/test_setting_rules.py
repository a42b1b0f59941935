"""Settings of 4DRL that do not go together are found without torch."""

from types import SimpleNamespace

import pytest
from torch import distributed

from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers.grpo.setting_rules import check_group_rules

SETTINGS = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "generation_batch_size": None,
    "steps_per_generation": None,
    "num_generations": 8,
    "num_generations_eval": None,
    "eval_strategy": "steps",
}


@pytest.mark.parametrize(
    ("processes", "changes"),
    [
        ("8", {}),
        ("2", {"gradient_accumulation_steps": 4}),
        ("2", {"gradient_accumulation_steps": 3, "steps_per_generation": 8}),
        ("2", {"generation_batch_size": 16}),
        ("1", {"gradient_accumulation_steps": 8, "num_generations_eval": 4, "per_device_eval_batch_size": 4}),
        ("1", {"gradient_accumulation_steps": 8, "eval_strategy": "no", "per_device_eval_batch_size": 3}),
    ],
)
def test_whole_groups_over_all_processes_and_steps_pass(monkeypatch, processes, changes):
    monkeypatch.setenv("WORLD_SIZE", processes)
    check_group_rules(SimpleNamespace(**SETTINGS | changes))


@pytest.mark.parametrize("variable", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"])
def test_processes_of_mpi_are_counted_as_accelerate_does(monkeypatch, variable):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv(variable, "8")
    check_group_rules(SimpleNamespace(**SETTINGS))
    monkeypatch.setenv(variable, "3")
    with pytest.raises(InputError, match="does not divide the 3 completions"):
        check_group_rules(SimpleNamespace(**SETTINGS))


def test_processes_of_a_running_group_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    distributed.init_process_group("gloo", rank=0, world_size=1, store=distributed.HashStore())
    try:
        with pytest.raises(InputError, match="does not divide the 1 completions"):
            check_group_rules(SimpleNamespace(**SETTINGS))
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("processes", "changes", "words"),
    [
        ("4", {}, "num_generations is 8, which does not divide the 4 completions"),
        ("2", {"steps_per_generation": 2}, "the 4 completions"),
        ("3", {"generation_batch_size": 8}, "generation_batch_size is 8, no multiple of 3"),
        ("8", {"num_generations_eval": 3}, "with 8 processes holds no whole groups of 3"),
    ],
)
def test_a_cut_group_is_named(monkeypatch, processes, changes, words):
    monkeypatch.setenv("WORLD_SIZE", processes)
    with pytest.raises(InputError, match=words):
        check_group_rules(SimpleNamespace(**SETTINGS | changes))

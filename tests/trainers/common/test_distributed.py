"""Weights spread over processes: what would leave them waiting for one another ends before the first step."""

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTConfig, DIFTTrainer
from fourdthinker.trainers.common.distributed import gather_weights, weights_are_sharded
from fourdthinker.trainers.dift.sharding_rules import check_sharding, most_blocks

PARALLEL = {"self_feeding": "parallel"}
PRECOMPUTED = {"precompute_targets": True}
HELD_OUT = {"eval_strategy": "steps", "eval_steps": 1}


@pytest.fixture(scope="module")
def family():
    """Nothing here depends on it."""
    return "qwen2_5_vl"


@pytest.fixture
def settings(tmp_path):
    return lambda **changes: DIFTConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none", **changes)


@pytest.fixture
def rows(dift_dataset, make_dift_row):
    return lambda *imagery: dift_dataset([make_dift_row(number, count) for number, count in enumerate(imagery)])


@pytest.mark.parametrize(
    ("changes", "imagery", "words"),
    [
        ({"self_feeding": "sequential"}, (2, 2), "use parallel"),
        ({**PARALLEL, "teacher_forcing": 0.5}, (2, 2), "teacher_forcing"),
        (
            {**PARALLEL, **PRECOMPUTED},
            (2, 0),
            "1 row without imagery would take fewer passes.*: leave them out",
        ),
        ({}, (2, 0, 0), "2 rows without imagery would take fewer passes.*: set precompute_targets"),
        ({**HELD_OUT}, (2, 2), "eval_generations"),
        ({"self_feeding": "exact"}, (2, 0), "1 row without imagery would take fewer passes.*: leave them out"),
        ({"self_feeding": "exact", "target_readout": True}, (2, 2), "target_readout"),
        ({"freeze_vision": False}, (2, 2), "set precompute_targets, or freeze_vision to true"),
    ],
    ids=str,
)
def test_what_would_leave_processes_waiting_is_rejected(settings, rows, changes, imagery, words):
    with pytest.raises(InputError, match=f"weights are sharded.*{words}"):
        check_sharding(settings(**changes), [rows(*imagery)])


def test_held_out_rows_count_too(settings, rows):
    with pytest.raises(InputError, match="1 row without imagery"):
        check_sharding(settings(**HELD_OUT, eval_generations=0), [rows(2, 1), rows(0)])


@pytest.mark.parametrize(
    ("changes", "imagery"),
    [
        ({}, (2, 1)),
        (PRECOMPUTED, (2, 0)),
        (PARALLEL, (2, 1)),
        ({"self_feeding": "exact"}, (2, 1)),
        ({"freeze_vision": False, **PRECOMPUTED}, (2, 1)),
        ({"drop_imagery": True, "self_feeding": "sequential"}, (2, 0)),
        ({**HELD_OUT, "eval_generations": 0}, (2, 1)),
    ],
    ids=str,
)
def test_what_all_processes_do_alike_is_not(settings, rows, changes, imagery):
    check_sharding(settings(**changes), [rows(*imagery)])


def test_features_need_the_towers_weights_in_every_process(settings, rows, monkeypatch):
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    with pytest.raises(InputError, match="set fsdp_cpu_ram_efficient_loading to false"):
        check_sharding(settings(**PRECOMPUTED), [rows(1)])
    check_sharding(settings(), [rows(1)])


def test_weights_are_sharded_under_fsdp_and_the_third_stage_of_zero(settings, monkeypatch):
    assert not weights_are_sharded(settings())
    for stage, expected in ((2, False), (3, True)):
        plugin = SimpleNamespace(zero_stage=stage)
        assert weights_are_sharded(SimpleNamespace(fsdp=None, deepspeed_plugin=plugin)) == expected
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # as `accelerate launch` says it
    assert weights_are_sharded(settings())


def test_a_trainer_rejects_before_the_first_step(settings, rows, tiny_model_folder, monkeypatch):
    model, processor = load_model(tiny_model_folder)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="1 row without imagery"):
        DIFTTrainer(model, args=settings(), train_dataset=rows(1, 0), processing_class=processor)


def test_exact_latents_take_one_number_of_passes_for_all_rows(settings, rows):
    assert most_blocks([rows(1, 3), rows(2)]) == 3
    assert most_blocks([rows(0)]) == most_blocks([]) == 1


def test_the_tower_is_whole_while_features_are_computed(monkeypatch):
    """DeepSpeed marks what it has sharded by an id, and gathers it on request."""
    gathered = []

    @contextmanager
    def gather(weights):
        gathered.append(len(weights))
        yield
        gathered.append("let go")

    monkeypatch.setitem(sys.modules, "deepspeed", SimpleNamespace(zero=SimpleNamespace(GatheredParameters=gather)))
    tower = nn.Linear(2, 2)
    with gather_weights(tower):
        assert torch.isfinite(tower(torch.ones(2))).all() and gathered == []
    tower.weight.ds_id = 0
    with gather_weights(tower):
        assert gathered == [2]
    assert gathered == [2, "let go"]

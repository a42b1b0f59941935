"""A separate learning rate for a vision tower that trains."""

import pytest
import torch
from peft import LoraConfig
from torch import nn

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTConfig, DIFTTrainer, LatentGRPOConfig, LatentGRPOTrainer
from fourdthinker.trainers.common.vision_learning_rate import check_own_optimizer, set_vision_learning_rate

# One plain step, so that weights move by rate times gradient; unclipped, since a norm would join the two parts.
ONE_STEP = {"optim": "sgd", "max_steps": 1, "max_grad_norm": 0.0, "lr_scheduler_type": "constant", "weight_decay": 0.0}
ONE_STEP |= {"freeze_vision": False, "learning_rate": 0.5}


@pytest.fixture(scope="module")
def family():
    """Both have one tower with its merger in it."""
    return "qwen2_5_vl"


def steps(trainer):
    """How far training moves each weight, of the tower and of the rest."""
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    moved = {name: weight.detach() - before[name] for name, weight in trainer.model.named_parameters()}
    tower = {name: step for name, step in moved.items() if ".visual." in name}
    return tower, {name: step for name, step in moved.items() if name not in tower}


@pytest.mark.medium
def test_the_tower_moves_by_its_rate_and_the_rest_by_the_other(make_dift_trainer, make_dift_row):
    rows = [make_dift_row(number, 1) for number in range(2)]
    tower, rest = steps(make_dift_trainer(rows, **ONE_STEP))
    slow_tower, same_rest = steps(make_dift_trainer(rows, **ONE_STEP, vision_learning_rate=0.125))
    assert any(".merger." in name for name in tower) and sum(step.abs().sum() for step in tower.values()) > 0
    for name, step in tower.items():
        # A difference of two float32 weights, of which the larger are about 1.
        torch.testing.assert_close(slow_tower[name] * 4, step, atol=1e-6, rtol=1e-4, msg=name)
    assert all(torch.equal(same_rest[name], step) for name, step in rest.items())


@pytest.mark.slow
def test_grpo_keeps_a_tower_without_a_rate_as_it_is(tiny_model_folder, dift_dataset, make_dift_row, tmp_path):
    model, processor = load_model(tiny_model_folder)
    settings = {**ONE_STEP, "num_generations": 4, "per_device_train_batch_size": 4, "max_completion_length": 4}
    settings |= {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True, "beta": 0.0}
    args = LatentGRPOConfig(str(tmp_path), **settings, vision_learning_rate=0.0, save_strategy="no")

    def reward(completions, **columns):
        return [float(number % 2) for number in range(len(completions))]

    rows = dift_dataset([make_dift_row(number, 1) for number in range(2)])
    tower, rest = steps(LatentGRPOTrainer(model, reward, args, rows, processing_class=processor))
    assert all(step.eq(0).all() for step in tower.values())
    assert any(step.abs().sum() > 0 for step in rest.values())


def test_schedules_scale_both_rates(make_dift_trainer, make_dift_row):
    settings = {"freeze_vision": False, "learning_rate": 1e-3, "vision_learning_rate": 1e-5, "max_steps": 4}
    trainer = make_dift_trainer([make_dift_row(0, 1)], **settings)
    trainer.create_optimizer_and_scheduler(4)
    for share in (1.0, 0.75, 0.5):
        assert trainer.lr_scheduler.get_last_lr() == pytest.approx([1e-3 * share] * 2 + [1e-5 * share] * 2)
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [0.01, 0.0] * 2


@pytest.mark.parametrize("config", [DIFTConfig, LatentGRPOConfig])
def test_a_frozen_tower_has_no_rate(config, tmp_path):
    settings = {"use_cpu": True, "bf16": False, "vision_learning_rate": 1e-5}
    with pytest.raises(InputError, match="vision_learning_rate is for a vision tower that trains: set freeze_vision"):
        config(str(tmp_path), **settings)
    with pytest.raises(InputError, match="vision_learning_rate is -1.0: give a number of 0 or more"):
        config(str(tmp_path), **{**settings, "vision_learning_rate": -1.0})
    with pytest.raises(InputError, match="optim lomo has one learning rate"):
        config(str(tmp_path), **settings, freeze_vision=False, optim="lomo")


@pytest.mark.parametrize("held", [0, 1])
def test_an_optimizer_without_all_of_the_towers_parameters_is_named(held):
    tower, other = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = torch.optim.SGD([*other.parameters(), *list(tower.parameters())[:held]], lr=0.1)
    with pytest.raises(InputError, match="SGD does not hold the parameters of the vision tower"):
        set_vision_learning_rate(optimizer, tower, 0.01)
    assert len(optimizer.param_groups) == 1


def test_optimizers_that_the_trainer_does_not_make_are_named(make_dift_trainer, make_dift_row):
    trainer = make_dift_trainer([make_dift_row(0, 1)], **{**ONE_STEP, "vision_learning_rate": 0.1})
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)  # as `optimizers=` does
    with pytest.raises(InputError, match="give the optimizer two parameter groups"):
        trainer.train()
    with pytest.raises(InputError, match="remove `optimizer` there"):
        check_own_optimizer(False, {"optimizer": {"type": "AdamW"}})
    check_own_optimizer(False, {"zero_optimization": {"stage": 2}})


@pytest.mark.slow
def test_a_run_resumes_with_its_rates_and_not_with_others(make_dift_trainer, make_dift_row):
    rows = [make_dift_row(number, 1) for number in range(2)]
    saving = {"freeze_vision": False, "learning_rate": 1e-3, "save_strategy": "steps", "save_steps": 1}
    make_dift_trainer(rows, **saving, vision_learning_rate=1e-4, max_steps=1).train()
    with pytest.raises(InputError, match="another vision_learning_rate, or none: set it as it was"):
        make_dift_trainer(rows, **saving, max_steps=2).train(resume_from_checkpoint=True)
    trainer = make_dift_trainer(rows, **saving, vision_learning_rate=1e-4, max_steps=2)
    trainer.train(resume_from_checkpoint=True)
    logged = [entry for entry in trainer.state.log_history if "vision_learning_rate" in entry]
    assert [entry["step"] for entry in logged] == [1, 2]
    assert all(entry["vision_learning_rate"] == pytest.approx(entry["learning_rate"] / 10) for entry in logged)


@pytest.mark.medium
def test_adapters_in_the_tower_have_its_rate(
    make_dift_trainer, make_dift_row, tiny_model_folder, dift_dataset, tmp_path
):
    settings = {**ONE_STEP, "use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True}
    args = DIFTConfig(str(tmp_path), **settings, vision_learning_rate=0.0, save_strategy="no", warmup_steps=0)
    adapter = LoraConfig(r=2, target_modules=r".*(visual.*qkv|language_model.*q_proj)")
    rows = dift_dataset([make_dift_row(number, 1) for number in range(2)])
    tower, rest = steps(DIFTTrainer(str(tiny_model_folder), args=args, train_dataset=rows, peft_config=adapter))
    assert any("lora_B" in name for name in tower) and all(step.eq(0).all() for step in tower.values())
    assert any(step.abs().sum() > 0 for name, step in rest.items() if "lora_B" in name)

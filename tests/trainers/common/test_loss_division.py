"""A micro-batch's gradient is not divided once more by the accumulation steps, in either stage."""

import pytest
import torch
from datasets import Dataset

from fourdthinker.modeling import load_model
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer


@pytest.fixture
def make_grpo_trainer(tiny_model_folder, tmp_path):
    def make(rows, **settings):
        model, processor = load_model(tiny_model_folder)
        args = LatentGRPOConfig(
            str(tmp_path), per_device_train_batch_size=4, num_generations=4, use_cpu=True, bf16=False, **settings
        )
        return LatentGRPOTrainer(
            model, args=args, train_dataset=Dataset.from_list(rows), processing_class=processor, reward_funcs=len
        )

    return make


@pytest.mark.medium
@pytest.mark.parametrize("family", ["qwen2_5_vl"], indirect=True)
def test_backward_leaves_the_loss_as_it_is(make_dift_trainer, make_grpo_trainer, make_dift_row):
    rows = [make_dift_row(number) for number in range(4)]
    for make in (make_dift_trainer, make_grpo_trainer):
        trainer = make(rows, gradient_accumulation_steps=4)
        weight = torch.ones(3, requires_grad=True)
        trainer.accelerator.backward(weight.sum())
        assert weight.grad.tolist() == [1.0] * 3

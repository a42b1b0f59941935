"""What a DIFT run logs of its speed."""

import time

import pytest
from transformers import TrainerCallback

SECONDS = 0.5  # of an evaluation, at least


class EvaluateOnce(TrainerCallback):
    """A slow evaluation before the second step; notes when steps are logged, and how fast they were."""

    def __init__(self, trainer):
        self.trainer, self.logged = trainer, []

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 1:
            self.trainer.evaluate(self.trainer.train_dataset)

    def on_evaluate(self, args, state, control, **kwargs):
        time.sleep(SECONDS)

    def on_log(self, args, state, control, logs, **kwargs):
        if "loss" in logs:
            self.logged.append((time.perf_counter(), logs["tokens_per_second"]))


@pytest.mark.medium
@pytest.mark.parametrize("family", ["qwen2_5_vl"], indirect=True)
def test_time_of_evaluations_is_not_that_of_training(make_dift_trainer, make_dift_row):
    trainer = make_dift_trainer([make_dift_row(0, 1)], max_steps=2, eval_generations=0)
    tokens = int(trainer.data_collator([trainer.train_dataset[0]])["attention_mask"].sum())
    trainer.add_callback(watch := EvaluateOnce(trainer))
    trainer.train()
    (first, _), (second, speed) = watch.logged
    assert tokens / speed < second - first - SECONDS / 2

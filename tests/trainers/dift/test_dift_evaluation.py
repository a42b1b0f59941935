"""Evaluation measures the loss of training, and what the model answers."""

import pytest
import torch

from .dift_steps import PARTS, batch_of


@pytest.mark.slow
def test_evaluation_measures_the_same_loss(make_trainer, rows):
    trainer = make_trainer(rows, self_feeding="parallel", self_feed_passes=1, per_device_eval_batch_size=len(rows))
    measured = trainer.evaluate(trainer.train_dataset)
    with torch.no_grad():
        loss, outputs = trainer.compute_loss(trainer.model.eval(), batch_of(trainer), return_outputs=True)
    assert measured["eval_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert measured["eval_sim_loss"] == pytest.approx(outputs.sim_loss.item(), rel=1e-5)


@pytest.mark.medium
def test_evaluation_does_not_depend_on_its_batches(make_trainer, uneven_rows):
    measured = []
    for size in (1, 3, 8):
        trainer = make_trainer(uneven_rows, per_device_eval_batch_size=size, eval_generations=0)
        measured.append(trainer.evaluate(trainer.train_dataset))
        names = ("eval_loss", "eval_ce_loss", "eval_sim_loss", "eval_cosine_1", "eval_mean_token_accuracy")
        assert {name: measured[-1][name] for name in names} == pytest.approx(
            {name: measured[0][name] for name in names}, abs=1e-5
        )
    assert measured[0]["eval_loss"] == pytest.approx(
        0.1 * measured[0]["eval_ce_loss"] + measured[0]["eval_sim_loss"], abs=1e-5
    )


@pytest.mark.medium
def test_each_of_several_held_out_sets_is_answered(make_trainer, rows, dift_dataset):
    trainer = make_trainer(rows, eval_generations=2, eval_max_new_tokens=4)
    trainer.eval_dataset = {"easy": dift_dataset(rows[:2]), "hard": dift_dataset(rows[1:])}
    measured = trainer.evaluate()
    assert {"eval_easy_accuracy", "eval_hard_accuracy", "eval_easy_loss", "eval_hard_loss"} <= measured.keys()
    for name, held_out in trainer.eval_dataset.items():
        alone = trainer.evaluate(held_out)
        parts = [f"eval_{part}" for part in (*PARTS, "cosine_1", "norm_ratio", "mean_token_accuracy", "loss")]
        apart = {part: measured[part.replace("eval_", f"eval_{name}_")] for part in parts}
        assert apart == pytest.approx({part: alone[part] for part in parts}, rel=1e-6)
    assert "eval_ce_loss" not in measured, "whose would it be?"
    logged = [entry for entry in trainer.state.log_history if "eval_hard_ce_loss" in entry]
    assert len(logged) == 1 and logged[0]["eval_hard_ce_loss"] == measured["eval_hard_ce_loss"]


@pytest.mark.medium
def test_evaluation_logs_what_the_model_answers_on_its_own(make_trainer, rows):
    trainer = make_trainer(rows, eval_generations=2, eval_max_new_tokens=12, per_device_eval_batch_size=2)
    metrics = trainer.evaluate(trainer.train_dataset)
    assert metrics["eval_accuracy_rows"] == 2 and metrics["eval_accuracy_chance"] == 0.25
    assert 0 <= metrics["eval_accuracy_low"] <= metrics["eval_accuracy"] <= metrics["eval_accuracy_high"] <= 1
    assert {"eval_rows_with_blocks", "eval_whole_blocks"} <= metrics.keys()
    (entry,) = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert entry["eval_accuracy"] == metrics["eval_accuracy"], "one entry, for callbacks and the best checkpoint"
    quiet = make_trainer(rows, eval_generations=0).evaluate(trainer.train_dataset)
    assert "eval_accuracy" not in quiet and "eval_loss" in quiet


@pytest.mark.medium
def test_rows_without_an_answer_count_as_none_in_evaluation(make_trainer, rows):
    cut = {"response": "<think>I picture it <output_image>, then <output_image>", "answer": ""}
    mixed = [{**rows[0], "id": "cut", **cut}, *rows]
    trainer = make_trainer(mixed, eval_generations=4, eval_max_new_tokens=4)
    metrics = trainer.evaluate(trainer.train_dataset)
    assert metrics["eval_accuracy_rows"] == len(rows)
    alone = trainer.evaluate(trainer.train_dataset.select([0]))
    assert "eval_accuracy" not in alone and alone["eval_sim_loss"] > 0

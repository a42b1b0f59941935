"""Whole runs of 4DRL: what moves, what is logged, and what ends a run."""

import json

import pyarrow.parquet
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.latent_rules import LatentRules
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer
from fourdthinker.trainers.grpo.metrics import GRPOMetrics

from .grpo_runs import OPTIONS, make_rows, make_trainer, repeated, roll_out, text_mask, training


@pytest.mark.slow
def test_training_moves_the_policy_and_logs_its_blocks(parts, tmp_path):
    model, _ = parts
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    trainer = training(parts, tmp_path, beta=0.01)
    trainer.train()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert any("language_model" in name for name in moved)
    assert not any("visual" in name for name in moved)
    entries = [entry for entry in trainer.state.log_history if "latents/blocks_per_completion" in entry]
    assert len(entries) == 2
    assert all(torch.isfinite(torch.tensor(entry["loss"])) for entry in entries)
    assert entries[0]["latents/blocks_per_completion"] > 0


@pytest.mark.medium
def test_entropy_and_kl_are_means_over_the_text(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, beta=0.1)
    (batch,) = roll_out(trainer)
    with torch.no_grad():
        trainer._base_model.lm_head.bias[10:200] += 2.0  # away from the reference
    trainer._compute_loss(trainer.model, batch)
    text, (log_probs, entropies, _) = text_mask(batch), trainer.scored
    assert 0 < text.sum() < batch["completion_mask"].sum(), "some of them are latents"
    logged = trainer._metrics["train"]
    assert logged["entropy"] == [pytest.approx(entropies[text].mean().item(), rel=1e-5)]
    distance = batch["ref_per_token_logps"] - log_probs
    kl = (distance.exp() - distance - 1)[text].mean().item()
    assert kl > 1e-2 and logged["kl"] == [pytest.approx(kl, rel=1e-4)]


def test_the_entropy_is_that_of_what_was_sampled_from(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path, temperature=0.7)
    (batch,) = roll_out(trainer)
    trainer._compute_loss(trainer.model, batch)
    expected = batch["decoded_entropy"][text_mask(batch)].mean().item()
    assert trainer._metrics["train"]["entropy"] == [pytest.approx(expected, rel=1e-4)]


def test_groups_that_all_earned_the_same_are_counted(parts, tmp_path):
    """Six times 1.2: the deviation that TRL computes of them is 1e-7 in fp32, and counts for one."""

    def mostly_equal(completions, **columns):
        return [1.0] * (len(completions) - 2) + [None, 0.5]

    def form(completions, **columns):
        return [1.0] * len(completions)

    settings = {"num_generations": 6, "reward_weights": [1.0, 0.2]}
    trainer = make_trainer(parts, tmp_path, rewards=[mostly_equal, form], **settings)
    roll_out(trainer, prompts=2)
    assert trainer._metrics["train"]["frac_reward_zero_std"] == [0.5]


@pytest.mark.medium
def test_an_evaluation_scores_its_own_rows(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path)
    roll_out(trainer)  # whose batches wait for the steps of training
    trainer.model.eval()
    assert trainer._prepare_inputs(repeated(make_rows(1), 4))["ids"] == ["clip-0"] * 4


@pytest.mark.medium
def test_groups_of_an_evaluation_have_a_size_of_their_own(parts, tmp_path):
    def reward(completions, id, **columns):
        return [float(name == "clip-0") for name in id]

    model, processor = parts
    settings = {"per_device_eval_batch_size": 4, "num_generations_eval": 2, "use_cpu": True, "bf16": False}
    settings |= {"per_device_train_batch_size": 4, "num_generations": 4, "max_completion_length": 4}
    args, rows = LatentGRPOConfig(str(tmp_path), report_to="none", **settings), Dataset.from_list(make_rows(2))
    trainer = LatentGRPOTrainer(model, reward, args, rows, rows, processing_class=processor)
    assert trainer.evaluate()["eval_frac_reward_zero_std"] == 1.0


@pytest.mark.slow
def test_a_step_tells_its_blocks_and_where_its_time_went(parts, tmp_path):
    trainer = training(parts, tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2, beta=0.1)
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert [entry["step"] for entry in entries] == [1, 2]
    for entry in entries:
        assert {"kl", "entropy", "clip_ratio/region_mean", "completions/clipped_ratio"} <= entry.keys()
        assert {"frac_reward_zero_std", "rewards/varied_reward/mean"} <= entry.keys()
        assert 0 < entry["latents/whole_blocks"] <= 1 and entry["latents/completions_with_blocks"] <= 1
        assert entry["rollout_seconds"] > 0 and entry["scoring_seconds"] > 0
        assert entry["rollout_seconds"] + entry["scoring_seconds"] < entry["step_time"]
        assert entry["tokens_per_second"] > 0


def test_whole_blocks_are_counted_and_the_account_starts_anew():
    rules = LatentRules(pad=1, start=2, end=3, size=2)
    metrics = GRPOMetrics(Accelerator(cpu=True), rules)
    metrics.add([[7, 2, 1, 1, 3, 8, 2, 1, 1, 3, 9], [7, 2, 1], [7, 8, 9, 9]])
    with metrics.timed("rollout"):
        pass
    read = metrics.read([0.5, 1.0])
    assert read["latents/blocks_per_completion"] == 1.0
    assert read["latents/completions_with_blocks"] == pytest.approx(2 / 3)
    assert read["latents/whole_blocks"] == pytest.approx(2 / 3)
    assert read["tokens_per_second"] == pytest.approx(18 / 1.5)
    assert metrics.read([]) == {}
    metrics.add([[7, 9]])
    assert "latents/whole_blocks" not in metrics.read([])


@pytest.mark.slow
def test_logged_completions_show_their_blocks(parts, tmp_path):
    trainer = training(parts, tmp_path, log_completions=True, num_completions_to_print=1)
    trainer.train()
    table = pyarrow.parquet.read_table(tmp_path / "completions" / "completions_00001.parquet").to_pydict()
    assert len(table["completion"]) == 8 and table["step"] == [1] * 8
    texts = [message["content"] for (message,) in table["completion"]]
    assert any("[imagery 1: 4 latents]" in text for text in texts)
    assert not any("<|latent" in text for text in texts)
    assert [len(text) > 0 for text in texts] == [True] * 8
    assert table["shown"] == texts, "each beside its own rewards"


@pytest.mark.slow
def test_evaluation_logs_the_same_numbers(parts, tmp_path):
    trainer = training(parts, tmp_path, per_device_eval_batch_size=8, max_steps=1)
    trainer.eval_dataset = Dataset.from_list(make_rows(2))
    trainer.train()
    measured = trainer.evaluate()
    assert measured["eval_latents/blocks_per_completion"] > 0 and measured["eval_rollout_seconds"] > 0
    assert "eval_tokens_per_second" not in measured


@pytest.mark.medium
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question": "Where is <|image_pad|>?"}, "question has the token <|image_pad|> in its words: take it out"),
        ({"options": [*OPTIONS, *"abcdefg"]}, "options has 11 entries: give 2 to 10, or none"),
        (
            {"timestamps": [0.0, 0.5, 0.5, 1.0]},
            "timestamps 3 is 0.5, not later than 0.5 before it: write rising seconds",
        ),
    ],
)
def test_a_row_that_makes_no_prompt_is_named(parts, tmp_path, change, words):
    trainer = make_trainer(parts, tmp_path)
    rows = repeated([{**row, **(change if row["id"] == "clip-1" else {})} for row in make_rows(3)], 4)
    with pytest.raises(InputError) as failure:
        trainer._generate_and_score_completions(rows)
    assert str(failure.value) == f"row clip-1: {words}"


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run_before_its_step(parts, tmp_path):
    trainer = training(parts, tmp_path, max_steps=3, save_strategy="steps", save_steps=1)
    before = []

    def overflow(module, inputs, output):
        if torch.is_grad_enabled() and trainer.state.global_step == 1:
            before.append({name: weight.clone() for name, weight in trainer.model.named_parameters()})
            output.last_hidden_state.data.fill_(float("nan"))

    trainer._base_model.model.register_forward_hook(overflow)
    with pytest.raises(InputError, match="the loss of step 2 is nan: the ids of its rows are in .*loss-2-0.json"):
        trainer.train()
    record = json.loads((tmp_path / "loss-2-0.json").read_text())
    assert record["step"] == 2 and len(record["ids"]) == 8 and len(set(record["ids"])) == 2
    assert set(record["ids"]) < {f"clip-{number}" for number in range(4)}
    assert all(torch.equal(weight, before[0][name]) for name, weight in trainer.model.named_parameters())
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]


def test_a_rollout_of_a_broken_policy_ends_the_run_in_one_line(parts, tmp_path):
    trainer = make_trainer(parts, tmp_path)
    with torch.no_grad():
        trainer._base_model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(
        InputError, match="the policy's log-probs are NaN or infinite in the rollout of step 1: .*loss-1-0"
    ):
        roll_out(trainer)
    assert json.loads((tmp_path / "loss-1-0.json").read_text())["ids"][::4] == ["clip-0", "clip-1", "clip-2"]


@pytest.mark.medium
def test_fewer_rows_than_a_rollout_takes_are_rejected(parts, tmp_path):
    """TRL leaves them out: the run would end without a step and save the model that it began with."""
    trainer = make_trainer(parts, tmp_path)  # 12 completions at once, 4 of a prompt
    trainer.train_dataset = Dataset.from_list(make_rows(2))
    with pytest.raises(InputError, match="takes 3 prompts and there are 2 rows: .*lower"):
        trainer.train()


def test_rows_without_the_needed_columns_are_rejected(parts, tmp_path):
    model, processor = parts
    rows = Dataset.from_list([{"question": "q", "options": OPTIONS, "answer": "A"}])
    with pytest.raises(InputError, match="train_dataset has no column frames, timestamps"):
        LatentGRPOTrainer(
            model, args=LatentGRPOConfig(str(tmp_path), use_cpu=True), train_dataset=rows, processing_class=processor
        )

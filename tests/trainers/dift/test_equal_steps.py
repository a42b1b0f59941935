"""A step is the same however its rows are batched, packed, padded, recomputed and shared among processes."""

import json
import os
from itertools import product

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

from fourdthinker.trainers import DIFTCollator

from .dift_steps import ONE_STEP, PARALLEL, PARTS, batch_of, gradients, loss_of


@pytest.mark.parametrize(
    "settings",
    [
        {},
        PARALLEL,
        {**PARALLEL, "self_feed_gradient": 2, "latent_norm": "match"},
        {"self_feeding": "sequential", "self_feed_gradient": 2},
        {"self_feeding": "exact"},
    ],
    ids=str,
)
@pytest.mark.slow
def test_a_step_does_not_depend_on_how_it_is_cut_up(make_trainer, uneven_rows, settings):
    logs, weights = [], []
    for size in (8, 1, 2):
        cut = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 8 // size}
        trainer = make_trainer(uneven_rows, **ONE_STEP, **cut, **settings)
        trainer.train()
        logs.append({part: trainer.state.log_history[0][part] for part in PARTS})
        weights.append(trainer.model.state_dict())
    for log, weight in zip(logs[1:], weights[1:], strict=True):
        assert log == pytest.approx(logs[0], abs=1e-5)
        for name, values in weight.items():
            torch.testing.assert_close(values, weights[0][name], atol=1e-5, rtol=0, msg=name)
    assert min(logs[0].values()) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "way"),
    [
        *product(
            [{}, PARALLEL, {**PARALLEL, "self_feed_gradient": 2}], [{"pack_rows": True}, {"padding_side": "left"}]
        ),
        ({"self_feeding": "sequential", "self_feed_gradient": 1}, {"padding_side": "left"}),
        ({"self_feeding": "sequential", "self_feed_gradient": 1}, {"pack_rows": True}),
        ({"self_feeding": "exact"}, {"pack_rows": True}),
    ],
    ids=str,
)
def test_rows_are_worth_the_same_packed_and_padded_on_either_side(make_trainer, uneven_rows, settings, way):
    # Two seconds a frame: other than what a processor takes for granted.
    rows = [{**row, "timestamps": [4 * time for time in row["timestamps"]]} for row in uneven_rows[:4]]
    plain, other = (make_trainer(rows, **settings, **changes) for changes in ({}, way))
    torch.testing.assert_close(loss_of(other), loss_of(plain), atol=1e-5, rtol=0)
    expected, got = gradients(plain), gradients(other)
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    "settings",
    [{}, {**PARALLEL, "self_feed_gradient": 2}, {"self_feeding": "sequential", "self_feed_gradient": 1}],
    ids=str,
)
@pytest.mark.slow
def test_recomputed_activations_change_nothing(make_trainer, uneven_rows, settings):
    plain, saving = (make_trainer(uneven_rows[:4], gradient_checkpointing=on, **settings) for on in (False, True))
    saving.model.gradient_checkpointing_enable({"use_reentrant": False})
    passes = []
    saving.model.model.language_model.layers[0].mlp.register_forward_pre_hook(
        lambda *_: passes.append(saving.model.training)
    )
    expected, got = gradients(plain), gradients(saving)
    assert sum(passes) == 2 * (1 + settings.get("self_feed_gradient", 0)), "each pass with gradient twice"
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.slow
def test_transformers_own_trainer_gives_the_same_step(make_trainer, uneven_rows):
    ours = make_trainer(uneven_rows, **ONE_STEP)
    ours.train()
    collate, other = DIFTCollator(ours.processing_class, 4), make_trainer(uneven_rows, **ONE_STEP)
    arguments = {"use_cpu": True, "report_to": "none", "save_strategy": "no"}
    arguments |= {"remove_unused_columns": False, "warmup_steps": 0, "weight_decay": ours.args.weight_decay}
    args = TrainingArguments(
        other.args.output_dir, logging_steps=1, per_device_train_batch_size=8, **ONE_STEP, **arguments
    )
    plain = Trainer(other.model, args, train_dataset=other.train_dataset, data_collator=collate)
    plain.train()
    assert plain.state.log_history[0]["loss"] == pytest.approx(ours.state.log_history[0]["loss"], abs=1e-5)
    for name, weight in ours.model.state_dict().items():
        torch.testing.assert_close(plain.model.state_dict()[name], weight, atol=1e-5, rtol=0, msg=name)


@pytest.mark.medium
def test_packed_rows_are_one_without_padding(make_trainer, uneven_rows):
    trainer = make_trainer(uneven_rows[:3], pack_rows=True)
    batch, seen = batch_of(trainer), []
    trainer.model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"].shape), with_kwargs=True
    )
    trainer.compute_loss(trainer.model, dict(batch))
    assert seen == [(1, int(batch["attention_mask"].sum()), trainer.model.config.text_config.hidden_size)]
    # A row behind another one is blind to it: another first row changes nothing in its own loss.
    first, second = (
        {**uneven_rows[0], "answer": letter, "response": f"<answer>{letter}</answer>"} for letter in ("A", "B")
    )
    states = []
    for row in (first, second):
        seen = []
        trainer = make_trainer([{**row, "imagery": [], "imagery_masks": []}, uneven_rows[1]], pack_rows=True)
        trainer.model.model.register_forward_hook(lambda module, args, output, seen=seen: seen.append(output))
        trainer.compute_loss(trainer.model, batch_of(trainer))
        states.append(seen[0].last_hidden_state[0, -40:])
    torch.testing.assert_close(*states, atol=1e-5, rtol=0)


@pytest.mark.medium
def test_rows_of_like_length_share_batches(make_trainer, make_dift_row):
    short, long = ([make_dift_row(number, 0) for number in numbers] for numbers in ([0] * 24, [30] * 24))
    rows = [row for pair in zip(short, long, strict=True) for row in pair]
    trainer = make_trainer(rows, train_sampling_strategy="group_by_length", per_device_train_batch_size=2)
    lengths = [int(trainer.data_collator([row])["attention_mask"].sum()) for row in rows[:2]]
    # Qwen3-VL's processor writes the time of each grid as well.
    assert all(
        0 <= exact - estimate < 20
        for exact, estimate in zip(lengths, trainer.train_dataset["length"][:2], strict=True)
    )
    batches = [batch["attention_mask"].sum(1).tolist() for batch in trainer.get_train_dataloader()]
    # transformers sorts 12 rows at a time, so at most one batch of six is mixed; by chance it would be three.
    assert sum(len(set(batch)) > 1 for batch in batches) <= 4 < 24 == len(batches)


@pytest.mark.medium
def test_images_are_decoded_in_worker_processes(make_trainer, rows, tmp_path):
    trainer = make_trainer(rows, dataloader_num_workers=2, per_device_train_batch_size=1)
    collate, log = trainer.data_collator, tmp_path / "processes"

    def collate_and_record(batch):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        assert all(isinstance(image, dict) for row in batch for image in row["frames"])
        return collate(batch)

    trainer.data_collator = collate_and_record
    assert len(list(trainer.get_train_dataloader())) == 3
    assert str(os.getpid()) not in log.read_text().split() and len(log.read_text().split()) == 3


SCRIPT = """
import json
import sys

from datasets import load_dataset

from fourdthinker.modeling import load_model
from fourdthinker.trainers import DIFTConfig, DIFTTrainer

folder, rows, out, settings = sys.argv[1:]
model, processor = load_model(folder)
trainer = DIFTTrainer(
    model,
    args=DIFTConfig(out, **json.loads(settings)),
    train_dataset=load_dataset("parquet", data_files=rows, split="train", cache_dir=out),
    processing_class=processor,
)
trainer.train()
if trainer.is_world_process_zero():
    model.save_pretrained(out)
    with open(f"{out}/log.json", "w") as file:
        json.dump(trainer.state.log_history, file)
"""


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen3_vl"], scope="module")
def test_two_processes_of_four_rows_are_one_of_eight(
    make_trainer, uneven_rows, dift_dataset, tiny_model_folder, tmp_path, in_two_processes
):
    fixed = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "logging_steps": 1}
    fixed |= {"warmup_steps": 0, **ONE_STEP, "per_device_train_batch_size": 4}
    rows, out = tmp_path / "rows.parquet", tmp_path / "two"
    dift_dataset(uneven_rows).to_parquet(rows)
    in_two_processes(SCRIPT, tiny_model_folder, rows, out, json.dumps(fixed))
    trainer = make_trainer(uneven_rows, **ONE_STEP, per_device_train_batch_size=8)
    trainer.train()
    alone, both = trainer.state.log_history[0], json.loads((out / "log.json").read_text())[0]
    assert {part: both[part] for part in PARTS} == pytest.approx({part: alone[part] for part in PARTS}, abs=1e-5)
    expected = trainer.model.state_dict()
    for name, values in load_file(out / "model.safetensors").items():
        torch.testing.assert_close(values, expected[name], atol=1e-5, rtol=0, msg=name)

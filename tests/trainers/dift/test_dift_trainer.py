"""DIFT: the published loss, latents that are exactly the row's own, and gradients where they belong."""

import json
import os
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.processing import decode_image, encode_imagery
from fourdthinker.modeling.self_feeding import SelfFeeding
from fourdthinker.trainers import DIFTCollator, DIFTConfig

PARALLEL = {"self_feeding": "parallel", "self_feed_passes": 2}


@pytest.fixture
def make_trainer(make_dift_trainer):
    return make_dift_trainer


@pytest.fixture
def rows(make_dift_row):
    """Rows with two blocks each, of different lengths."""
    return [make_dift_row(number, 2) for number in range(3)]


def batch_of(trainer):
    batch = dict(trainer.data_collator(list(trainer.train_dataset)))
    assert batch.pop("ids") == trainer.train_dataset["id"]
    return batch


def loss_of(trainer):
    return trainer.compute_loss(trainer.model, batch_of(trainer))


def gradients(trainer) -> dict[str, torch.Tensor]:
    trainer.model.train()
    trainer.model.zero_grad()
    loss_of(trainer).backward()
    return {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}


def test_published_loss_is_the_models_own(make_trainer, rows):
    trainer = make_trainer(rows, ce_loss_weight=0.3, sim_loss_weight=0.7)
    batch = batch_of(trainer)
    expected = trainer.model(**batch)
    loss, outputs = trainer.compute_loss(trainer.model, dict(batch), return_outputs=True)
    torch.testing.assert_close(loss, expected.loss)
    torch.testing.assert_close(loss, 0.3 * outputs.ce_loss + 0.7 * outputs.sim_loss)
    assert outputs.sim_loss > 0 and outputs.ce_loss > 0


@pytest.mark.medium
def test_rows_with_and_without_imagery_are_one_batch(make_trainer, make_dift_row):
    for settings in ({}, PARALLEL):
        trainer = make_trainer([make_dift_row(0, 0), make_dift_row(1, 2), make_dift_row(2, 0)], **settings)
        assert torch.isfinite(loss_of(trainer))
        trainer = make_trainer([make_dift_row(0, 0), make_dift_row(1, 0)], **settings)
        _, outputs = trainer.compute_loss(trainer.model, batch_of(trainer), return_outputs=True)
        assert outputs.sim_loss == 0 and outputs.ce_loss > 0


@pytest.mark.medium
@torch.no_grad()
@pytest.mark.parametrize(
    ("settings", "feeding"),
    [
        ({}, None),
        ({"self_feeding": "parallel", "self_feed_passes": 3}, SelfFeeding(3)),
        ({"self_feeding": "sequential"}, SelfFeeding()),
    ],
    ids=str,
)
def test_rows_feed_on_what_the_settings_say(make_trainer, rows, settings, feeding):
    trainer = make_trainer(rows, **settings)
    batch = batch_of(trainer)
    expected = trainer.model(**batch, self_feeding=feeding)
    torch.testing.assert_close(trainer.compute_loss(trainer.model, batch), expected.loss)


def test_teacher_forcing_falls_from_its_share_to_none(make_trainer, rows):
    settings = {"self_feeding": "parallel", "teacher_forcing": 0.8, "teacher_forcing_until": 0.5}
    trainer = make_trainer(rows, **settings)
    trainer.model.train()
    trainer.state.max_steps, shares = 100, {}
    for step in (0, 25, 50, 99):
        trainer.state.global_step = step
        draws = [trainer._feeding(1000).get("teacher_forced", torch.zeros(1)) for _ in range(10)]
        shares[step] = torch.cat([draw.float() for draw in draws]).mean().item()
    assert shares == pytest.approx({0: 0.8, 25: 0.4, 50: 0.0, 99: 0.0}, abs=0.02)
    trainer.state.global_step = 0
    trainer.model.eval()
    assert "teacher_forced" not in trainer._feeding(1000), "evaluation measures own latents"


@pytest.mark.medium
def test_the_vision_tower_gets_no_gradient_and_the_language_model_does(make_trainer, rows):
    for settings in ({}, PARALLEL, {**PARALLEL, "self_feed_gradient": 1}):
        trainer = make_trainer(rows, **settings)
        grads = gradients(trainer)
        assert not [name for name in grads if ".visual." in name]
        assert not any(weight.requires_grad for weight in trainer.model.model.visual.parameters())
        language = {name for name, _ in trainer.model.named_parameters() if ".visual." not in name}
        assert set(grads) == language
        assert all(grad.abs().sum() > 0 for grad in grads.values())


@pytest.mark.slow
def test_gradient_reaches_the_pass_that_predicted_the_latents_only_if_asked(make_trainer, rows):
    settings = PARALLEL
    without, cut, through = (
        gradients(make_trainer(rows, **settings, self_feed_gradient=passes)) for passes in (0, 0, 1)
    )
    assert all(torch.equal(without[name], cut[name]) for name in without)
    different = [name for name in without if not torch.allclose(without[name], through[name], rtol=1e-3, atol=1e-6)]
    assert len(different) > len(without) / 2
    trainers = [make_trainer(rows, **settings, self_feed_gradient=passes) for passes in (0, 1)]
    torch.testing.assert_close(*(loss_of(trainer).detach() for trainer in trainers))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {**PARALLEL, "self_feed_gradient": 1},
        {**PARALLEL, "latent_norm": "match", "latent_pooling": "region"},
        {"drop_imagery": True},
    ],
    ids=str,
)
def test_a_few_steps_lower_the_loss_and_leave_the_vision_tower_as_it_was(make_trainer, rows, settings):
    trainer = make_trainer(rows, max_steps=8, learning_rate=1e-2, ce_loss_weight=1.0, **settings)
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    assert log[-1]["ce_loss"] < log[0]["ce_loss"]
    assert ("sim_loss" in log[0]) and (log[0]["sim_loss"] == 0) == ("drop_imagery" in settings)
    after = trainer.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and not [name for name in changed if ".visual." in name]


@pytest.mark.slow
def test_what_is_logged_is_what_the_steps_were(make_trainer, uneven_rows):
    trainer = make_trainer(uneven_rows, max_steps=3, logging_steps=1, learning_rate=1e-3)
    batch = {**batch_of(trainer), "use_cache": False}
    with torch.no_grad():
        expected = trainer.model.train()(**batch)
    trainer.train()
    entry = trainer.state.log_history[0]
    assert entry["ce_loss"] == pytest.approx(float(expected.ce_loss), abs=1e-5)
    assert entry["sim_loss"] == pytest.approx(float(expected.sim_loss), abs=1e-5)
    assert entry["mean_token_accuracy"] == pytest.approx(float(expected.correct_tokens / expected.supervised_tokens))
    cosines = expected.cosine.mean(0).tolist()
    assert [entry[f"cosine_{index}"] for index in range(1, 5)] == pytest.approx(cosines, abs=1e-5)
    assert entry["norm_ratio"] == pytest.approx(float(expected.norm_ratio.mean()), rel=1e-4)
    assert entry["tokens_per_second"] > 0 and 0.1 < entry["memory_gib"] < 64
    assert "cosine_1" not in make_trainer(uneven_rows, drop_imagery=True).train().metrics


@pytest.mark.medium
def test_a_nan_or_infinite_loss_stops_and_leaves_the_rows_ids(make_trainer, rows):
    trainer = make_trainer(rows, max_steps=5, per_device_train_batch_size=3)

    def spoil(module, inputs, output):
        if trainer.state.global_step == 1:
            output.last_hidden_state.data.fill_(float("nan"))

    trainer.model.model.register_forward_hook(spoil)
    with pytest.raises(InputError, match="the loss of step 2 is nan") as caught:
        trainer.train()
    (file,) = Path(trainer.args.output_dir).glob("loss-*.json")
    assert str(file) in str(caught.value)
    assert sorted(json.loads(file.read_text())["ids"]) == ["row-0", "row-1", "row-2"]
    assert all(weight.isfinite().all() for weight in trainer.model.parameters())


@pytest.mark.medium
def test_out_of_memory_names_the_longest_row(make_trainer, rows):
    trainer = make_trainer(rows, max_steps=1)

    def run_out_of_memory(module, inputs):
        raise torch.OutOfMemoryError("no room")

    trainer.model.model.language_model.layers[1].register_forward_pre_hook(run_out_of_memory)
    longest = max(range(3), key=lambda number: trainer.data_collator([rows[number]])["input_ids"].shape[1])
    with pytest.raises(InputError, match=f"out of memory at step 1, whose longest row is row-{longest} with"):
        trainer.train()


ONE_STEP = {"max_steps": 1, "optim": "sgd", "learning_rate": 0.1, "lr_scheduler_type": "constant", "max_grad_norm": 0}
PARTS = ("loss", "ce_loss", "sim_loss")


@pytest.fixture
def uneven_rows(make_dift_row):
    """Eight rows of different lengths with none to three imagined frames."""
    return [make_dift_row(number, number % 4) for number in range(8)]


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


@pytest.mark.slow
def test_a_model_that_matches_lengths_is_ready_before_the_first_step(make_trainer, rows):
    settings = {"latent_norm": "match", "self_feeding": "parallel", "eval_generations": 0}
    trainer = make_trainer(rows, **settings, per_device_train_batch_size=1, max_steps=3)
    images = [image for row in trainer.train_dataset for image in row["imagery"]]
    assert len(images) == 6
    targets = trainer.model.imagery_targets(
        **encode_imagery(trainer.processing_class, list(map(decode_image, images)))
    )
    length = targets.norm(dim=-1).mean().item()
    assert trainer.model.config.latent_target_norm == pytest.approx(length, rel=1e-5)
    trainer.evaluate(trainer.train_dataset)
    trainer.train()
    assert trainer.model.config.latent_target_norm == pytest.approx(length, rel=1e-5), "one length for all steps"


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


def test_dropped_imagery_never_enters(make_trainer, rows):
    trainer = make_trainer(rows, drop_imagery=True, self_feeding="parallel")
    batch = batch_of(trainer)
    assert "pixel_values_latent" not in batch
    assert not (batch["input_ids"] == trainer.model.config.latent_token_id).any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"self_feed_passes": 0}, "self_feed_passes is 0"),
        ({"self_feed_gradient": -1}, "self_feed_gradient is -1"),
        ({"self_feeding": "both"}, "self_feeding is 'both': choose one of none, pads, parallel, sequential, exact"),
        ({**PARALLEL, "teacher_forcing": 1.5}, "teacher_forcing is 1.5"),
        ({"teacher_forcing": 0.5}, "teacher_forcing is a part of self-feeding"),
        ({"ce_loss_weight": -1}, "ce_loss_weight is -1"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor is 0.1, which DIFT cannot follow"),
        ({"average_tokens_across_devices": False}, "average_tokens_across_devices"),
        ({"latent_loss": "l2"}, "latent_loss is 'l2'"),
        ({"padding_side": "both"}, "padding_side is 'both'"),
        ({"max_length": 512}, "max_length"),
        ({"packing": True}, "pack_rows"),
        ({"padding_free": True}, "pack_rows"),
        ({"latent_norm": "layer"}, "latent_norm is 'layer'"),
        ({"latent_pooling": "mean"}, "latent_pooling is 'mean'"),
    ],
)
def test_settings_that_would_break_latent_blocks_are_rejected(tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        DIFTConfig(str(tmp_path), use_cpu=True, bf16=False, **settings)


@pytest.mark.medium
def test_settings_travel_in_the_models_configuration(make_trainer, rows):
    settings = {"ce_loss_weight": 0.25, "sim_loss_weight": 0.5, "latent_norm": "match", "latent_pooling": "grid"}
    config = make_trainer(rows, **settings).model.config
    assert {name: getattr(config, name) for name in settings} == settings
    kept = make_trainer(rows).model.config
    assert (kept.latent_norm, kept.latent_pooling) == ("none", "average"), "unset, the model's own stay"

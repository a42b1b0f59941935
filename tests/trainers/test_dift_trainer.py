"""DIFT: the published loss, latents that are exactly the row's own, and gradients where they belong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset, Features, Image, List, Value
from safetensors.torch import load_file

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTConfig, DIFTTrainer

FEATURES = Features(
    {
        **dict.fromkeys(("id", "task", "question", "answer", "response"), Value("string")),
        "options": List(Value("string")),
        "frames": List(Image()),
        "timestamps": List(Value("float64")),
        "imagery": List(Image()),
        "imagery_masks": List(Image()),
    }
)
LATENTS = 8  # two blocks of four


@pytest.fixture
def make_trainer(tiny_model_folder, tmp_path):
    def make(rows, **settings):
        model, processor = load_model(tiny_model_folder)
        fixed = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
        settings = {"per_device_train_batch_size": len(rows), "logging_steps": 1, "warmup_steps": 0, **settings}
        args = DIFTConfig(str(tmp_path / "out"), **fixed, **settings)
        dataset = Dataset.from_list(rows, features=FEATURES)
        return DIFTTrainer(model, args=args, train_dataset=dataset, processing_class=processor)

    return make


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


def decoded_alone(model, collate, row) -> torch.Tensor:
    """A row's latents one after the other: each is the last state of the words and latents before it."""
    inputs = collate([row])
    pads = (inputs["input_ids"][0] == model.config.latent_token_id).nonzero()[:, 0].tolist()
    names = ("pixel_values_videos", "video_grid_thw", "second_per_grid_ts")
    vision = {name: inputs[name] for name in names if name in inputs}
    latents: list[torch.Tensor] = []
    for position in pads:
        outputs = model.model(
            input_ids=inputs["input_ids"][:, :position],
            attention_mask=inputs["attention_mask"][:, :position],
            latent_embeds=torch.stack(latents) if latents else None,
            use_cache=False,
            **vision,
        )
        latents.append(model.fed_back(outputs.last_hidden_state[0, -1]))
    return torch.stack(latents)


def test_published_loss_is_the_models_own(make_trainer, rows):
    trainer = make_trainer(rows, ce_loss_weight=0.3, sim_loss_weight=0.7)
    batch = batch_of(trainer)
    expected = trainer.model(**batch)
    loss, outputs = trainer.compute_loss(trainer.model, dict(batch), return_outputs=True)
    torch.testing.assert_close(loss, expected.loss)
    torch.testing.assert_close(loss, 0.3 * outputs.ce_loss + 0.7 * outputs.sim_loss)
    assert outputs.sim_loss > 0 and outputs.ce_loss > 0


def test_rows_with_and_without_imagery_are_one_batch(make_trainer, make_dift_row):
    for settings in ({}, {"self_feed_passes": 2}):
        trainer = make_trainer([make_dift_row(0, 0), make_dift_row(1, 2), make_dift_row(2, 0)], **settings)
        assert torch.isfinite(loss_of(trainer))
        trainer = make_trainer([make_dift_row(0, 0), make_dift_row(1, 0)], **settings)
        _, outputs = trainer.compute_loss(trainer.model, batch_of(trainer), return_outputs=True)
        assert outputs.sim_loss == 0 and outputs.ce_loss > 0


@torch.no_grad()
@pytest.mark.parametrize("latent_norm", ["none", "match"])
def test_enough_parallel_passes_give_the_latents_that_the_row_would_decode(make_trainer, make_dift_row, latent_norm):
    rows = [make_dift_row(0, 2), make_dift_row(1, 0), make_dift_row(2, 1)]
    fed = {}
    for passes in (1, LATENTS - 1, LATENTS, LATENTS + 3):
        trainer = make_trainer(rows, self_feed_passes=passes, latent_norm=latent_norm)
        trainer.model.config.latent_target_norm = 3.0
        batch = trainer._with_encoded_video(batch_of(trainer))
        fed[passes] = trainer._latents(batch)["latent_embeds"]
    alone = [decoded_alone(trainer.model, trainer.data_collator, row) for row in (rows[0], rows[2])]
    torch.testing.assert_close(fed[LATENTS], torch.cat(alone), atol=1e-5, rtol=0)
    torch.testing.assert_close(fed[LATENTS + 3], torch.cat(alone), atol=1e-5, rtol=0)
    # Pass n makes latent n right: one pass fewer leaves the last of eight wrong, and one pass gets only the first.
    right = (fed[LATENTS - 1] - torch.cat(alone)).abs().amax(-1) < 1e-5
    assert right.tolist() == [True] * 7 + [False] + [True] * 4
    right = (fed[1] - torch.cat(alone)).abs().amax(-1) < 1e-5
    assert right.nonzero()[:, 0].tolist() == [0, 8]


@torch.no_grad()
def test_the_loss_is_that_of_one_more_pass_on_these_latents(make_trainer, rows):
    trainer = make_trainer(rows, self_feed_passes=2)
    batch = batch_of(trainer)
    latents = trainer._latents(trainer._with_encoded_video(dict(batch)))["latent_embeds"]
    expected = trainer.model(**batch, latent_embeds=latents)
    torch.testing.assert_close(trainer.compute_loss(trainer.model, dict(batch)), expected.loss)
    published = trainer.model(**batch)
    assert (expected.loss - published.loss).abs() > 1e-3


def test_the_vision_tower_gets_no_gradient_and_the_language_model_does(make_trainer, rows):
    for settings in ({}, {"self_feed_passes": 2}, {"self_feed_passes": 2, "self_feed_gradient": True}):
        trainer = make_trainer(rows, **settings)
        grads = gradients(trainer)
        assert not [name for name in grads if ".visual." in name]
        assert not any(weight.requires_grad for weight in trainer.model.model.visual.parameters())
        language = {name for name, _ in trainer.model.named_parameters() if ".visual." not in name}
        assert set(grads) == language
        assert all(grad.abs().sum() > 0 for grad in grads.values())


def test_gradient_reaches_the_pass_that_predicted_the_latents_only_if_asked(make_trainer, rows):
    settings = {"self_feed_passes": 2}
    without, cut, through = (
        gradients(make_trainer(rows, **settings, self_feed_gradient=wanted)) for wanted in (False, False, True)
    )
    assert all(torch.equal(without[name], cut[name]) for name in without)
    different = [name for name in without if not torch.allclose(without[name], through[name], rtol=1e-3, atol=1e-6)]
    assert len(different) > len(without) / 2
    trainers = [make_trainer(rows, **settings, self_feed_gradient=wanted) for wanted in (False, True)]
    torch.testing.assert_close(*(loss_of(trainer).detach() for trainer in trainers))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"self_feed_passes": 2, "self_feed_gradient": True},
        {"self_feed_passes": 2, "latent_norm": "match", "latent_pooling": "region"},
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


def test_a_loss_that_is_no_number_stops_and_leaves_the_rows_ids(make_trainer, rows):
    trainer = make_trainer(rows, max_steps=5, per_device_train_batch_size=3)

    def spoil(module, given, output):
        if trainer.state.global_step == 1:
            output.last_hidden_state.data.fill_(float("nan"))

    trainer.model.model.register_forward_hook(spoil)
    with pytest.raises(InputError, match="the loss of step 2 is nan") as caught:
        trainer.train()
    (file,) = Path(trainer.args.output_dir).glob("loss-*.json")
    assert str(file) in str(caught.value)
    assert sorted(json.loads(file.read_text())["ids"]) == ["row-0", "row-1", "row-2"]
    assert all(weight.isfinite().all() for weight in trainer.model.parameters())


def test_out_of_memory_names_the_longest_row(make_trainer, rows):
    trainer = make_trainer(rows, max_steps=1)

    def refuse(module, given):
        raise torch.OutOfMemoryError("no room")

    trainer.model.model.language_model.layers[1].register_forward_pre_hook(refuse)
    longest = max(range(3), key=lambda number: trainer.data_collator([rows[number]])["input_ids"].shape[1])
    with pytest.raises(InputError, match=f"out of memory at step 1, whose longest row is row-{longest} with"):
        trainer.train()


ONE_STEP = {"max_steps": 1, "optim": "sgd", "learning_rate": 0.1, "lr_scheduler_type": "constant", "max_grad_norm": 0}
PARTS = ("loss", "ce_loss", "sim_loss")


@pytest.fixture
def uneven_rows(make_dift_row):
    """Eight rows of different lengths with none to three imagined frames."""
    return [make_dift_row(number, number % 4) for number in range(8)]


@pytest.mark.parametrize("settings", [{}, {"self_feed_passes": 2}], ids=str)
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
def test_two_processes_of_four_rows_are_one_of_eight(make_trainer, uneven_rows, tiny_model_folder, tmp_path):
    fixed = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "logging_steps": 1}
    fixed |= {"warmup_steps": 0, **ONE_STEP, "per_device_train_batch_size": 4}
    script, rows, out = tmp_path / "train.py", tmp_path / "rows.parquet", tmp_path / "two"
    script.write_text(SCRIPT)
    Dataset.from_list(uneven_rows, features=FEATURES).to_parquet(rows)
    # accelerate's one way to several processes on a machine; `use_cpu` keeps them off its devices.
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    arguments = [str(script), str(tiny_model_folder), str(rows), str(out), json.dumps(fixed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, *arguments], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    trainer = make_trainer(uneven_rows, **ONE_STEP, per_device_train_batch_size=8)
    trainer.train()
    alone, both = trainer.state.log_history[0], json.loads((out / "log.json").read_text())[0]
    assert {part: both[part] for part in PARTS} == pytest.approx({part: alone[part] for part in PARTS}, abs=1e-5)
    expected = trainer.model.state_dict()
    for name, values in load_file(out / "model.safetensors").items():
        torch.testing.assert_close(values, expected[name], atol=1e-5, rtol=0, msg=name)


def test_evaluation_measures_the_same_loss(make_trainer, rows):
    trainer = make_trainer(rows, self_feed_passes=1, per_device_eval_batch_size=len(rows))
    measured = trainer.evaluate(trainer.train_dataset)
    with torch.no_grad():
        loss, outputs = trainer.compute_loss(trainer.model.eval(), batch_of(trainer), return_outputs=True)
    assert measured["eval_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert measured["eval_sim_loss"] == pytest.approx(outputs.sim_loss.item(), rel=1e-5)


def test_dropped_imagery_never_enters(make_trainer, rows):
    trainer = make_trainer(rows, drop_imagery=True, self_feed_passes=2)
    batch = batch_of(trainer)
    assert "pixel_values_latent" not in batch
    assert not (batch["input_ids"] == trainer.model.config.latent_token_id).any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"self_feed_passes": -1}, "self_feed_passes is -1"),
        ({"max_length": 512}, "max_length"),
        ({"packing": True}, "packing"),
        ({"latent_norm": "layer"}, "latent_norm is 'layer'"),
        ({"latent_pooling": "mean"}, "latent_pooling is 'mean'"),
    ],
)
def test_settings_that_would_break_latent_blocks_are_refused(tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        DIFTConfig(str(tmp_path), use_cpu=True, bf16=False, **settings)


def test_settings_travel_in_the_models_configuration(make_trainer, rows):
    settings = {"ce_loss_weight": 0.25, "sim_loss_weight": 0.5, "latent_norm": "match", "latent_pooling": "grid"}
    config = make_trainer(rows, **settings).model.config
    assert {name: getattr(config, name) for name in settings} == settings
    kept = make_trainer(rows).model.config
    assert (kept.latent_norm, kept.latent_pooling) == ("none", "average"), "unset, the model's own stay"

"""DIFT: the published loss, latents that are exactly the row's own, and gradients where they belong."""

import json
from pathlib import Path

import pytest
import torch

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.processing import decode_image, encode_imagery
from fourdthinker.modeling.self_feeding import SelfFeeding
from fourdthinker.trainers import DIFTConfig

from .dift_steps import PARALLEL, batch_of, gradients, loss_of


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
    trainer.args.auto_find_batch_size = True
    with pytest.raises(torch.OutOfMemoryError):  # which accelerate catches, to try a smaller batch
        trainer.training_step(trainer.model, {**batch_of(trainer), "ids": ["a", "b", "c"]})


@pytest.mark.medium
@pytest.mark.parametrize("frozen", [True, False])
def test_a_tower_that_trains_has_its_activations_recomputed(make_trainer, rows, frozen):
    trainer = make_trainer(rows[:1], freeze_vision=frozen, gradient_checkpointing=True, drop_imagery=True)
    trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
    trainer.model.train()
    passes = []
    trainer.model.model.visual.blocks[0].mlp.register_forward_pre_hook(lambda *_: passes.append(1))
    loss_of(trainer).backward()
    assert len(passes) == (1 if frozen else 2)


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

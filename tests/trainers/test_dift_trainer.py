"""DIFT: the published loss, latents that are exactly the row's own, and gradients where they belong."""

import pytest
import torch
from datasets import Dataset, Features, Image, List, Value

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
    return dict(trainer.data_collator(list(trainer.train_dataset)))


def loss_of(trainer):
    return trainer.compute_loss(trainer.model, batch_of(trainer))


def gradients(trainer) -> dict[str, torch.Tensor]:
    trainer.model.train()
    trainer.model.zero_grad()
    loss_of(trainer).backward()
    return {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}


def decoded_alone(model, collate, row) -> torch.Tensor:
    """A row's latents one after the other: each is the last state of the words and latents before it."""
    inputs = dict(collate([row]))
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
        batch = trainer._with_encoded_video(dict(trainer.data_collator(rows)))
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
    batch = dict(trainer.data_collator(rows))
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


def test_accumulated_steps_weigh_as_one_batch(make_trainer, make_dift_row):
    """Rows of one length, so that the mean of two halves is the mean of the whole."""
    rows = [make_dift_row(0, 2, id=str(number)) for number in range(2)]
    norms = []
    for settings in (
        {"per_device_train_batch_size": 2},
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2},
    ):
        trainer = make_trainer(rows, max_steps=1, optim="sgd", learning_rate=1e-3, **settings)
        trainer.train()
        norms.append(next(entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry))
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


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

"""Targets that can be reached: a read-out for training, a frozen copy of the tower, alignment before the answer."""

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file
from torch import nn

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.latent_loss import dift_loss
from fourdthinker.trainers import DIFTConfig, DIFTTrainer
from fourdthinker.trainers.dift.answer_alignment import alignment_loss
from fourdthinker.trainers.dift.target_readout import READOUT_FILE, TargetReadout

EXACT = {"self_feeding": "exact"}
READOUT = {**EXACT, "target_readout": True}


@pytest.fixture(scope="module")
def family():
    """None of this depends on the family."""
    return "qwen2_5_vl"


@pytest.fixture
def rows(make_dift_row):
    return [make_dift_row(number, 1 + number % 2) for number in range(3)]


def batch_of(trainer):
    batch = dict(trainer.data_collator(list(trainer.train_dataset)))
    batch.pop("ids")
    return batch


def losses(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


# Read-out


def test_the_readout_standardises_the_targets_that_it_measured():
    targets = 3.0 + 2.0 * torch.randn(50, 4, 6, generator=torch.Generator().manual_seed(0))
    targets[..., 5] = 1.0  # never varies
    states, standardised = TargetReadout([targets[:20], targets[20:]])(targets, targets)
    assert torch.equal(states, targets), "it begins as the identity"
    flat = standardised.flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(flat[:, :5].std(0), torch.ones(5))
    assert flat[:, 5].abs().max() < 1e-5
    with pytest.raises(InputError, match="the rows have none"):
        TargetReadout([])


def test_the_loss_with_a_readout_is_the_written_out_one():
    draw = torch.Generator().manual_seed(0)
    states, targets = torch.randn(1, 4, 3, generator=draw), torch.randn(1, 2, 3, generator=draw)
    readout = TargetReadout([torch.randn(9, 3, generator=draw)])
    readout.weight.data.normal_(generator=draw)
    ids = torch.tensor([[5, 9, 9, 6]])
    found = dift_loss(states, ids, None, targets, nn.Identity(), 9, latent_loss="smooth_l1", readout=readout)
    predicted = states[0, :2] @ readout.weight.T + readout.bias
    difference = (predicted - (targets[0] - readout.mean) / readout.deviation).abs()
    expected = torch.where(difference < 1, difference**2 / 2, difference - 0.5).mean()
    torch.testing.assert_close(found.sim, expected)


@pytest.mark.slow
def test_training_with_a_readout_lowers_the_loss_and_saves_none_of_it(make_dift_trainer, rows, tmp_path):
    settings = {"learning_rate": 3e-3, "max_steps": 6, "latent_loss": "smooth_l1", "latent_norm": "match"}
    trainer = make_dift_trainer(rows, **READOUT, **settings)
    before = trainer.model.target_readout.weight.clone()
    trainer.train()
    found = losses(trainer, "sim_loss")
    assert found[-1] < 0.9 * found[0]
    assert not torch.equal(trainer.model.target_readout.weight, before)
    trainer.save_model(str(tmp_path / "saved"))
    assert not [name for name in load_file(tmp_path / "saved" / "model.safetensors") if "readout" in name]
    model, _ = load_model(tmp_path / "saved")
    assert getattr(model, "target_readout", None) is None
    expected = trainer.model.state_dict()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, expected[name])


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_the_readout_of_its_checkpoint(make_dift_trainer, rows, make_dift_row, tmp_path):
    settings = {**READOUT, "learning_rate": 1e-3, "per_device_train_batch_size": 1, "save_strategy": "steps"}
    whole = make_dift_trainer(rows, **settings, save_steps=2, max_steps=3)
    whole.train()
    checkpoint = tmp_path / "out" / "checkpoint-2"
    assert (checkpoint / READOUT_FILE).is_file()
    # Other targets: the statistics that were measured first stay.
    resumed = make_dift_trainer(rows[::-1], **settings, save_steps=50, max_steps=3)
    resumed.model.target_readout.mean.zero_()
    resumed.train_dataset = whole.train_dataset
    resumed.train(resume_from_checkpoint=str(checkpoint))
    expected = whole.model.state_dict()
    for name, weight in resumed.model.state_dict().items():
        torch.testing.assert_close(weight, expected[name], msg=name)
    (checkpoint / READOUT_FILE).unlink()
    with pytest.raises(InputError, match="is absent or of another model"):
        resumed.train(resume_from_checkpoint=str(checkpoint))


@pytest.mark.slow
def test_an_adapter_trains_the_readout_too_and_saves_none_of_it(tiny_model_folder, dift_dataset, rows, tmp_path):
    settings = {**READOUT, "use_cpu": True, "bf16": False, "report_to": "none", "max_steps": 1, "warmup_steps": 0}
    trainer = DIFTTrainer(
        str(tiny_model_folder),
        args=DIFTConfig(str(tmp_path / "out"), **settings, learning_rate=1e-3, save_strategy="no"),
        train_dataset=dift_dataset(rows),
        peft_config=LoraConfig(r=2),
    )
    readout = trainer.model.get_base_model().target_readout
    before = readout.weight.clone()
    trainer.train()
    assert not torch.equal(readout.weight, before)
    trainer.save_model(str(tmp_path / "saved"))
    saved = load_file(tmp_path / "saved" / "adapter_model.safetensors")
    assert saved and not [name for name in saved if "readout" in name]


def test_rows_without_imagery_leave_the_readout_in_the_graph(make_dift_trainer, rows, make_dift_row):
    trainer = make_dift_trainer(rows, **READOUT)
    trainer.train_dataset = trainer.train_dataset.from_list([make_dift_row(0, 0)])
    loss = trainer.compute_loss(trainer.model, batch_of(trainer))
    loss.backward()
    assert torch.isfinite(loss)
    assert trainer.model.target_readout.weight.grad.eq(0).all()


# Frozen copy of the tower


@pytest.mark.slow
def test_a_trained_tower_gets_targets_of_a_frozen_copy(make_dift_trainer, rows):
    trainer = make_dift_trainer(rows, **EXACT, freeze_vision=False, learning_rate=1e-2, max_steps=2)
    batch = batch_of(trainer)
    imagery = {name: batch[name] for name in ("pixel_values_latent", "image_grid_thw_latent")}
    before = trainer.model.imagery_targets(**imagery)
    names = set(trainer.model.state_dict())
    trainer.train()
    assert set(trainer.model.state_dict()) == names, "the copy is no part of the model"
    assert not torch.allclose(trainer.model.imagery_targets(**imagery), before, rtol=1e-2), "the tower has moved"
    assert torch.equal(trainer._frozen_tower.encode_imagery(batch)["latent_targets"], before)
    trainer.model.zero_grad()
    trainer.compute_loss(trainer.model, batch).backward()
    assert all(weight.grad is not None for weight in trainer.model.model.visual.parameters())
    assert not any(weight.requires_grad for weight in trainer._frozen_tower._tower.parameters())


def test_precomputed_targets_are_those_of_the_tower_before_training(make_dift_trainer, rows, tmp_path):
    settings = {**EXACT, "freeze_vision": False, "precompute_targets": True, "feature_cache": str(tmp_path / "cache")}
    trainer = make_dift_trainer(rows, **settings)
    assert trainer._frozen_tower is None
    frozen = make_dift_trainer(rows, **EXACT, freeze_vision=False)
    expected = frozen.compute_loss(frozen.model, batch_of(frozen))
    torch.testing.assert_close(trainer.compute_loss(trainer.model, batch_of(trainer)), expected)


# Alignment before the answer


def test_the_alignment_loss_is_the_written_out_one_and_its_gradient_a_finite_difference():
    draw = torch.Generator().manual_seed(0)
    states, teacher = (torch.randn(3, 2, 5, generator=draw, dtype=torch.float64) * 2 for _ in range(2))
    expected = torch.zeros(2, dtype=torch.float64)
    for layer, row in ((layer, row) for layer in range(3) for row in range(2)):
        scale = teacher[layer, row].std()
        for one, other in zip(states[layer, row] / scale, teacher[layer, row] / scale, strict=True):
            gap = (one - other).abs()
            expected[row] += (gap**2 / 2 if gap < 1 else gap - 0.5) / 15
    found = alignment_loss(states, teacher)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    states.requires_grad_(True)
    teacher.requires_grad_(True)
    alignment_loss(states, teacher).sum().backward()
    assert teacher.grad is None
    step = torch.zeros_like(states)
    step[1, 1, 2] = 1e-2
    with torch.no_grad():
        slope = (alignment_loss(states + step, teacher) - alignment_loss(states - step, teacher)).sum() / 2e-2
    torch.testing.assert_close(states.grad[1, 1, 2].float(), slope.float(), rtol=1e-2, atol=1e-4)


@pytest.mark.medium
@pytest.mark.parametrize("settings", [{}, {"pack_rows": True}, {"padding_side": "left"}], ids=str)
def test_the_state_before_the_answer_is_compared_with_that_of_true_imagery(make_dift_trainer, rows, settings):
    trainer = make_dift_trainer(rows, **EXACT, alignment_loss_weight=0.5, **settings)
    batch = batch_of(trainer)
    tokenizer, mask = trainer.processing_class.tokenizer, batch["answer_mask"]
    assert mask.sum(1).tolist() == [1, 1, 1]
    for ids, place in zip(batch["input_ids"], mask.long().argmax(1), strict=True):
        # This tokenizer has one token for the tag's end and the letter.
        assert tokenizer.decode(ids[: place + 1]).endswith("</think><answer")
        assert tokenizer.decode(ids[place + 1]) == ">B"
    model = trainer.model
    plain = {name: value for name, value in batch.items() if name != "answer_mask"}
    teacher = model(**plain, output_hidden_states=True).hidden_states[1:]
    teacher = torch.stack([layer[mask] for layer in teacher])
    own = model(**plain, self_feeding=trainer._feeding(1)["self_feeding"])
    again = model(**plain, latent_embeds=own.latent_embeds, output_hidden_states=True)
    states = torch.stack([layer[mask] for layer in again.hidden_states[1:]])
    expected = own.loss + 0.5 * alignment_loss(states, teacher).mean()
    torch.testing.assert_close(trainer.compute_loss(model, batch), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_training_with_alignment_lowers_its_loss_and_does_not_depend_on_how_a_step_is_cut(make_dift_trainer, rows):
    settings = {**EXACT, "alignment_loss_weight": 1.0, "sim_loss_weight": 0.0, "learning_rate": 1e-3}
    first = []
    for size in (3, 1):
        cut = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 3 // size}
        trainer = make_dift_trainer(rows, **settings, **cut, max_steps=4 if size == 3 else 1)
        trainer.train()
        first.append(losses(trainer, "alignment_loss"))
    assert first[0][-1] < first[0][0]
    assert first[1][0] == pytest.approx(first[0][0], rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target_readout": True}, "target_readout is for rows that feed on their own latents"),
        ({"alignment_loss_weight": 1.0}, "alignment_loss_weight is for rows that feed on their own latents"),
        ({**EXACT, "alignment_loss_weight": -1.0}, "alignment_loss_weight is -1.0"),
        (
            {**EXACT, "target_readout": True, "alignment_loss_weight": 1.0},
            "set one of target_readout and alignment_loss_weight",
        ),
        ({**READOUT, "drop_imagery": True}, "target_readout needs the imagery that drop_imagery leaves out"),
        ({**READOUT, "teacher_forcing": 0.5}, "set teacher_forcing to 0"),
        ({**EXACT, "self_feed_gradient": 1}, "leave self_feed_gradient at 0"),
        ({"freeze_vision": False, "precompute_videos": True}, "precompute_videos keeps features"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_rejected(settings, words, tmp_path):
    with pytest.raises(InputError, match=words):
        DIFTConfig(str(tmp_path), use_cpu=True, bf16=False, **settings)

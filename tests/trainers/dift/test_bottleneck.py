"""DIFT with answers that see latents alone: rows alone, packed and cached have one loss, and settings are kept."""

import json

import pytest
import torch

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.self_feeding import SelfFeeding
from fourdthinker.trainers import DIFTConfig
from fourdthinker.trainers.dift.bottleneck import blinded_share

BLIND = {"answer_sees": "latents", "answer_blinding_until": 0.0}


def loss_of(trainer, batch):
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, dict(batch))
    loss.backward()
    return loss.item(), trainer.model.model.language_model.layers[0].self_attn.q_proj.weight.grad.clone()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("question", [True, False], ids=["question", "no question"])
@pytest.mark.slow
def test_packed_rows_have_the_loss_of_padded_ones(make_dift_trainer, make_dift_row, attention, question):
    rows = [make_dift_row(number, imagery=number % 3) for number in range(3)]
    found = {}
    for pack in (False, True):
        trainer = make_dift_trainer(rows, pack_rows=pack, answer_sees_question=question, **BLIND)
        trainer.model.set_attn_implementation(attention)
        trainer.model.train()
        batch = next(iter(trainer.get_train_dataloader()))
        found[pack] = loss_of(trainer, batch)
        trainer.model.config.answer_sees = "all"
        assert abs(loss_of(trainer, batch)[0] - found[pack][0]) > 1e-4, "the mask makes a difference"
    assert found[True][0] == pytest.approx(found[False][0], abs=1e-5)
    torch.testing.assert_close(found[True][1], found[False][1], atol=1e-5, rtol=1e-3)


@pytest.mark.medium
def test_own_latents_are_those_of_either_way(make_dift_trainer, make_dift_row):
    """Sequential self-feeding decodes with a cache, parallel passes see whole rows."""
    trainer = make_dift_trainer([make_dift_row(number, imagery=number) for number in (1, 2)], **BLIND)
    batch = next(iter(trainer.get_train_dataloader()))
    batch.pop("ids")
    roles = trainer._roles(batch)
    with torch.no_grad():
        losses = [
            trainer.model(**batch, **roles, self_feeding=feeding, use_cache=False).loss
            for feeding in (SelfFeeding(), SelfFeeding(passes=8))
        ]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=0)


def test_the_share_of_blind_rows_rises(tmp_path):
    args = DIFTConfig(str(tmp_path), use_cpu=True, bf16=False, answer_sees="latents", answer_blinding=0.2)
    assert [round(blinded_share(args, step, 100), 3) for step in (0, 25, 50, 90)] == [0.2, 0.6, 1.0, 1.0]
    args.answer_blinding_until = 0.0
    assert blinded_share(args, 0, 100) == 1.0


def test_rows_that_are_not_blinded_yet_are_trained_as_before(make_dift_trainer, make_dift_row):
    rows = [make_dift_row(number) for number in range(2)]
    trainer = make_dift_trainer(rows, answer_sees="latents")
    trainer.model.train()
    trainer.state.max_steps = 10
    batch = next(iter(trainer.get_train_dataloader()))
    first = loss_of(trainer, batch)[0]
    trainer.model.config.answer_sees = "all"
    assert loss_of(trainer, batch)[0] == pytest.approx(first, abs=1e-6)
    trainer.model.config.answer_sees = "latents"
    trainer.model.eval()  # as it will decode, whatever the schedule
    assert abs(trainer.compute_loss(trainer.model, dict(batch)).item() - first) > 1e-4


@pytest.mark.slow
def test_the_model_keeps_what_its_answers_see(make_dift_trainer, make_dift_row, tmp_path):
    rows = [make_dift_row(number, imagery=1 + number) for number in range(2)]
    trainer = make_dift_trainer(rows, max_steps=2, answer_sees="latents", answer_blinding_until=1.0)
    trainer.train()
    shares = [entry["answer_blinding"] for entry in trainer.state.log_history if "answer_blinding" in entry]
    assert shares == [0.0, 0.5]
    trainer.save_model(str(tmp_path / "saved"))
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert [saved[name] for name in ("answer_sees", "answer_sees_question", "latent_blocks")] == ["latents", True, 2]
    model, processor = load_model(tmp_path / "saved")
    assert model.config.turn_token_id == processor.tokenizer.convert_tokens_to_ids("<|im_start|>")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"answer_sees": "video"}, "answer_sees is 'video': choose one of all, latents"),
        ({"answer_sees": "latents", "drop_imagery": True}, "drop_imagery leaves no latents"),
        ({"answer_sees": "all", "answer_blinding": 0.5}, "set answer_sees to latents"),
        ({"answer_sees": "latents", "answer_blinding": 1.5}, "answer_blinding is 1.5: give a share"),
    ],
    ids=str,
)
def test_settings_that_contradict_are_rejected(tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        DIFTConfig(str(tmp_path), use_cpu=True, bf16=False, **settings)


@pytest.mark.medium
@pytest.mark.parametrize(
    "settings", [{"answer_blinding": 1.0}, {"answer_blinding_until": 0.0}, {"answer_sees_question": False}], ids=str
)
def test_settings_of_a_bottleneck_that_is_not_there_are_rejected(make_dift_trainer, make_dift_row, settings):
    with pytest.raises(InputError, match=f"{next(iter(settings))} is a setting .*: set answer_sees to latents"):
        make_dift_trainer([make_dift_row(0)], **settings)


def test_models_and_rows_that_cannot_follow_are_rejected(make_dift_trainer, make_dift_row):
    with pytest.raises(InputError, match="no response has imagery"):
        make_dift_trainer([make_dift_row(0, imagery=0)], answer_sees="latents")

    def pretend_flash(model):
        model.config.get_text_config()._attn_implementation = "flash_attention_2"

    with pytest.raises(InputError, match="attn_implementation"):
        make_dift_trainer([make_dift_row(0)], pretend_flash, answer_sees="latents")

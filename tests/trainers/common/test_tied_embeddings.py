"""The gradient of tied embeddings, in less memory: the same numbers."""

import pytest
import torch

from fourdthinker.trainers.common.tied_embeddings import input_gradient_by_rows


@pytest.fixture
def tied_model(tiny_model):
    tiny_model.lm_head.weight = tiny_model.get_input_embeddings().weight
    return tiny_model


@pytest.fixture
def batch():
    return {"input_ids": torch.tensor([[5, 6, 5, 7, 8, 9]]), "labels": torch.tensor([[-100, -100, 5, 7, 8, 9]])}


def gradient(model, batch, steps=1):
    model.zero_grad()
    for _ in range(steps):
        model(**batch).loss.backward()
    return model.get_input_embeddings().weight.grad.clone()


@pytest.mark.parametrize("steps", [1, 3])
def test_the_gradient_is_the_same(tied_model, batch, steps):
    expected = gradient(tied_model, batch, steps)
    with input_gradient_by_rows(tied_model):
        got = gradient(tied_model, batch, steps)
    torch.testing.assert_close(got, expected, atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(gradient(tied_model, batch, steps), expected, atol=0, rtol=0)  # it leaves no trace


def test_padding_learns_nothing_from_its_input(tied_model, batch):
    tied_model.get_input_embeddings().padding_idx = 6
    expected = gradient(tied_model, batch)
    with input_gradient_by_rows(tied_model):
        got = gradient(tied_model, batch)
    torch.testing.assert_close(got, expected, atol=1e-7, rtol=1e-5)


def test_the_heads_gradient_is_kept_and_added_to(tied_model, batch):
    """One matrix of the whole vocabulary at a time: where it lies when the head's part is done, it stays."""
    table, places = tied_model.get_input_embeddings(), []
    table.weight.register_post_accumulate_grad_hook(lambda weight: places.append(weight.grad.data_ptr()))
    with input_gradient_by_rows(tied_model):
        tied_model(**batch).loss.backward()
    assert places == [table.weight.grad.data_ptr()]


def test_tables_of_their_own_stay_as_they_are(tiny_model, batch):
    table = tiny_model.get_input_embeddings()
    untouched = dict(table._forward_hooks)
    tiny_model.lm_head.weight = torch.nn.Parameter(tiny_model.lm_head.weight.detach().clone())
    with input_gradient_by_rows(tiny_model):
        assert table._forward_hooks == untouched
    tiny_model.lm_head.weight = table.weight
    for enabled, trains in ((False, True), (True, False)):
        table.weight.requires_grad_(trains)
        with input_gradient_by_rows(tiny_model, enabled):
            assert table._forward_hooks == untouched

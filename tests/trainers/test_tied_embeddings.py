"""The gradient of tied embeddings, in less memory: the same numbers."""

import pytest
import torch

from fourdthinker.trainers.tied_embeddings import sparse_input_gradient


@pytest.fixture
def batch():
    return {"input_ids": torch.tensor([[5, 6, 5, 7, 8, 9]]), "labels": torch.tensor([[-100, -100, 5, 7, 8, 9]])}


def gradient(model, batch):
    model.zero_grad()
    model(**batch).loss.backward()
    return model.get_input_embeddings().weight.grad.clone()


def test_the_gradient_is_the_same_and_dense(tiny_model, batch):
    tiny_model.config.tie_word_embeddings = True
    tiny_model.lm_head.weight = tiny_model.get_input_embeddings().weight
    expected = gradient(tiny_model, batch)
    kinds = []
    table = tiny_model.get_input_embeddings()
    table.register_forward_hook(lambda module, given, output: kinds.append(module.sparse))
    with sparse_input_gradient(tiny_model):
        got = gradient(tiny_model, batch)
    assert kinds == [True] and not table.sparse and not got.is_sparse
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_tables_of_their_own_stay_as_they_are(tiny_model, batch):
    tiny_model.lm_head.weight = torch.nn.Parameter(tiny_model.lm_head.weight.detach().clone())
    with sparse_input_gradient(tiny_model):
        assert not gradient(tiny_model, batch).is_sparse
    tied = tiny_model.get_input_embeddings()
    tiny_model.lm_head.weight = tied.weight
    for wanted, trains in ((False, True), (True, False)):
        tied.weight.requires_grad_(trains)
        with sparse_input_gradient(tiny_model, wanted):
            assert not tied.sparse

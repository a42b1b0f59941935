"""The head and its cross entropy in one: the numbers of torch's own, less memory."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from fourdthinker.modeling.fused_cross_entropy import fused_cross_entropy, is_plain_linear

POSITIONS, HIDDEN, VOCABULARY = 11, 8, 23


@pytest.fixture
def head():
    torch.manual_seed(0)
    return nn.Linear(HIDDEN, VOCABULARY, bias=False)


@pytest.fixture
def states():
    torch.manual_seed(1)
    return torch.randn(POSITIONS, HIDDEN, requires_grad=True)


@pytest.fixture
def expected():
    return torch.randint(VOCABULARY, (POSITIONS,), generator=torch.Generator().manual_seed(2))


def stock(states, weight, expected):
    logits = functional.linear(states, weight).float()
    return functional.cross_entropy(logits, expected, reduction="sum"), (logits.argmax(-1) == expected).sum()


def measured(function, states, weight, *rest):
    states.grad = weight.grad = None
    loss, correct = function(states, weight, *rest)
    (0.1 * loss / POSITIONS).backward()
    return loss.detach(), correct, states.grad, weight.grad


@pytest.mark.parametrize("tile", [1, 4, POSITIONS, 100])
def test_loss_count_and_gradients_are_torchs_own(states, head, expected, tile):
    got = measured(fused_cross_entropy, states, head.weight, expected, tile)
    for value, known in zip(got, measured(stock, states, head.weight, expected), strict=True):
        torch.testing.assert_close(value, known, atol=1e-7, rtol=1e-5)


def test_no_gradient_is_made_where_none_is_wanted(head, states, expected, monkeypatch):
    """Of a large vocabulary it is the largest tensor of an evaluation."""
    known = fused_cross_entropy(states, head.weight, expected, 4)[0].detach()
    monkeypatch.delattr("fourdthinker.modeling.fused_cross_entropy._accumulate")
    with torch.no_grad():
        torch.testing.assert_close(fused_cross_entropy(states, head.weight, expected, 4)[0], known, atol=0, rtol=0)


def test_large_logits_do_not_overflow(head, expected):
    states = torch.full((POSITIONS, HIDDEN), 1e4, requires_grad=True)
    got = measured(fused_cross_entropy, states, head.weight, expected, 4)
    for value, known in zip(got, measured(stock, states, head.weight, expected), strict=True):
        torch.testing.assert_close(value, known, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tile", [4, POSITIONS])
def test_under_autocast_it_rounds_like_torchs_own(states, head, expected, tile):
    """Products in bfloat16 (8 bits), the loss and the weight's gradient in fp32."""
    with torch.autocast("cpu", torch.bfloat16):
        got = measured(fused_cross_entropy, states, head.weight, expected, tile)
        known = measured(stock, states, head.weight, expected)
    assert [value.dtype for value in got] == [value.dtype for value in known]
    for value, other in zip(got, known, strict=True):
        torch.testing.assert_close(value, other, atol=2e-3, rtol=2e-2)


@pytest.mark.parametrize("kept", ["states", "weight", "neither"])
def test_what_is_frozen_gets_no_gradient(states, head, expected, kept):
    states.requires_grad_(kept == "states")
    head.weight.requires_grad_(kept == "weight")
    loss, _ = fused_cross_entropy(states, head.weight, expected, 4)
    torch.testing.assert_close(loss, stock(states, head.weight, expected)[0])
    assert loss.requires_grad == (kept != "neither")
    if loss.requires_grad:
        loss.backward()
    assert (states.grad is not None, head.weight.grad is not None) == (kept == "states", kept == "weight")


def test_no_positions_cost_nothing(states, head):
    loss, correct = fused_cross_entropy(states[:0], head.weight, torch.zeros(0, dtype=torch.long), 4)
    (loss + 0.0 * states.sum()).backward()
    assert loss == correct == 0 and not states.grad.any()


def test_a_second_backward_pass_is_rejected(states, head, expected):
    loss, _ = fused_cross_entropy(states, head.weight, expected, 4)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute the loss again"):
        loss.backward()


def test_heads_with_more_than_a_weight_are_distinguished(head):
    assert is_plain_linear(head)
    hooked, moved = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    hooked.register_forward_pre_hook(lambda module, args: None)
    moved.forward = moved.forward
    others = [nn.Linear(2, 2), hooked, moved, lambda states: states, nn.Sequential(nn.Linear(2, 2, bias=False))]
    assert not any(map(is_plain_linear, others))

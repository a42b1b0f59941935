"""Fused LM head and cross entropy: gradients are computed in the forward pass."""

from collections.abc import Callable

import torch
from torch import nn


def is_plain_linear(head: Callable) -> bool:
    """Whether nothing but a weight decides what this head gives: no bias, adapter, quantization, hook or shard."""
    return (
        type(head) is nn.Linear
        and head.bias is None
        and "forward" not in vars(head)  # as accelerate replaces it, to move weights
        and not (head._forward_hooks or head._forward_pre_hooks or head._backward_hooks)
    )


def fused_cross_entropy(
    states: torch.Tensor, weight: torch.Tensor, expected: torch.LongTensor, tile: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed cross entropy of `states @ weight.T`, and how many of the expected ids are the likeliest.

    The gradients are made with the loss, a tile of positions at a time, in place of the tile's logits. So no logits
    are kept or computed twice, and there is one gradient of the weight, however many tiles there are. The price: the
    backward pass can run only once, and cannot be differentiated itself.

    Args:
        states (`torch.Tensor` of shape `(positions, hidden)`): States after the final norm.
        weight (`torch.Tensor` of shape `(vocabulary, hidden)`): The head's.
        expected (`torch.LongTensor` of shape `(positions,)`): Ids to predict.
        tile (`int`): Positions whose logits exist at once.

    Returns:
        `tuple`: The loss in fp32 and the count, both scalars.

    Raises:
        RuntimeError: If the backward pass runs a second time.
    """
    kind = states.device.type
    if not torch.is_grad_enabled():
        weight = weight.detach()  # `needs_input_grad` does not know of grad mode, and the gradient would be made
    if torch.is_autocast_enabled(kind):
        states, weight = (tensor.to(torch.get_autocast_dtype(kind)) for tensor in (states, weight))
    with torch.autocast(kind, enabled=False):
        return _FusedCrossEntropy.apply(states, weight, expected, tile)


class _FusedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, states, weight, expected, tile):
        wants_states, wants_weight, *_ = ctx.needs_input_grad
        by_states = torch.empty_like(states) if wants_states else None
        by_weight = None
        loss = torch.zeros((), dtype=torch.float32, device=states.device)
        correct = torch.zeros((), dtype=torch.long, device=states.device)
        for start in range(0, len(states), tile):
            some, ids = states[start : start + tile], expected[start : start + tile, None]
            logits = (some @ weight.T).float()
            top, likeliest = logits.max(-1, keepdim=True)
            correct += (likeliest == ids).sum()
            expected_logits = logits.gather(-1, ids)
            total = logits.sub_(top).exp_().sum(-1, keepdim=True)  # in place: logits are the largest tensor of a step
            loss += (total.log() + top - expected_logits).sum()
            if not (wants_states or wants_weight):
                continue
            by_logits = logits.div_(total)  # the softmax, less one at the expected id
            by_logits.scatter_add_(-1, ids, torch.full_like(total, -1.0))
            by_logits = by_logits.to(weight.dtype)
            if wants_states:
                torch.mm(by_logits, weight, out=by_states[start : start + tile])
            if wants_weight:
                by_weight = _accumulate(by_weight, by_logits.T, some, one_tile=len(states) <= tile)
        ctx.gradients = by_states, by_weight if by_weight is None else by_weight.to(weight.dtype)
        ctx.mark_non_differentiable(correct)
        return loss, correct

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, by_loss, _):
        if ctx.gradients is None:
            raise RuntimeError("the loss's gradients are gone after one backward(): compute the loss again")
        # In place: a second gradient of the whole vocabulary may not fit.
        gradients = [None if gradient is None else gradient.mul_(by_loss) for gradient in ctx.gradients]
        ctx.gradients = None
        return *gradients, None, None


def _accumulate(total: torch.Tensor | None, left: torch.Tensor, right: torch.Tensor, one_tile: bool) -> torch.Tensor:
    """`total + left @ right`; the sum over tiles is kept in fp32, since many small terms vanish in bfloat16."""
    if one_tile:
        return left @ right
    if total is None:
        return (left @ right).float()
    if left.dtype == torch.float32:
        return total.addmm_(left, right)
    return total.add_(left @ right)

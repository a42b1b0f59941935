"""Gradients of input embeddings that share their weights with the LM head."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel, TrainingArguments

from .distributed import weights_are_sharded


@contextmanager
def input_gradient_by_rows(model: PreTrainedModel, enabled: bool = True) -> Iterator[None]:
    """Add the gradient of a tied table's inputs to the head's in place, row by row, of which a batch has few.

    Autograd would make a matrix of the whole vocabulary of it, and another one of the sum. The numbers are the same
    after `backward()`; `torch.autograd.grad` and hooks of the table's gradient see the head's part alone. A table
    that is frozen, or the inputs' alone, stays as it is.

    Args:
        model: The model.
        wanted (`bool`, *optional*, defaults to `True`): False changes nothing: gradients that processes exchange
            while they arise, or that an optimizer takes at once, must be whole; see [`keeps_gradients_in_backward`].
    """
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head is not None and getattr(head, "weight", None) is getattr(table, "weight", table)
    if not (enabled and tied and table.weight.requires_grad):
        yield
        return
    # Without an input that requires a gradient there is no backward pass; the table itself would make autograd wait.
    anchor = torch.zeros((), requires_grad=True)
    hook = table.register_forward_hook(
        lambda table, arguments, embeddings: _AddedByRows.apply(anchor, embeddings.detach(), arguments[0], table)
    )
    try:
        yield
    finally:
        hook.remove()


def keeps_gradients_in_backward(args: TrainingArguments) -> bool:
    """Whether nothing reads gradients during the backward pass."""
    one_process = args.world_size == 1 and args.n_gpu <= 1
    engine = weights_are_sharded(args) or args.deepspeed_plugin is not None or args.torch_compile
    at_once = args.optim.endswith("layerwise") or "lomo" in args.optim
    return one_process and not engine and not at_once


class _AddedByRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchor, embeddings, ids, table):
        ctx.ids, ctx.table = ids, table
        return embeddings.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        table = ctx.table
        ids, places = ctx.ids.flatten().unique(return_inverse=True)
        # A token may occur in a batch many times, and many small terms vanish in bfloat16.
        rows = torch.zeros(len(ids), gradient.shape[-1], device=gradient.device)
        rows.index_add_(0, places, gradient.flatten(0, -2).float())
        if table.padding_idx is not None:
            rows[ids == table.padding_idx] = 0.0
        if table.weight.grad is None:
            table.weight.grad = torch.zeros_like(table.weight)
        table.weight.grad.index_add_(0, ids, rows.to(table.weight.dtype))
        return None, None, None, None

"""Input embeddings that are the head's weights as well."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel


@contextmanager
def sparse_input_gradient(model: PreTrainedModel, wanted: bool = True) -> Iterator[None]:
    """Give a tied embedding table the gradient of its inputs as rows, of which a batch has few.

    They are added to the head's own gradient. As a matrix of the whole vocabulary they would take its memory again,
    and the sum a third time. A table that is frozen, or the inputs' alone, stays as it is: its gradient would be
    sparse itself, which optimizers refuse.

    Args:
        model: The model.
        wanted (`bool`, *optional*, defaults to `True`): False changes nothing: gradients that processes exchange must
            be of one kind.
    """
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head is not None and getattr(head, "weight", None) is getattr(table, "weight", table)
    if not (wanted and tied and table.weight.requires_grad):
        yield
        return
    before, table.sparse = table.sparse, True
    try:
        yield
    finally:
        table.sparse = before

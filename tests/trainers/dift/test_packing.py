"""Rows of a batch behind each other in one."""

import torch

from fourdthinker.trainers.dift.packing import pack_batch


def test_each_row_is_counted_from_0_wherever_its_padding_stands():
    """Flash attention takes a row to begin where the counted position is 0."""
    ids = torch.tensor([[5, 6, 7, 0], [0, 0, 8, 9]])
    batch = {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": ids + 10}
    axes = torch.arange(3 * 2 * 4).view(3, 2, 4)
    flat = pack_batch(batch, lambda input_ids, attention_mask: (axes, None))
    assert flat["input_ids"].tolist() == [[5, 6, 7, 8, 9]] and flat["labels"].tolist() == [[15, 16, 17, 18, 19]]
    assert flat["position_ids"][:, 0].tolist() == [[0, 1, 2, 0, 1]] + [
        [start, start + 1, start + 2, start + 6, start + 7] for start in (0, 8, 16)
    ]
    assert "attention_mask" not in flat

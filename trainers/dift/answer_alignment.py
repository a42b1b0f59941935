"""Align the state before the answer with that of a pass which saw the true imagery (CODI, arXiv 2502.21074).

CODI distils explicit reasoning into latent reasoning at one token, the one before the answer, in all layers. Here the
teacher is the same model on the same row, fed the imagery targets in place of its own latents.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch.nn import functional
from transformers import BatchFeature, ProcessorMixin

from ...modeling.row_rules import ANSWER_TAG


class Alignment(NamedTuple):
    """The alignment loss of a batch.

    Attributes:
        loss (`torch.Tensor`): Its mean over answers, or their sum divided by those of a whole step.
        answers (`int`): How many answers the batch has that are aligned.
    """

    loss: torch.Tensor
    answers: int


def answer_mask(
    processor: ProcessorMixin, batch: BatchFeature, rows: Sequence[Mapping], spoken: Sequence[str]
) -> torch.BoolTensor:
    """Mark the token before the answer: the one whose state predicts the first token of what `<answer>` holds.

    Args:
        processor: A Qwen2.5-VL or Qwen3-VL processor.
        batch (`BatchFeature`): Encoded conversations, padded on either side.
        rows (`Sequence[Mapping]`): Their rows, with `imagery`.
        spoken (`Sequence[str]`): With what each conversation ends.

    Returns:
        `torch.BoolTensor` of shape `(batch, length)`: One True in each row that has imagery and an answer after it.
    """
    mask = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    encoded = processor.tokenizer(list(spoken), return_offsets_mapping=True)
    ends = (torch.arange(mask.shape[1]) * batch["attention_mask"]).amax(1) + 1
    for number, (row, text, offsets) in enumerate(zip(rows, spoken, encoded["offset_mapping"], strict=True)):
        answer = ANSWER_TAG.search(text)
        if answer is None or not len(row["imagery"]):
            continue
        # A token may hold the tag's end and the answer's beginning.
        first = next(index for index, (_, end) in enumerate(offsets) if end > answer.start(1))
        mask[number, ends[number] - len(offsets) + first - 1] = True
    return mask


def alignment_loss(states: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Smooth-L1 distance of each row's states from the teacher's, mean over layers and dimensions, `(rows,)`.

    Both are divided by the standard deviation of the teacher's state in that layer first, so that no layer outweighs
    the others by the length of its states.

    Args:
        states, teacher (`torch.Tensor` of shape `(layers, rows, hidden)`): The teacher's get no gradient.
    """
    teacher = teacher.detach().float()
    scale = teacher.std(-1, keepdim=True).clamp(min=1e-6)
    return functional.smooth_l1_loss(states.float() / scale, teacher / scale, reduction="none").mean((0, 2))

"""Prefix sharing: completions follow their common prompt in one row, so that it is computed once for all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel
from trl import GRPOConfig
from trl.trainer.utils import split_tensor_dict

from ...modeling.answer_mask import takes_any_mask

_PADDING = -1


def supports_prefix_sharing(model: PreTrainedModel) -> bool:
    """Whether the layers of a model support prefix sharing: a mask by which completions share a prompt."""
    return takes_any_mask(model.config)


def is_order_free(args: GRPOConfig) -> bool:
    """Whether a step's gradient is independent of how its rows are divided into passes: no pass takes its own mean."""
    entropy_terms = args.top_entropy_quantile < 1.0 or args.entropy_coef or args.use_adaptive_entropy
    return args.loss_type != "bnpo" and not entropy_terms


def group_by_prompt(numbers: Sequence[int], at_most: int | None = None) -> list[list[int]]:
    """Indices of the rows of each prompt, by first appearance.

    Args:
        numbers (`Sequence[int]`): For each row the number of its prompt.
        at_most (`int`, *optional*): How many may stand together; a prompt with more has several equal groups.
    """
    rows: dict[int, list[int]] = {}
    for row, number in enumerate(numbers):
        rows.setdefault(number, []).append(row)
    groups = []
    for some in rows.values():
        parts = math.ceil(len(some) / (at_most or len(some)))
        size = math.ceil(len(some) / parts)
        groups += [some[start : start + size] for start in range(0, len(some), size)]
    return groups


def row_cost(tokens: int, hidden: int) -> int:
    """Multiplications of a layer for a row: about `12 · hidden²` weights (Kaplan et al., arXiv 2001.08361, table 1)
    times its tokens, and `2 · hidden` times its pairs of tokens, those that a mask hides among them."""
    return 12 * hidden**2 * tokens + 2 * hidden * tokens**2


def find_best_group_size(prompt: int, completion: int, hidden: int) -> int:
    """Find how many completions to pack behind one prompt at the lowest cost per completion.

    A row of `n` has `T = prompt + n · completion` tokens. Its [`row_cost`] divided by `n` is least at
    `n² = prompt · (prompt + 6 · hidden) / completion²`.

    Args:
        prompt, completion (`int`): Their tokens.
        hidden (`int`): Width of the model.

    Returns:
        `int`: 1 or more.
    """
    best = math.sqrt(prompt * (prompt + 6 * hidden)) / max(completion, 1)
    return max(round(best), 1)


@dataclass(frozen=True)
class SharedRows:
    """Rows of a batch packed by prompt: the prompt once, then its completions, masked from each other.

    Attributes:
        sources (`torch.LongTensor` of shape `(groups, tokens)`): For each token its place in the batch, counted row
            after row.
        segments (`torch.LongTensor` of shape `(groups, tokens)`): 0 for the prompt, then 1 and up for its
            completions; -1 is padding.
        places (`torch.LongTensor` of shape `(batch, length)`): For each token of the batch its place in the new
            layout, counted likewise; 0 for padding.
    """

    sources: torch.LongTensor
    segments: torch.LongTensor
    places: torch.LongTensor

    @classmethod
    def lay_out(cls, mask: torch.Tensor, prompt_width: int, groups: Sequence[Sequence[int]]) -> "SharedRows":
        """Lay out a batch.

        Args:
            mask (`torch.Tensor` of shape `(batch, length)`): 1 at tokens that count. The first `prompt_width` columns
                are those of the prompts.
            prompt_width (`int`): Columns of the prompts.
            groups (`Sequence[Sequence[int]]`): Numbers of the rows that share a prompt.
        """
        length, mask = mask.shape[1], mask.bool()
        sources, segments = [], []
        for rows in groups:
            parts = [mask[rows[0], :prompt_width].nonzero().flatten() + rows[0] * length]
            for row in rows:
                parts.append(mask[row, prompt_width:].nonzero().flatten() + prompt_width + row * length)
            sources.append(torch.cat(parts))
            segments.append(torch.cat([torch.full_like(part, number) for number, part in enumerate(parts)]))
        sources = pad_sequence(sources, batch_first=True)
        segments = pad_sequence(segments, batch_first=True, padding_value=_PADDING)
        real = segments != _PADDING
        places = torch.zeros(mask.numel(), dtype=torch.long, device=mask.device)
        places[sources[real]] = torch.arange(sources.numel(), device=mask.device).view(sources.shape)[real]
        places = places.view(mask.shape)
        for rows in groups:
            places[list(rows), :prompt_width] = places[rows[0], :prompt_width]
        return cls(sources, segments, places)

    def gather(self, values: torch.Tensor, padding: int = 0) -> torch.Tensor:
        """Values `(..., batch, length)` of the batch in the new layout, `(..., groups, tokens)`."""
        return values.flatten(-2)[..., self.sources].masked_fill(self.segments == _PADDING, padding)

    def attention(self) -> torch.BoolTensor:
        """Who sees whom, `(groups, 1, tokens, tokens)`: each token its prompt and its own completion so far."""
        keys, queries = self.segments[:, None, :], self.segments[:, :, None]
        allowed = (keys == queries) | (keys == 0)
        return allowed.tril()[:, None]


def group_slices_by_prompt(slices: Sequence[dict[str, Any]], window: int) -> list[dict[str, Any]]:
    """Move rows between the slices of a step so that those of a prompt are adjacent.

    A step adds up the gradients of its slices, whatever the order of their rows.

    Args:
        slices (`Sequence[dict]`): Equally long pieces of a batch: tensors and lists with one entry a row, and scalars;
            `prompt_numbers` tells prompts apart.
        window (`int`): Slices of one step. Rows stay within their step. Where neither number of slices divides the
            other, steps begin anywhere, and all stays as it is.
    """
    if len(slices) % window and window % len(slices):
        return list(slices)
    moved = []
    for start in range(0, len(slices), window):
        step = slices[start : start + window]
        numbers = [number for piece in step for number in piece["prompt_numbers"]]
        order = list(chain.from_iterable(group_by_prompt(numbers)))
        columns = {name: _ordered([piece[name] for piece in step], order) for name in step[0]}
        moved += split_tensor_dict(columns, len(step))
    return moved


def _ordered(pieces: list[Any], order: list[int]) -> Any:
    if isinstance(pieces[0], list):
        whole = list(chain.from_iterable(pieces))
        return [whole[row] for row in order]
    if isinstance(pieces[0], torch.Tensor) and pieces[0].dim() > 0:
        return torch.cat(pieces)[order]
    return pieces[0]

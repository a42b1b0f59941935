"""Sampling whose draws belong to the row, so that an answer does not depend on which rows stand beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..modeling.errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How a task wants its answers drawn.

    Attributes:
        temperature (`float`): Divides the logits.
        top_k (`int`): How many of the likeliest tokens are drawn from; 0 for all.
        top_p (`float`): Only the likeliest tokens that hold this share of the probability.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        if not (self.temperature > 0 and self.top_k >= 0 and 0 < self.top_p <= 1):
            raise InputError(
                f"temperature {self.temperature}, top_k {self.top_k} and top_p {self.top_p} sample nothing: give a "
                "temperature above 0, top_k of at least 0, top_p above 0 and at most 1"
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings, by name."""
        return asdict(self)


def sampling_of(settings: Mapping[str, Any]) -> Sampling | None:
    """The sampling that generation settings of a task describe, or nothing where they are greedy."""
    temperature = settings.get("temperature")
    if temperature == 0 or not (settings.get("do_sample") or temperature):
        return None
    top_k, top_p = settings.get("top_k") or 0, settings.get("top_p") or 1.0
    return Sampling(float(temperature or 1.0), int(top_k), float(top_p))


class RowSampler:
    """A logits processor that makes greedy decoding draw samples: the Gumbel-max trick, a generator a row.

    The largest of `logits + Gumbel noise` is a draw from the softmax of the logits.

    Args:
        sampling ([`Sampling`]): How to draw.
        keys (`Sequence[str]`): A digest for each row; equal ones draw equally.
        rules (`LatentRules`): What may be said where: tokens of latent blocks take no probability from others.
    """

    def __init__(self, sampling: Sampling, keys: Sequence[str], rules):
        import torch
        from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        self._rules = rules
        self._warpers = [TemperatureLogitsWarper(float(sampling.temperature))]
        if sampling.top_k:
            self._warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            self._warpers.append(TopPLogitsWarper(sampling.top_p))
        self._generators = [torch.Generator().manual_seed(int(key[:15], 16)) for key in keys]

    def __call__(self, input_ids, scores):
        """Scores `(batch, vocabulary)` whose largest one in each row is the token drawn."""
        import torch

        scores = self._rules.constrain(self._rules.forced(input_ids), scores)
        for warper in self._warpers:
            scores = warper(input_ids, scores)
        draws = [torch.empty(scores.shape[-1]).exponential_(generator=one) for one in self._generators]
        return scores - torch.stack(draws).log().to(scores)

"""Feed other vectors in the place of a model's latents, row by row, through public seams of `generate`.

A transform sees the states of a batch and not which of them will stand at a latent pad. Stopping criteria see the ids
between a token's choice and the next step, so the object below is both: it reads the places from the ids, as the
decoding rules do, and replaces states there.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from .own_latents import OwnLatents

# From the model's own latent `(hidden,)`, the row's place among all rows, and the number of latents before it in the
# row, to what is fed.
Source = Callable[["torch.Tensor", int, int], "torch.Tensor"]


class LatentReplacement:
    """The transform and the stopping criterion of one call to `generate`.

    Args:
        config: The model's configuration.
        prompt_length (`int`): Tokens of the prompts, padding included.
        indices (`Sequence[int]`): Places of the batch's rows among all rows.
        source (`Source`): What to feed.
    """

    def __init__(self, config, prompt_length: int, indices: Sequence[int], source: Source):
        from ...modeling.latent_rules import LatentRules

        self._rules = LatentRules.from_config(config)
        self._prompt_length, self._indices, self._source = prompt_length, indices, source
        self._ids: torch.Tensor | None = None

    def __call__(self, input_ids: "torch.Tensor", scores: object, **kwargs) -> "torch.Tensor":
        """Keep the ids so far `(batch, length)`; end no row."""
        self._ids = input_ids
        return input_ids.new_zeros(len(input_ids)).bool()

    def transform(self, states: "torch.Tensor") -> "torch.Tensor":
        """Replace the states `(batch, 1, hidden)` of rows whose next token is a latent pad."""
        if self._ids is None:  # a prompt ends outside a block
            return states
        at_pads = self._rules.forced(self._ids) == self._rules.pad
        before = (self._ids[:, self._prompt_length :] == self._rules.pad).sum(1)
        for row in at_pads.nonzero()[:, 0].tolist():
            fed = self._source(states[row, 0].clone(), self._indices[row], int(before[row]))
            states[row, 0] = fed.to(states.device, states.dtype)
        return states


def build_source(
    name: str, model, groups: Sequence[tuple[Hashable, Hashable]], latents: "Sequence[OwnLatents | None]", seed: int
) -> Source | None:
    """What a control feeds, or `None` if it replaces no latents.

    Args:
        name (`str`): The control.
        model: The model.
        groups (`Sequence[tuple[Hashable, Hashable]]`): The task of every row, and what tells its video from others.
        latents (`Sequence[OwnLatents | None]`): The rows' own latents.
        seed (`int`): Of the noise, and of whose latents a row gets.
    """
    if name == "zero":
        return lambda latent, row, place: latent * 0
    if name == "pad":
        pad = model.get_input_embeddings().weight[model.config.latent_token_id].detach()
        return lambda latent, row, place: pad
    if name == "noise":
        return lambda latent, row, place: _draw_noise(latent, (seed, row, place))
    if name == "mean":
        means = _mean_latents(latents, model.config.latent_size)
        return lambda latent, row, place: latent if means is None else means[place % len(means)]
    if name == "other":
        donors = choose_donors(groups, [known is not None and len(known.vectors) > 0 for known in latents], seed)
        return lambda latent, row, place: _repeat(latents[donors[row]].vectors, place) if row in donors else latent
    if name == "first":
        return _repeat_first(model.config.latent_size)
    if name == "oracle":
        # A block beyond the imagery of the row keeps the model's own latents.
        return lambda latent, row, place: _within(latents[row].targets, place, latent)
    return None


def choose_donors(groups: Sequence[tuple[Hashable, Hashable]], imagining: Sequence[bool], seed: int) -> dict[int, int]:
    """For each row another one whose latents it gets: of its task and about another video, as far as there are such.

    Args:
        groups (`Sequence[tuple[Hashable, Hashable]]`): The task of each row, and what tells its video from others.
        imagining (`Sequence[bool]`): Whether the row has latents.
        seed (`int`): Of the order.

    Returns:
        `dict[int, int]`: By row its donor; a row without an entry has none.
    """
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    able = [row for row in order if imagining[row]]
    donors = {}
    for place, row in enumerate(order):
        task, video = groups[row]
        strangers = [giver for giver in able if groups[giver][1] != video]
        others = [giver for giver in strangers if groups[giver][0] == task] or strangers
        others = others or [giver for giver in able if giver != row]
        if others:
            donors[row] = others[place % len(others)]
    return donors


def _draw_noise(latent: "torch.Tensor", seed: Sequence[int]) -> "torch.Tensor":
    import torch

    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(len(latent))).float()
    return noise * (latent.float().norm().item() / noise.norm())


def _mean_latents(latents: "Sequence[OwnLatents | None]", size: int) -> "torch.Tensor | None":
    """The mean latent `(size, hidden)` at each place of a block, over all whole blocks."""
    import torch

    blocks = [known.vectors[: len(known.vectors) // size * size] for known in latents if known is not None]
    whole = torch.cat([block.float() for block in blocks]) if blocks else None
    return whole.unflatten(0, (-1, size)).mean(0) if whole is not None and len(whole) else None


def _repeat_first(size: int) -> Source:
    """Each block's first latent in the place of all that follow it there."""
    firsts: dict[int, torch.Tensor] = {}

    def source(latent: "torch.Tensor", row: int, place: int) -> "torch.Tensor":
        if place % size == 0:
            firsts[row] = latent
        return firsts[row]

    return source


def _repeat(vectors: "torch.Tensor", place: int) -> "torch.Tensor":
    return vectors[place % len(vectors)]


def _within(vectors: "torch.Tensor | None", place: int, own: "torch.Tensor") -> "torch.Tensor":
    return own if vectors is None or place >= len(vectors) else vectors[place]

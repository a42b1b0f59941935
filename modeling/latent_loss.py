"""The DIFT loss (arXiv 2605.05997): cross entropy on text, cosine between hidden states and imagery targets."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional

from .errors import InputError

IGNORED_LABEL = -100


class DIFTLoss(NamedTuple):
    """The DIFT loss and its two parts, as scalar tensors.

    Attributes:
        total (`torch.Tensor`): `ce_weight · ce + sim_weight · sim`.
        ce (`torch.Tensor`): Mean cross entropy over supervised tokens; 0 if there are none.
        sim (`torch.Tensor`): Mean over images of `1 - cosine`; 0 if there are none.
    """

    total: torch.Tensor
    ce: torch.Tensor
    sim: torch.Tensor


def dift_loss(
    hidden_states: torch.Tensor,
    input_ids: torch.LongTensor,
    labels: torch.LongTensor | None,
    targets: torch.Tensor | None,
    lm_head: Callable[[torch.Tensor], torch.Tensor],
    latent_token_id: int,
    ce_weight: float = 0.1,
    sim_weight: float = 1.0,
    num_items_in_batch: int | torch.Tensor | None = None,
) -> DIFTLoss:
    """The DIFT loss from hidden states.

    `L = ce_weight · CE + sim_weight · SIM`, with `SIM` the mean over images of the mean over an image's latents of
    `1 - cos(h[p-1], z[p])`: the state before a latent pad predicts the latent at that pad. Latent pads are never
    targets of the cross entropy.

    Args:
        hidden_states (`torch.Tensor` of shape `(batch, length, hidden)`): States after the final norm.
        input_ids (`torch.LongTensor` of shape `(batch, length)`): The ids they were computed from.
        labels (`torch.LongTensor` of shape `(batch, length)`, *optional*):
            Ids to predict, not shifted, -100 where nothing is supervised.
        targets (`torch.Tensor` of shape `(images, latent_size, hidden)`, *optional*):
            Imagery targets in the order of the blocks, row after row. None if no row has a latent block.
        lm_head (`Callable`): From hidden states to logits. It runs on supervised positions only.
        latent_token_id (`int`): Id of `<|latent_pad|>`.
        ce_weight (`float`, *optional*, defaults to 0.1): Weight of the cross entropy.
        sim_weight (`float`, *optional*, defaults to 1.0): Weight of the cosine loss.
        num_items_in_batch (`int` or `torch.Tensor`, *optional*):
            Divide the summed cross entropy by this number of tokens instead of those of this micro-batch.

    Returns:
        [`DIFTLoss`]: The total and its parts.

    Raises:
        InputError: If there are not as many latent pads as targets.
    """
    nothing = hidden_states.sum() * 0.0
    ce = (
        nothing
        if labels is None
        else _cross_entropy(hidden_states, labels, lm_head, latent_token_id, num_items_in_batch)
    )
    sim = nothing if targets is None else imagery_distance(hidden_states, input_ids, targets, latent_token_id).mean()
    return DIFTLoss(ce_weight * ce + sim_weight * sim, ce, sim)


def imagery_distance(
    hidden_states: torch.Tensor, input_ids: torch.LongTensor, targets: torch.Tensor, latent_token_id: int
) -> torch.Tensor:
    """`1 - cos(h[p-1], z[p])` for every latent pad `p`, in fp32: shape `(images, latent_size)`.

    Args:
        hidden_states (`torch.Tensor` of shape `(batch, length, hidden)`): States after the final norm.
        input_ids (`torch.LongTensor` of shape `(batch, length)`): The ids they were computed from.
        targets (`torch.Tensor` of shape `(images, latent_size, hidden)`): Imagery targets, row after row.
        latent_token_id (`int`): Id of `<|latent_pad|>`.
    """
    pads = input_ids == latent_token_id
    count = int(pads.sum())
    if count != targets.shape[0] * targets.shape[1]:
        raise InputError(
            f"the sequences have {count} latent pads but {targets.shape[0]} imagery frames of {targets.shape[1]} "
            "latents: give one imagery frame for each latent block"
        )
    predictions = hidden_states[:, :-1][pads[:, 1:]]
    cosine = functional.cosine_similarity(predictions.float(), targets.detach().flatten(0, 1).float(), dim=-1)
    return (1.0 - cosine).view(targets.shape[:2])


def _cross_entropy(hidden_states, labels, lm_head, latent_token_id, num_items_in_batch) -> torch.Tensor:
    """Shifted next-token cross entropy in fp32 over supervised tokens."""
    shifted = labels[:, 1:].masked_fill(labels[:, 1:] == latent_token_id, IGNORED_LABEL)
    supervised = shifted != IGNORED_LABEL
    states = hidden_states[:, :-1][supervised]
    if states.shape[0] == 0:
        # Keeps the graph whole, so that a row of padding does not stall a distributed step.
        return hidden_states.sum() * 0.0
    summed = functional.cross_entropy(lm_head(states).float(), shifted[supervised], reduction="sum")
    return summed / (states.shape[0] if num_items_in_batch is None else num_items_in_batch)

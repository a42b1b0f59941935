"""The DIFT loss (arXiv 2605.05997): cross entropy on text, distance of hidden states from imagery targets."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .errors import InputError
from .fused_cross_entropy import fused_cross_entropy, is_plain_linear

IGNORED_LABEL = -100
# Positions whose logits exist at once: 512 x 151,668 of them in fp32 are 0.3 GB.
TILE = 512


class DIFTLoss(NamedTuple):
    """The DIFT loss, its two parts, and metrics of how training goes.

    Attributes:
        total (`torch.Tensor`): `ce_weight · ce + sim_weight · sim`.
        ce (`torch.Tensor`): Mean cross entropy over supervised tokens; 0 if there are none.
        sim (`torch.Tensor`): Mean over images of the latents' distance from their targets; 0 if there are none.
        correct_tokens (`torch.Tensor`): Number of supervised tokens that are the likeliest ones.
        supervised_tokens (`torch.Tensor`): Number of all of them.
        cosine (`torch.Tensor` of shape `(images, latent_size)`, *optional*): Of states and targets, without gradient.
        norm_ratio (`torch.Tensor` of shape `(images, latent_size)`, *optional*): Length of the states over that of the
            targets, without gradient.
    """

    total: torch.Tensor
    ce: torch.Tensor
    sim: torch.Tensor
    correct_tokens: torch.Tensor
    supervised_tokens: torch.Tensor
    cosine: torch.Tensor | None = None
    norm_ratio: torch.Tensor | None = None


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
    num_images_in_batch: int | torch.Tensor | None = None,
    latent_loss: str = "cosine",
    tiled: bool = True,
    readout: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None,
) -> DIFTLoss:
    """The DIFT loss from hidden states.

    `L = ce_weight · CE + sim_weight · SIM`, with `SIM` the mean over images of the mean over an image's latents of
    `1 - cos(h[p-1], z[p])`: the state before a latent pad predicts the latent at that pad. Latent pads are never
    targets of the cross entropy. Cosine leaves the length of `h` free, so there are two other distances:
    `"cosine+norm"` adds `(|h| / |z| - 1)²`, and `"smooth_l1"` is the mean over the hidden size of the Huber loss with
    threshold 1.

    Args:
        hidden_states (`torch.Tensor` of shape `(batch, length, hidden)`): States after the final norm.
        input_ids (`torch.LongTensor` of shape `(batch, length)`): The ids they were computed from.
        labels (`torch.LongTensor` of shape `(batch, length)`, *optional*):
            Ids to predict, not shifted, -100 where nothing is supervised.
        targets (`torch.Tensor` of shape `(images, latent_size, hidden)`, *optional*):
            Imagery targets in the order of the blocks, row after row. None if no row has a latent block.
        lm_head (`Callable`): From hidden states to logits. It runs on supervised positions only, `TILE` of them at a
            time. A plain `nn.Linear` gives its gradients at once, see [`fused_cross_entropy`]; the logits of another
            one are computed again in the backward pass.
        latent_token_id (`int`): Id of `<|latent_pad|>`.
        ce_weight (`float`, *optional*, defaults to 0.1): Weight of the cross entropy.
        sim_weight (`float`, *optional*, defaults to 1.0): Weight of the latents' loss.
        num_items_in_batch (`int` or `torch.Tensor`, *optional*):
            Divide the summed cross entropy by this number of tokens instead of those of this micro-batch.
        num_images_in_batch (`int` or `torch.Tensor`, *optional*):
            Divide the summed distances by this number of images instead of those of this micro-batch.
        latent_loss (`str`, *optional*, defaults to `"cosine"`): Which distance.
        tiled (`bool`, *optional*, defaults to `True`): False runs the head once, however many positions there are.
        readout (`Callable`, *optional*): From states and targets, `(images, latent_size, hidden)`, to what is compared
            in their place.

    Returns:
        [`DIFTLoss`]: The total and its parts.

    Raises:
        InputError: If there are not as many latent pads as targets.
    """
    # Where there is nothing to learn the graph stays whole, so that a row of padding does not stall other processes.
    ce = sim = hidden_states.float().sum() * 0.0
    correct = supervised = torch.zeros((), dtype=torch.long, device=hidden_states.device)
    cosine = norm_ratio = None
    if labels is not None:
        summed, correct, supervised = _cross_entropy(hidden_states, labels, lm_head, latent_token_id, tiled)
        if supervised > 0:
            ce = summed / (supervised if num_items_in_batch is None else num_items_in_batch)
    if targets is not None:
        predictions, targets = _pairs(hidden_states, input_ids, targets, latent_token_id)
        if readout is not None:
            predictions, targets = readout(predictions, targets)
        similarity = functional.cosine_similarity(predictions, targets, dim=-1)
        ratio = predictions.norm(dim=-1) / targets.norm(dim=-1)
        if latent_loss == "smooth_l1":
            distance = functional.smooth_l1_loss(predictions, targets, reduction="none").mean(-1)
        else:
            distance = 1.0 - similarity + ((ratio - 1.0) ** 2 if latent_loss == "cosine+norm" else 0.0)
        images = max(len(distance), 1) if num_images_in_batch is None else num_images_in_batch
        sim = distance.mean(1).sum() / images
        cosine, norm_ratio = similarity.detach(), ratio.detach()
    return DIFTLoss(ce_weight * ce + sim_weight * sim, ce, sim, correct, supervised, cosine, norm_ratio)


def _pairs(
    hidden_states: torch.Tensor, input_ids: torch.LongTensor, targets: torch.Tensor, latent_token_id: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The state before every latent pad and the target at it, both `(images, latent_size, hidden)` in fp32."""
    pads = (input_ids == latent_token_id).to(hidden_states.device)
    count = int(pads.sum())
    if count != targets.shape[0] * targets.shape[1]:
        raise InputError(
            f"the sequences have {count} latent pads but {targets.shape[0]} imagery frames of {targets.shape[1]} "
            "latents: give one imagery frame for each latent block"
        )
    predictions = hidden_states[:, :-1][pads[:, 1:]]
    return predictions.float().view(targets.shape), targets.detach().to(hidden_states.device).float()


def _cross_entropy(
    hidden_states, labels, lm_head, latent_token_id, tiled
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Summed next-token cross entropy over supervised tokens, how many of them are the likeliest, and their number."""
    labels = labels.to(hidden_states.device)  # another one than the states' where a model spans several
    shifted = labels[:, 1:].masked_fill(labels[:, 1:] == latent_token_id, IGNORED_LABEL)
    supervised = shifted != IGNORED_LABEL
    states, expected = hidden_states[:, :-1][supervised], shifted[supervised]
    size = TILE if tiled else max(len(states), 1)
    if is_plain_linear(lm_head):
        return *fused_cross_entropy(states, lm_head.weight, expected, size), supervised.sum()
    tiles = list(zip(states.split(size), expected.split(size), strict=True))
    if len(tiles) == 1:  # nothing to save, so nothing to compute again
        parts = [_tile_loss(lm_head, *tiles[0])]
    else:
        parts = [checkpoint(_tile_loss, lm_head, *tile, use_reentrant=False) for tile in tiles]
    losses, correct = zip(*parts, strict=True)
    return sum(losses), sum(correct), supervised.sum()


def _tile_loss(lm_head, states: torch.Tensor, expected: torch.LongTensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = lm_head(states).float()
    return functional.cross_entropy(logits, expected, reduction="sum"), (logits.detach().argmax(-1) == expected).sum()

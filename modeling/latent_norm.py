"""How long the states are that a model feeds back to itself: as they come, or as the imagery they stand for."""

import torch

# Weight of a new batch in the running length, as in batch normalisation.
_MOMENTUM = 0.1


def running_norm(norm: float | None, targets: torch.Tensor) -> float:
    """The exponential running mean of the targets' Euclidean length.

    Args:
        norm (`float`, *optional*): The mean so far; none before the first batch.
        targets (`torch.Tensor` of shape `(images, latent_size, hidden)`): Imagery targets of a batch.
    """
    seen = targets.detach().float().norm(dim=-1).mean().item()
    return seen if norm is None else norm + _MOMENTUM * (seen - norm)


def match_norm(states: torch.Tensor, norm: float) -> torch.Tensor:
    """States `(..., hidden)` at Euclidean length `norm`, their directions kept; the lengths are taken in fp32."""
    lengths = states.float().norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return (states.float() * (norm / lengths)).to(states.dtype)

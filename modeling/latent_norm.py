"""Rescale fed-back hidden states to the norm of the imagery targets."""

import torch


def match_norm(states: torch.Tensor, norm: float) -> torch.Tensor:
    """States `(..., hidden)` at Euclidean length `norm`, their directions kept; the lengths are taken in fp32."""
    lengths = states.float().norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return (states.float() * (norm / lengths)).to(states.dtype)

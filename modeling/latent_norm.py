"""Rescale the states that a model feeds back to itself to the length of the imagery that they stand for."""

import torch


def match_norm(states: torch.Tensor, norm: float) -> torch.Tensor:
    """States `(..., hidden)` at Euclidean length `norm`, their directions kept; the lengths are taken in fp32."""
    lengths = states.float().norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return (states.float() * (norm / lengths)).to(states.dtype)

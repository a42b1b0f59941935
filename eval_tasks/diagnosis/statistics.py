"""Numbers about the latents of a model's own answers: how often, how alike, how long, and what they resemble."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .own_latents import OwnLatents

if TYPE_CHECKING:
    import torch

_Z = 1.959963984540054  # the normal quantile of a two-sided 95 % interval


def summarize_latents(latents: Sequence[OwnLatents | None], config) -> dict[str, Any]:
    """Summarize latents over rows.

    Args:
        latents (`Sequence[OwnLatents | None]`): Of each row; `None` where the model could not be asked.
        config: The model's configuration.

    Returns:
        `dict`: `activation_rate` (share of answers with a latent block), `blocks` (mean of an answer),
        `blocks_if_any` (mean of an answer with blocks), `most_blocks`; `cosine_within_block` and
        `cosine_between_rows` (mean over pairs); `norm` and `target_norm`, each with `mean` and `spread` (standard
        deviation), and `target_norm_source`; `imagery` (cosine to the true imagery) and `nearest_patch` (cosine to the
        most similar visual token), each with `rows`, `cosine`, `other` (the same with another row's) and `margin` (the
        difference) with its `interval`, if known. Numbers that no latent gives are `None`.
    """
    answered = [one for one in latents if one is not None]
    imagining = [one for one in answered if len(one.vectors)]
    seeing = [one.patches for one in imagining if one.patches is not None]
    blocks = [one.blocks for one in answered]
    size = config.latent_size
    lengths = [one.vectors.float().norm(dim=-1) for one in imagining]
    targets, source = _target_norms(answered, config)
    return {
        "activation_rate": _mean([float(count > 0) for count in blocks]),
        "blocks": _mean(blocks),
        "blocks_if_any": _mean([count for count in blocks if count]),
        "most_blocks": max(blocks, default=0),
        "cosine_within_block": _mean(
            [_pair_cosine(block) for one in imagining for block in one.vectors.split(size) if len(block) > 1]
        ),
        "cosine_between_rows": _cosine_between_rows(imagining, size),
        "norm": _spread(lengths),
        "target_norm": targets,
        "target_norm_source": source,
        "imagery": _compare(*_imagery_cosines(imagining)),
        "nearest_patch": _compare(
            [one.cosine.mean().item() for one in seeing],
            [None if one.other_cosine is None else one.other_cosine.mean().item() for one in seeing],
        ),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _pair_cosine(vectors: "torch.Tensor") -> float:
    """The mean cosine over all pairs of `(n, hidden)`: of n unit vectors with sum s it is (|s|² - n) / (n (n - 1))."""
    from torch.nn.functional import normalize

    n = len(vectors)
    total = normalize(vectors.float(), dim=-1).sum(0)
    return ((total @ total).item() - n) / (n * (n - 1))


def _cosine_between_rows(imagining: Sequence[OwnLatents], size: int) -> float | None:
    """Over pairs of rows, at the same place of the first block."""
    import torch

    places = [[one.vectors[place] for one in imagining if len(one.vectors) > place] for place in range(size)]
    return _mean([_pair_cosine(torch.stack(vectors)) for vectors in places if len(vectors) > 1])


def _spread(lengths: Sequence["torch.Tensor"]) -> dict[str, float] | None:
    import torch

    if not lengths:
        return None
    whole = torch.cat(list(lengths))
    return {"mean": whole.mean().item(), "spread": whole.std(correction=0).item()}


def _target_norms(answered: Sequence[OwnLatents], config) -> tuple[dict[str, float] | None, str | None]:
    """Norms of the imagery targets and where they are from: the rows' imagery, the configuration, or neither."""
    known = [one.targets.float().norm(dim=-1) for one in answered if one.targets is not None]
    if known:
        return _spread(known), "imagery of the rows"
    if config.latent_target_norm is not None:
        return {"mean": config.latent_target_norm, "spread": 0.0}, "configuration of the model"
    visual = [one.patches.norm for one in answered if one.patches is not None]
    if visual:
        return {"mean": sum(visual) / len(visual), "spread": 0.0}, "visual tokens of the videos"
    return None, None


def _imagery_cosines(imagining: Sequence[OwnLatents]) -> tuple[list[float], list[float | None]]:
    """For each row with imagery the cosine of its latents to its own targets, and to those of the row before."""
    pictured = [one for one in imagining if one.targets is not None]
    own = [_aligned_cosine(one.vectors, one.targets) for one in pictured]
    other: list[float | None] = [None] * len(pictured)
    if len(pictured) > 1:
        other = [_aligned_cosine(one.vectors, pictured[place - 1].targets) for place, one in enumerate(pictured)]
    return own, other


def _aligned_cosine(vectors: "torch.Tensor", targets: "torch.Tensor") -> float:
    from torch.nn.functional import cosine_similarity

    shared = min(len(vectors), len(targets))
    return cosine_similarity(vectors[:shared].float(), targets[:shared].float(), dim=-1).mean().item()


def _compare(own: Sequence[float], other: Sequence[float | None]) -> dict[str, Any] | None:
    """Means over rows, and the mean of the paired difference with its 95 % interval."""
    if not own:
        return None
    margins = [mine - theirs for mine, theirs in zip(own, other, strict=True) if theirs is not None]
    result: dict[str, Any] = {"rows": len(own), "cosine": _mean(own), "other": None, "margin": None, "interval": None}
    if len(margins) > 1:
        margin = sum(margins) / len(margins)
        variance = sum((value - margin) ** 2 for value in margins) / (len(margins) - 1)
        half = _Z * (variance / len(margins)) ** 0.5
        result |= {"other": _mean([theirs for theirs in other if theirs is not None]), "margin": margin}
        result["interval"] = [margin - half, margin + half]
    return result

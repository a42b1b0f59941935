"""Latents of a row's own: what a model in training feeds on in the place of its imagery's targets.

Fed with true imagery, a model learns to read answers off it, and when it decodes there is none. Here the latents are
those that it predicts itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .errors import InputError


@dataclass(frozen=True)
class SelfFeeding:
    """How a row's own latents are predicted.

    Attributes:
        passes (`int`, *optional*): Parallel: so many passes over the whole row, each of which feeds every latent pad
            the state that the pass before predicted there. The first feeds the pad's own embedding, so that no pass
            knows the imagery. Pass n makes the n-th latent of each row exactly the one that it would decode. None,
            sequential: one pass for each latent, no longer than it needs, which all are exact.
        gradient (`int`, *optional*, defaults to 0): So many of the last passes let the loss through to what they fed
            on. With as many as the latents, both ways have one gradient, that of decoding itself.
    """

    passes: int | None = None
    gradient: int = 0

    def __post_init__(self):
        if (self.passes is not None and self.passes < 1) or self.gradient < 0:
            raise InputError(
                f"{self.passes} self-feeding passes with gradient through {self.gradient}: give 1 or more, and 0 or "
                "more"
            )


def own_latents(
    predict: Callable[[torch.Tensor, int], torch.Tensor],
    pads: torch.BoolTensor,
    targets: torch.Tensor,
    pad_embedding: torch.Tensor,
    feeding: SelfFeeding,
    teacher_forced: torch.BoolTensor | None = None,
) -> torch.Tensor:
    """The latents that rows predict for themselves.

    Args:
        predict (`Callable`): From latents for the first pads of the rows, packed, and a length to the states
            `(batch, length, hidden)` that would be fed back after each of the rows' first tokens.
        pads (`torch.BoolTensor` of shape `(batch, length)`): True at latent pads.
        targets (`torch.Tensor` of shape `(images, latent_size, hidden)`): Imagery targets, row after row.
        pad_embedding (`torch.Tensor` of shape `(hidden,)`): What stands at a pad before anything is predicted.
        feeding ([`SelfFeeding`]): Which passes.
        teacher_forced (`torch.BoolTensor` of shape `(images,)`, *optional*): True for blocks that feed on their
            targets all the same.

    Returns:
        `torch.Tensor` of shape `(latents, hidden)`: Packed, as `latent_embeds` takes them.
    """
    columns = pads.nonzero()[:, 1]
    numbers = (pads.cumsum(1) * pads)[pads]
    own = torch.ones_like(columns, dtype=torch.bool)
    if teacher_forced is not None:
        own = ~teacher_forced.repeat_interleave(targets.shape[1])
    fed = torch.where(own[:, None], pad_embedding.detach().to(targets.dtype), targets.flatten(0, 1))
    sequential = feeding.passes is None
    passes = int(numbers.max()) if sequential else feeding.passes
    for number in range(1, passes + 1):
        due = own & (numbers == number) if sequential else own
        length = int(columns[due].max()) if due.any() else 0
        if not length:
            continue
        # What the last of them is predicted from; later words cannot matter.
        with torch.set_grad_enabled(torch.is_grad_enabled() and passes - number < feeding.gradient):
            states = predict(fed[columns < length], length)
            predicted = states[pads[:, 1 : length + 1]].to(fed.dtype)
            reached = fed.masked_scatter((columns <= length)[:, None], predicted)
            fed = torch.where(due[:, None], reached, fed)
    return fed

"""Rules of latent blocks over token ids, shared by decoding, collating, scoring and replay.

A block is `<|latent_start|>`, then `latent_size` times `<|latent_pad|>`, then `<|latent_end|>`. The input embedding at
a pad is a latent vector: an imagery target (DIFT), a recorded state (replay), or the hidden state of the position
before (decoding). Everything here is stateless, so rows of a batch may be at any phase of a block.
"""

from dataclasses import dataclass

import torch

from .errors import InputError

NOT_FORCED = -1


@dataclass(frozen=True)
class LatentRules:
    """Rules for the next token, from the ids so far.

    Attributes:
        pad (`int`): Id of `<|latent_pad|>`.
        start (`int`): Id of `<|latent_start|>`.
        end (`int`): Id of `<|latent_end|>`.
        size (`int`): Latents in a block; 0 for blocks of a start and an end alone, which only decoding makes.
    """

    pad: int
    start: int
    end: int
    size: int

    def __post_init__(self):
        if None in (self.pad, self.start, self.end):
            raise InputError("the configuration has no latent token ids: make the model with `from_backbone`")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 0:
            raise InputError(f"latent_size is {self.size!r}: give a whole number of latents, 0 or more")

    @classmethod
    def from_config(cls, config, latent_size: int | None = None) -> "LatentRules":
        """The rules of a model configuration, with another block size where one is given."""
        size = config.latent_size if latent_size is None else latent_size
        return cls(config.latent_token_id, config.latent_start_token_id, config.latent_end_token_id, size)

    def forced(self, input_ids: torch.LongTensor) -> torch.LongTensor:
        """The token that each row must emit next, or `NOT_FORCED`.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch, length)`): The ids so far, filled on the left if at all.

        Returns:
            `torch.LongTensor` of shape `(batch,)`: `pad` after the start token and after fewer than `size` pads, `end`
            after `size` pads, `NOT_FORCED` elsewhere.
        """
        if input_ids.shape[1] == 0:
            return input_ids.new_full((input_ids.shape[0],), NOT_FORCED)
        last = input_ids[:, -1]
        if self.size == 0:
            return torch.where(last == self.start, self.end, NOT_FORCED).to(input_ids.dtype)
        # No more than `size` pads matter, so the cost of a step does not grow with the sequence.
        run = (input_ids[:, -self.size :] == self.pad).flip(1).long().cumprod(1).sum(1)
        forced = torch.where((last == self.start) | (run > 0), self.pad, NOT_FORCED)
        return torch.where(run == self.size, self.end, forced).to(input_ids.dtype)

    def constrain(self, forced: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores under which a row emits its forced token and, where none is forced, neither pad nor end.

        Args:
            forced (`torch.LongTensor` of shape `(batch,)`): What [`~LatentRules.forced`] gave.
            scores (`torch.FloatTensor` of shape `(batch, vocabulary)`): Next-token scores.
        """
        constrained = scores.masked_fill((forced != NOT_FORCED)[:, None], -torch.inf)
        for token in (self.pad, self.end):
            constrained[:, token] = -torch.inf
            constrained[:, token].masked_fill_(forced == token, 0.0)
        return constrained

    def forced_mask(self, input_ids: torch.LongTensor) -> torch.BoolTensor:
        """True at the tokens that the rules, not the model, have chosen: every pad, and an end after a pad.

        Args:
            input_ids (`torch.LongTensor` of shape `(..., length)`): Whole sequences.
        """
        pads = input_ids == self.pad
        after_pad = torch.zeros_like(pads)
        after_pad[..., 1:] = pads[..., :-1]
        return pads | (after_pad & (input_ids == self.end))


def inject_latents(embeds: torch.Tensor, pads: torch.BoolTensor, latents: torch.Tensor) -> torch.Tensor:
    """Put latents in the place of the input embeddings at latent pads.

    Args:
        embeds (`torch.Tensor` of shape `(batch, length, hidden)`): Input embeddings.
        pads (`torch.BoolTensor` of shape `(batch, length)`): True at latent pads.
        latents (`torch.Tensor`): Packed, of shape `(latents, hidden)`: one for every pad, row after row in order of
            position. Or dense, of shape `(batch, length, hidden)`, as in a decoding step; those that are not at a pad
            are ignored.

    Raises:
        InputError: If there are not as many latents as pads, or dense ones do not fit the sequences.
    """
    latents = latents.to(embeds.device, embeds.dtype)
    if latents.dim() == 3:
        if latents.shape != embeds.shape:
            raise InputError(
                f"latents of shape {tuple(latents.shape)} are not one for each token of {tuple(embeds.shape[:2])}: "
                "give packed ones of shape (latents, hidden)"
            )
        return torch.where(pads[..., None], latents, embeds)
    count = int(pads.sum())
    if latents.shape != (count, embeds.shape[-1]):
        raise InputError(
            f"the sequences have {count} latent pads but latent_embeds is {tuple(latents.shape)}: give it the shape "
            f"{(count, embeds.shape[-1])}"
        )
    return embeds.masked_scatter(pads[..., None], latents)


def check_no_pads(input_ids: torch.LongTensor, pad: int | None) -> None:
    """Check ids that come without latents: a pad's own embedding would be fed, another context than any training's.

    A compiled forward skips the check, which depends on data.

    Raises:
        InputError: If there are latent pads.
    """
    if pad is None or torch.compiler.is_compiling():
        return
    pads = input_ids == pad
    if bool(pads.any()):  # one value to wait for; decoding steps always come with latents
        raise InputError(
            f"the sequences have {int(pads.sum())} latent pads but no latents: give their vectors as latent_embeds, "
            "packed to (latents, hidden) row after row, or the imagery as pixel_values_latent"
        )

"""Scoring completions with the latents that were rolled out, through TRL's own log-prob pass."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PretrainedConfig

from ..modeling.latent_rules import LatentRules
from ..modeling.position_rule import token_types
from .rollouts import EncodedVideo, video_inputs


def masked_tokens(ids: torch.LongTensor, config: PretrainedConfig, latent_mask: str) -> torch.BoolTensor:
    """True at the tokens that take no part in the objective.

    Args:
        ids (`torch.LongTensor` of shape `(..., length)`): Whole sequences or completions.
        config: The model's configuration, with the three latent token ids.
        latent_mask (`str`): `"pads_and_end"`, the forced ones, or `"all"`; see [`LatentGRPOConfig`].
    """
    rules = LatentRules.from_config(config)
    masked = rules.forced_mask(ids)
    return masked if latent_mask == "pads_and_end" else masked | (ids == rules.start)


class LatentScorer:
    """Stands in for `model` inside `GRPOTrainer._get_per_token_logps_and_entropies`.

    TRL only calls it there: with `input_ids`, `attention_mask` and `labels`, a chunk of rows at a time, in order. Each
    call is passed on with what TRL does not carry: the rows' latents at their pads (without them a pad stands for its
    own token embedding, and the text after it is scored in another context than it was sampled in), their videos,
    and labels of -100 at latent positions, which makes log-prob and entropy there exactly 0.

    Args:
        model: The policy or the reference, wrapped or not.
        latents (`list[torch.Tensor]`): `(latents of the row, hidden)` for every row that will be scored.
        videos (`list[EncodedVideo]`): Their videos.
        config: The model's configuration.
        latent_mask (`str`): Which latent tokens get no label, see [`masked_tokens`].
    """

    def __init__(
        self,
        model: Any,
        latents: Sequence[torch.Tensor],
        videos: Sequence[EncodedVideo],
        config: PretrainedConfig,
        latent_mask: str,
    ):
        self.model = model
        self.latents = latents
        self.videos = videos
        self.config = config
        self.latent_mask = latent_mask
        self.scored = 0

    def __call__(self, **inputs: Any) -> Any:
        """Score the next rows: call the model with TRL's `inputs` and everything that belongs to those rows."""
        ids = inputs["input_ids"]
        rows = slice(self.scored, self.scored + len(ids))
        self.scored = rows.stop
        self._check(ids, rows)
        inputs.update(video_inputs(self.videos[rows]))
        inputs["mm_token_type_ids"] = token_types(ids, self.config)
        latents = torch.cat(list(self.latents[rows]))
        if len(latents):
            inputs["latent_embeds"] = latents.to(ids.device)
        unlabelled = masked_tokens(ids, self.config, self.latent_mask)
        inputs["labels"] = inputs["labels"].masked_fill(unlabelled, -100)
        return self.model(**inputs)

    def _check(self, ids: torch.Tensor, rows: slice) -> None:
        pads = (ids == self.config.latent_token_id).sum(-1).tolist()
        recorded = [len(latents) for latents in self.latents[rows]]
        if pads != recorded:
            raise RuntimeError(
                f"rows {rows.start} to {rows.stop - 1} hold {pads} latent pads, but {recorded} latents were rolled "
                "out for them: the rows that are scored are not the ones that were carried"
            )

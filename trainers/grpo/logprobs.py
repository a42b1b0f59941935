"""Log-probs of completions under their rolled-out latents, through TRL's own log-prob pass."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from ...modeling.answer_mask import PADDING, token_roles
from ...modeling.latent_loss import IGNORED_LABEL
from ...modeling.latent_rules import LatentRules
from ...modeling.latent_unroll import LatentUnroll
from ..common.video_inputs import EncodedVideo, video_grids, video_inputs
from .head_tiles import narrow_head_tiles
from .prefix_sharing import SharedRows, find_best_group_size, group_by_prompt, row_cost, supports_prefix_sharing
from .rollout import Rollout


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
    own token embedding, and the text after it is scored in another context than it was sampled in) and their videos.
    A prompt that several of the rows share is computed once, if that is less work, see [`SharedRows`]. Only the states
    that predict a token of the policy's own go through the head; log-prob and entropy are exactly 0 at all other
    positions, those of latents among them.

    Args:
        model: The policy or the reference, wrapped or not.
        rollout ([`Rollout`]): What belongs to the completions that will be scored, in order.
        inner: The same inside its wrappers, see [`unwrap_model`].
        completion_length (`int`): Columns at the end of TRL's rows that hold completions.
        latent_mask (`str`): Which latent tokens get no label, see [`masked_tokens`].
        share_prompts (`bool`, *optional*, defaults to `True`): False computes each row by itself.
        latent_gradient (`bool`, *optional*, defaults to `False`): Score on the latents that the model predicts itself,
            with their graph, in the place of those that were rolled out, see [`LatentGRPOConfig`].
        autocast (`Callable`, *optional*): Gives the context in which wrappers run the model's `forward`.
    """

    def __init__(
        self,
        model: Any,
        rollout: Rollout,
        inner: PreTrainedModel,
        completion_length: int,
        latent_mask: str,
        share_prompts: bool = True,
        latent_gradient: bool = False,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
    ):
        self.model = model
        self.rollout = rollout
        self.inner = inner
        self.completion_length = completion_length
        self.latent_mask = latent_mask
        self.share_prompts = share_prompts
        self.latent_gradient, self.autocast = latent_gradient, autocast
        self.scored = 0

    def __call__(
        self, input_ids: torch.LongTensor, attention_mask: torch.Tensor, labels: torch.LongTensor, **inputs: Any
    ) -> Any:
        """Score the next rows: call the model with TRL's `inputs` and everything that belongs to those rows."""
        rows = slice(self.scored, self.scored + len(input_ids))
        self.scored = rows.stop
        latents, videos = self.rollout.latents[rows], self.rollout.videos[rows]
        config = self.inner.config
        pads = input_ids == config.latent_token_id
        _check(pads, latents, rows)
        tokens = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.latent_gradient and pads.any():
            latents = self._predict_latents(tokens, videos, latents)
        places = torch.arange(input_ids.numel(), device=input_ids.device).view(input_ids.shape)
        groups = self._groups(input_ids, attention_mask, self.rollout.prompt_numbers[rows])
        if len(groups) < len(input_ids):
            layout = SharedRows.lay_out(attention_mask, self._prompt_width(input_ids), groups)
            tokens, places = self._shared(layout, input_ids, attention_mask, videos), layout.places
            # A row that TRL leaves out (`mask_truncated_completions`) has no tokens here, so no pads either.
            latents = [latents[row][attention_mask[row, pads[row]].bool()] for group in groups for row in group]
            videos = [videos[group[0]] for group in groups]
        labels = labels.masked_fill(masked_tokens(input_ids, config, self.latent_mask), IGNORED_LABEL)[:, 1:]
        labelled = labels != IGNORED_LABEL
        # TRL's head leaves out positions without a label on some devices only, and a prompt with its video is long.
        states_to_keep = places[:, :-1][labelled]
        with narrow_head_tiles(input_ids.device, len(states_to_keep)):
            outputs = self.model(
                **tokens,
                **video_inputs(videos),
                **inputs,
                # Given even if there are none: processes that hold a part of the weights each must take one way.
                latent_embeds=torch.cat(list(latents)).to(input_ids.device),
                shift_labels=labels[labelled][None],
                states_to_keep=states_to_keep,
            )
        for name in ("log_probs", "entropy"):
            if outputs.get(name) is not None:
                outputs[name] = outputs[name].new_zeros(labels.shape).masked_scatter(labelled, outputs[name])
        return outputs

    def _predict_latents(
        self, tokens: dict[str, torch.Tensor], videos: Sequence[EncodedVideo], rolled_out: Sequence[torch.Tensor]
    ) -> Sequence[torch.Tensor]:
        """The latents of each row as the model predicts them now, with the graph that they come from."""
        fed = torch.cat(list(rolled_out)).to(tokens["input_ids"].device)
        own = torch.ones(len(fed), dtype=torch.bool, device=fed.device)
        with self.autocast():
            fed, _ = LatentUnroll(self.inner, {**tokens, **video_inputs(videos)}).run(fed, own, whole=False)
        return fed.split([len(one) for one in rolled_out])

    def _prompt_width(self, ids: torch.LongTensor) -> int:
        return ids.shape[1] - self.completion_length

    def _groups(self, ids: torch.LongTensor, mask: torch.Tensor, numbers: Sequence[int]) -> list[list[int]]:
        """Rows that are computed behind one prompt: by themselves, where nothing is gained."""
        alone = [[row] for row in range(len(ids))]
        if not (self.share_prompts and supports_prefix_sharing(self.inner)):
            return alone
        prompt, hidden = self._prompt_width(ids), self.inner.config.get_text_config().hidden_size
        groups = group_by_prompt(numbers, find_best_group_size(prompt, self.completion_length, hidden))
        lengths = mask[:, prompt:].sum(1).tolist()
        longest = max(prompt + sum(lengths[row] for row in group) for group in groups)
        gained = len(groups) * row_cost(longest, hidden) < len(ids) * row_cost(ids.shape[1], hidden)
        return groups if gained else alone

    def _shared(
        self, layout: SharedRows, ids: torch.LongTensor, mask: torch.Tensor, videos: Sequence[EncodedVideo]
    ) -> dict[str, torch.Tensor]:
        """The model's arguments for rows behind common prompts, each token at the position that it has in its row."""
        positions, _ = self.inner.model.get_rope_index(ids, attention_mask=mask, **video_grids(videos))
        tokens = {}
        if self.inner.config.answer_sees == "latents":
            tokens["roles"] = layout.gather(token_roles(ids, self.inner.config, mask), padding=PADDING)
        return {
            # Padding only must not look like a latent pad or an image.
            "input_ids": layout.gather(ids, padding=self.inner.config.latent_start_token_id),
            "attention_mask": layout.attention(),
            "position_ids": layout.gather(positions.to(ids.device)),
            **tokens,
        }


def _check(pads: torch.BoolTensor, latents: Sequence[torch.Tensor], rows: slice) -> None:
    found = pads.sum(-1).tolist()
    recorded = [len(one) for one in latents]
    if found != recorded:
        raise RuntimeError(
            f"rows {rows.start} to {rows.stop - 1} hold {found} latent pads, but {recorded} latents were rolled "
            "out for them: the rows that are scored are not the ones that were carried"
        )

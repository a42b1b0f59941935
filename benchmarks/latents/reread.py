"""Train with latents that are encoded again without the video: the strictest bottleneck.

A row's own latents are predicted with the video before them, as in self-feeding. Then the row is run a second time
as if it had no video, those vectors at its latent pads: what the answer knows of the video went through them, and
through no state that saw more. The imagery loss is the first pass's, the cross entropy of what follows the second's.
"""

from typing import Any

import torch

from fourdthinker.modeling.answer_mask import ANSWER
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTTrainer
from fourdthinker.trainers.common.unwrapping import unwrap_model


class RereadTrainer(DIFTTrainer):
    """A [`DIFTTrainer`] whose answers are learnt from latents that are read again.

    The words before the first block, and to open it, are learnt with the video, as a model decodes them.

    With `answer_sees="latents"` it is the rows whose answer is blind to the video at a step that are run a second
    time, under the same mask; the others learn from the first pass, so that `answer_blinding` is the warm start here
    as well.

    Raises:
        InputError: If rows do not feed on latents that depend on the video, or are packed.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.args.self_feeding not in ("parallel", "sequential", "exact") or self.args.pack_rows:
            raise InputError("latents are read again after self-feeding of rows that are not packed")
        self._drawn: dict[str, torch.Tensor] = {}

    def _roles(self, inputs) -> dict[str, torch.Tensor]:
        # Both passes blind the same rows.
        return self._drawn

    def compute_loss(
        self,
        model,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ):
        """The loss of the pass that saw the video, plus cross entropy of the one that did not."""
        ids, labels = inputs["input_ids"], inputs["labels"]
        self._drawn = super()._roles(inputs)
        blind = (
            (self._drawn["roles"] == ANSWER).any(1) if self._drawn else torch.ones_like(ids[:, 0], dtype=torch.bool)
        )
        opening = ids == unwrap_model(self.accelerator, model).config.latent_start_token_id
        read_again = blind[:, None] & ((opening.cumsum(1) - opening.long()) > 0)
        seeing = {**inputs, "labels": labels.masked_fill(read_again, -100)}
        loss, first = super().compute_loss(model, seeing, True, num_items_in_batch)
        outputs = model(
            input_ids=ids,
            **without_videos(unwrap_model(self.accelerator, model), ids, inputs["attention_mask"]),
            **self._drawn,
            latent_embeds=first.latent_embeds,
            labels=labels.masked_fill(~read_again, -100),
            num_items_in_batch=num_items_in_batch,
            use_cache=False,
            logits_to_keep=1,
        )
        loss = loss + outputs.loss
        return (loss, outputs) if return_outputs else loss


def without_videos(model, ids: torch.LongTensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """The mask and the positions with which rows are what they would be without their videos.

    Args:
        model: The model.
        ids (`torch.LongTensor` of shape `(batch, length)`): Token ids.
        mask (`torch.Tensor` of shape `(batch, length)`): 0 at padding.
    """
    config = model.config
    visual = ids.new_tensor([config.vision_start_token_id, config.video_token_id, config.vision_end_token_id])
    mask = mask * ~torch.isin(ids, visual)
    # Counted by the tokens that are left.
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return {"attention_mask": mask, "position_ids": positions.expand(3, -1, -1)}

"""Train where few rows have answers and all have imagery: what comes after the imagery of the others has no loss."""

from typing import Any

import torch

from fourdthinker.modeling.latent_loss import IGNORED_LABEL
from fourdthinker.trainers import DIFTTrainer

# Stands where a row has no answer, since every row must end in one.
NO_ANSWER = "<answer>?</answer>"


class FewAnswersTrainer(DIFTTrainer):
    """A [`DIFTTrainer`] that learns nothing from what follows the imagery of rows that end in [`NO_ANSWER`]."""

    def compute_loss(self, model, inputs: dict[str, Any], *args, **kwargs):
        """The loss of `DIFTTrainer` without these words."""
        labels = hide_missing_answers(self.processing_class.tokenizer, inputs["labels"], model.config)
        return super().compute_loss(model, {**inputs, "labels": labels}, *args, **kwargs)


def hide_missing_answers(tokenizer, labels: torch.LongTensor, config) -> torch.LongTensor:
    """Labels `(batch, length)` without those behind the last latent block of rows that have no answer."""
    said = tokenizer.batch_decode([row[row != IGNORED_LABEL] for row in labels])
    missing = torch.tensor([NO_ANSWER in text for text in said], device=labels.device)
    after = (labels == config.latent_end_token_id).long().flip(1).cumsum(1).flip(1) == 0
    return labels.masked_fill(missing[:, None] & after, IGNORED_LABEL)

"""Self-feeding: predict a row's own latents during training, to feed them in place of the imagery targets.

Fed with true imagery, a model learns to read answers off it, and when it decodes there is none. Here the latents are
those that it predicts itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from .errors import InputError
from .latent_unroll import LatentUnroll, can_unroll, packed_sequences


@dataclass(frozen=True)
class SelfFeeding:
    """Settings of self-feeding: how a row's own latents are predicted.

    Attributes:
        passes (`int`, *optional*): Parallel: so many passes over the whole row, each of which feeds every latent pad
            the state that the pass before predicted there. The first feeds the pad's own embedding, so that no pass
            knows the imagery. Pass n makes the n-th latent of each row exactly the one that it would decode. With 0
            the rows feed on the pad's embedding: pads without feedback, the control of what latents hold. None,
            sequential: the row is decoded with a cache, one step for each latent, and all are exact.
        gradient (`int`, *optional*, defaults to 0): Parallel passes that let the loss through to what they fed on: the
            last of `passes`, or so many after the decoding, which change no latent. With as many as the latents,
            both ways have one gradient, that of decoding itself. None: that gradient. Of `passes` all let the loss
            through; without, one unroll whose cache carries the graph takes the place of decoding, passes and the
            loss's own pass.
    """

    passes: int | None = None
    gradient: int | None = 0

    def __post_init__(self):
        if (self.passes is not None and self.passes < 0) or (self.gradient is not None and self.gradient < 0):
            raise InputError(
                f"{self.passes} self-feeding passes with gradient through {self.gradient}: give 0 or more"
            )


def run_self_fed(
    model: PreTrainedModel,
    inputs: dict[str, Any],
    targets: torch.Tensor,
    feeding: SelfFeeding,
    teacher_forced: torch.BoolTensor | None = None,
) -> tuple[torch.Tensor, BaseModelOutput]:
    """Run a batch whose rows feed on the latents that they predict.

    Call it inside the model's `forward`: under FSDP, weights of the outer model are whole only there.

    Args:
        model: The outer model.
        inputs (`dict`): What its inner model's `forward` takes, without latents.
        targets, teacher_forced: See [`OwnLatents`].
        feeding ([`SelfFeeding`]): How they are predicted.

    Returns:
        `tuple`: The latents, packed to `(latents, hidden)`, and the inner model's output with them.
    """
    ids, pad = inputs["input_ids"], model.config.latent_token_id
    latents = OwnLatents(ids == pad, targets, model.get_input_embeddings()(ids.new_tensor(pad)), teacher_forced)

    def run(fed: torch.Tensor) -> BaseModelOutput:
        return model.model(**inputs, latent_embeds=fed, use_cache=False)

    def predict(fed: torch.Tensor) -> torch.Tensor:
        return model.to_feedback(run(fed).last_hidden_state)

    passes, gradient = feeding.passes, feeding.gradient
    if passes is None and not can_unroll(model, inputs):
        passes = most_latents(latents.pads, packed_sequences(inputs)) + (gradient or 0)
    if passes is not None:
        latents.refine(predict, passes, passes if gradient is None else gradient)
        return latents.fed, run(latents.fed)
    if gradient is None:
        return LatentUnroll(model, inputs).run(targets.flatten(0, 1), latents.own)
    training = model.training
    model.eval()  # latents are decoded without dropout
    try:
        with torch.no_grad():
            latents.fed, _ = LatentUnroll(model, inputs).run(targets.flatten(0, 1), latents.own, whole=False)
    finally:
        model.train(training)
    latents.refine(predict, gradient, gradient)
    return latents.fed, run(latents.fed)


def most_latents(pads: torch.BoolTensor, sequences: torch.LongTensor | None) -> int:
    """The number of latents of the sequence that has most."""
    if sequences is None:
        return int(pads.sum(1).max())
    return int(torch.bincount(sequences[pads]).max())


class OwnLatents:
    """The latents that the rows of a batch predict for themselves.

    Args:
        pads (`torch.BoolTensor` of shape `(batch, length)`): True at latent pads.
        targets (`torch.Tensor` of shape `(images, latent_size, hidden)`): Imagery targets, row after row.
        pad_embedding (`torch.Tensor` of shape `(hidden,)`): What stands at a pad before anything is predicted.
        teacher_forced (`torch.BoolTensor` of shape `(images,)`, *optional*): True for blocks that feed on their
            targets all the same.
    """

    def __init__(
        self,
        pads: torch.BoolTensor,
        targets: torch.Tensor,
        pad_embedding: torch.Tensor,
        teacher_forced: torch.BoolTensor | None = None,
    ):
        self.pads = pads
        self.own = torch.ones(targets.shape[:2].numel(), dtype=torch.bool, device=targets.device)
        if teacher_forced is not None:
            self.own = ~teacher_forced.repeat_interleave(targets.shape[1])
        self.fed = torch.where(self.own[:, None], pad_embedding.detach().to(targets.dtype), targets.flatten(0, 1))

    def refine(self, predict: Callable[[torch.Tensor], torch.Tensor], passes: int, gradient: int) -> None:
        """Parallel passes.

        Args:
            predict (`Callable`): From packed latents `(latents, hidden)` to what the model would feed back after each
                token, `(batch, length, hidden)`.
            passes (`int`): How many.
            gradient (`int`): How many of the last carry a graph.
        """
        for left in reversed(range(passes)):
            with torch.set_grad_enabled(torch.is_grad_enabled() and left < gradient):
                predicted = predict(self.fed)[:, :-1][self.pads[:, 1:]].to(self.fed.dtype)
                self.fed = torch.where(self.own[:, None], predicted, self.fed)

"""Self-feeding: predict a row's own latents during training, to feed them in place of the imagery targets.

Fed with true imagery, a model learns to read answers off it, and when it decodes there is none. Here the latents are
those that it predicts itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from .errors import InputError
from .rope_positions import GRIDS, TEXT, token_types

_TOKENS = ("input_ids", "attention_mask", "position_ids", "mm_token_type_ids")
# Arguments that hold the visual input.
_VISION = ("pixel_values", "pixel_values_videos", "mm_encoder_outputs", *GRIDS)


@dataclass(frozen=True)
class SelfFeeding:
    """Settings of self-feeding: how a row's own latents are predicted.

    Attributes:
        passes (`int`, *optional*): Parallel: so many passes over the whole row, each of which feeds every latent pad
            the state that the pass before predicted there. The first feeds the pad's own embedding, so that no pass
            knows the imagery. Pass n makes the n-th latent of each row exactly the one that it would decode. None,
            sequential: the row is decoded with a cache, one step for each latent, and all are exact.
        gradient (`int`, *optional*, defaults to 0): Parallel passes that let the loss through to what they fed on: the
            last of `passes`, or so many after the decoding, which change no latent. With as many as the latents,
            both ways have one gradient, that of decoding itself.
    """

    passes: int | None = None
    gradient: int = 0

    def __post_init__(self):
        if (self.passes is not None and self.passes < 1) or self.gradient < 0:
            raise InputError(
                f"{self.passes} self-feeding passes with gradient through {self.gradient}: give 1 or more, and 0 or "
                "more"
            )


def predict_latents(
    model: PreTrainedModel,
    inputs: dict[str, Any],
    targets: torch.Tensor,
    feeding: SelfFeeding,
    teacher_forced: torch.BoolTensor | None = None,
) -> torch.Tensor:
    """Predict the latents that the rows of a batch feed on, packed to `(latents, hidden)`.

    Call it inside the model's `forward`: under FSDP, weights of the outer model are whole only there.

    Args:
        model: The outer model.
        inputs (`dict`): What its inner model's `forward` takes, without latents.
        targets, teacher_forced: See [`OwnLatents`].
        feeding ([`SelfFeeding`]): How they are predicted.
    """
    ids, pad = inputs["input_ids"], model.config.latent_token_id
    latents = OwnLatents(ids == pad, targets, model.get_input_embeddings()(ids.new_tensor(pad)), teacher_forced)

    def predict(fed: torch.Tensor) -> torch.Tensor:
        outputs = model.model(**inputs, latent_embeds=fed, use_cache=False)
        return model.to_feedback(outputs.last_hidden_state)

    if feeding.passes is not None:
        latents.refine(predict, feeding.passes, feeding.gradient)
        return latents.fed
    decoding, training = CachedSteps(model, inputs), model.training
    model.eval()  # or layers that recompute their activations would drop the cache
    try:
        latents.decode(decoding.step, decoding.after_vision)
    finally:
        model.train(training)
    latents.refine(predict, feeding.gradient, feeding.gradient)
    return latents.fed


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
        self.rows, self.columns = pads.nonzero().T
        # Index of each latent within its row, from 1.
        self.numbers = (pads.cumsum(1) * pads)[pads]
        self.own = torch.ones_like(self.columns, dtype=torch.bool)
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

    @torch.no_grad()
    def decode(
        self, step: Callable[[torch.LongTensor, torch.BoolTensor, torch.Tensor], torch.Tensor], context: torch.Tensor
    ) -> None:
        """One step for each latent of the longest row.

        Args:
            step (`Callable`): From columns `(batch, width)`, which of them count, and packed latents for the pads
                among these to what the model would feed back after the last column, `(batch, hidden)`. Each step
                goes on where the one before ended.
            context (`torch.LongTensor` of shape `(batch,)`): How many columns rows without latents begin with.
        """
        starts = torch.zeros_like(context)
        for number in range(1, int(self.numbers.max()) + 1):
            due = self.numbers == number
            # Rows that have no latent left stay out of the steps after the first: they have begun past their context.
            ends = context.clone()
            ends[self.rows[due]] = self.columns[due]
            width = int((ends - starts).max())
            columns = ends[:, None] + torch.arange(-width, 0, device=ends.device)
            counts = columns >= starts[:, None]
            going_on = torch.zeros_like(self.pads[:, 0]).index_fill_(0, self.rows[due], True)
            before = (self.numbers == number - 1) & going_on[self.rows]
            states = step(columns.clamp(min=0), counts, self.fed[before])
            update = due & self.own
            self.fed[update] = states[self.rows[update]].to(self.fed.dtype)
            starts = ends


class CachedSteps:
    """Decoding of rows that are known already, a stretch of columns at a time, each row at its own.

    Args:
        model: The outer model.
        inputs (`dict`): What its inner model's `forward` takes, without latents; the vision among them goes with the
            first stretch.
    """

    def __init__(self, model: PreTrainedModel, inputs: dict[str, Any]):
        self.model, self.ids = model, inputs["input_ids"]
        self.context = {name: value for name, value in inputs.items() if name not in _TOKENS}
        self.mask = inputs.get("attention_mask", torch.ones_like(self.ids))
        self.positions = inputs.get("position_ids")
        if self.positions is None:
            grids = {name: inputs[name] for name in GRIDS if name in inputs}
            self.positions, _ = model.model.get_rope_index(self.ids, attention_mask=self.mask, **grids)
        seen = token_types(self.ids, model.config) != TEXT
        numbered = torch.arange(1, self.ids.shape[1] + 1, device=self.ids.device)
        self.after_vision = (seen * numbered).amax(1)
        self._cache = DynamicCache(config=model.config.get_text_config())
        self._cached = self.mask[:, :0]

    def step(self, columns: torch.LongTensor, counts: torch.BoolTensor, latents: torch.Tensor) -> torch.Tensor:
        """The states that would be fed back after these columns; see [`OwnLatents.decode`]."""
        # What does not count is hidden from the rest; it only must not look like a pad or an image.
        ids = self.ids.gather(1, columns).masked_fill(~counts, self.model.config.latent_start_token_id)
        self._cached = torch.cat([self._cached, self.mask.gather(1, columns) * counts], dim=1)
        outputs = self.model.model(
            input_ids=ids,
            attention_mask=self._cached,
            position_ids=self.positions.gather(2, columns.expand(len(self.positions), -1, -1)),
            cache=self._cache,
            latent_embeds=latents if len(latents) else None,
            use_cache=True,
            **self.context,
        )
        self.context = {name: value for name, value in self.context.items() if name not in _VISION}
        return self.model.to_feedback(outputs.last_hidden_state[:, -1])

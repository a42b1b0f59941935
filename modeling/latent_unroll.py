"""Unroll rows that are known already, stretch by stretch between their latents, with a cache that carries the graph.

A latent is the state before it, so no stretch can run before the one that ends with that state. What the rows' states
depend on stays in the graph: the loss has the gradient of decoding itself.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from .answer_mask import takes_any_mask, token_roles
from .errors import InputError
from .graph_cache import GraphCache, RecomputedLayers
from .rope_positions import GRIDS, TEXT, token_types

_TOKENS = ("input_ids", "attention_mask", "position_ids", "mm_token_type_ids", "roles")
# Arguments that hold the visual input, which goes with the first stretch.
_VISION = ("pixel_values", "pixel_values_videos", "mm_encoder_outputs", *GRIDS)


@dataclass(frozen=True)
class Stretches:
    """Which columns of a batch run together: those after a sequence's latent `s` and before the next, in stretch `s`.

    A sequence's last stretch runs in the last one of all, where the ends of all sequences run at once.

    Attributes:
        columns (`list[torch.LongTensor]`): Of each stretch, `(batch, width)`, in order; -1 fills shorter rows on the
            left.
        places (`torch.LongTensor` of shape `(batch, length)`): Of each column among those of all stretches.
        rows, pads (`torch.LongTensor` of shape `(latents,)`): Row and column of each latent, row after row.
        due (`torch.LongTensor` of shape `(latents,)`): The stretch that predicts it.
        fed (`torch.LongTensor` of shape `(latents,)`): The stretch that begins with it.
    """

    columns: list[torch.LongTensor]
    places: torch.LongTensor
    rows: torch.LongTensor
    pads: torch.LongTensor
    due: torch.LongTensor
    fed: torch.LongTensor

    @classmethod
    def plan(cls, pads: torch.BoolTensor, sequences: torch.LongTensor, visual: torch.BoolTensor) -> "Stretches":
        """Plan the stretches of a batch.

        Args:
            pads (`torch.BoolTensor` of shape `(batch, length)`): True at latent pads; on the CPU, as all of these.
            sequences (`torch.LongTensor` of shape `(batch, length)`): For each column the number of its sequence
                within the row, from 0 and rising; several of a packed row.
            visual (`torch.BoolTensor` of shape `(batch, length)`): True at visual tokens.

        Raises:
            InputError: If a visual block follows a latent.
        """
        counted = pads.cumsum(1)
        starts = torch.ones_like(sequences, dtype=torch.bool)
        starts[:, 1:] = sequences[:, 1:] != sequences[:, :-1]
        # Latents of a sequence up to each column: those of the row less those before the sequence.
        numbers = counted - torch.where(starts, counted - pads.long(), 0).cummax(1).values
        size = int(sequences.max()) + 1
        totals = torch.zeros(len(pads), size, dtype=torch.long)
        totals.scatter_reduce_(1, sequences, numbers, "amax")
        totals = totals.gather(1, sequences)
        last = int(totals.max())
        stages = torch.where((numbers == totals) & (totals > 0), last, numbers)
        if size == 1:
            # Rows without latents fill the first stretch, whose width others set, and end with the rest.
            first = (stages == 0) & (totals > 0)
            width = first.sum(1).max() if first.any() else pads.shape[1]
            context = (visual * torch.arange(1, pads.shape[1] + 1)).amax(1, keepdim=True).clamp(min=int(width))
            beyond = (totals == 0) & (torch.arange(pads.shape[1]) >= context)
            stages = torch.where(beyond, last, stages)
        if (stages[visual] > 0).any():
            raise InputError("a visual block follows a latent block: set self_feeding to parallel")
        rows, positions = pads.nonzero().T
        columns, places = _lay_out(stages, last)
        return cls(columns, places, rows, positions, numbers[pads] - 1, stages[pads])


def _lay_out(stages: torch.LongTensor, last: int) -> tuple[list[torch.LongTensor], torch.LongTensor]:
    """The columns of each stretch, and the place of each column among them all."""
    length, numbered = stages.shape[1], torch.arange(stages.shape[1])
    columns, places, offset = [], torch.zeros_like(stages), 0
    for stage in range(last + 1):
        members = stages == stage
        width = int(members.sum(1).max())
        ordered = torch.where(members, numbered, -1).sort(1).values[:, length - width :]
        columns.append(ordered)
        # Members end at the stretch's right, so that the last of a row is the stretch's last.
        from_right = members.flip(1).cumsum(1).flip(1)
        places = torch.where(members, offset + width - from_right, places)
        offset += width
    return columns, places


class LatentUnroll:
    """Runs the stretches of a batch one after the other and feeds each what the ones before it predicted.

    Args:
        model: The outer model.
        inputs (`dict`): What its inner model's `forward` takes, without latents. Rows are padded, with or without an
            `attention_mask`; packed, with positions whose first axis starts again at each sequence; or masked by an
            `attention_mask` of shape `(batch, 1, length, length)`. `roles` of shape `(batch, length)`, where 0 is
            padding, are passed on for all columns that a stretch sees.

    Raises:
        InputError: If a visual block follows a latent.
    """

    def __init__(self, model: PreTrainedModel, inputs: dict[str, Any]):
        self.model, self.ids = model, inputs["input_ids"]
        self._context = {name: value for name, value in inputs.items() if name not in _TOKENS}
        self._mask, self._positions = inputs.get("attention_mask"), inputs.get("position_ids")
        self._sequences, self._roles = packed_sequences(inputs), inputs.get("roles")
        if self._roles is None and self._sequences is None and model.config.answer_sees == "latents":
            padded = self._mask if self._mask is not None and self._mask.dim() == 2 else None
            self._roles = token_roles(self.ids, model.config, padded)
        if self._mask is None:
            self._mask = torch.ones_like(self.ids)
        if self._positions is None:
            grids = {name: inputs[name] for name in GRIDS if name in inputs}
            self._positions, _ = model.model.get_rope_index(self.ids, attention_mask=self._mask, **grids)
        ids = self.ids.cpu()
        sequences = torch.zeros_like(ids) if self._sequences is None else self._sequences.cpu()
        self.stretches = Stretches.plan(
            ids == model.config.latent_token_id, sequences, token_types(ids, model.config) != TEXT
        )

    def run(
        self, targets: torch.Tensor, own: torch.BoolTensor, whole: bool = True
    ) -> tuple[torch.Tensor, BaseModelOutput | None]:
        """Predict and feed all latents.

        Args:
            targets (`torch.Tensor` of shape `(latents, hidden)`): Imagery targets, row after row.
            own (`torch.BoolTensor` of shape `(latents,)`): False for latents that are their targets all the same.
            whole (`bool`, *optional*, defaults to `True`): Run the last stretch too, which predicts no latent.

        Returns:
            `tuple`: The latents that were fed, `(latents, hidden)`, and with `whole` the states of all columns.
        """
        plan, device = self.stretches, self.ids.device
        layers = RecomputedLayers(self.model, self.model.model.language_model.layers)
        cache = GraphCache(len(layers.layers))
        outputs, fed, offset, last = [], targets, 0, len(plan.columns) - 1
        keys = torch.zeros(len(self.ids), 0, dtype=torch.long, device=device)
        with layers.patch():
            for number, columns in enumerate(plan.columns if whole else plan.columns[:-1]):
                # One token attends to all that were before: cheaper to run again than to keep with its copied keys.
                layers.active = layers.by_setting or 0 < number < last
                columns, begins = columns.to(device), (plan.fed == number).to(device)
                keys = torch.cat([keys, columns], dim=1)
                outputs.append(self._step(columns, keys, cache.stretch(number), fed[begins]))
                due = (plan.due == number).nonzero()[:, 0]
                before = plan.places[plan.rows[due], plan.pads[due] - 1] - offset
                offset += columns.shape[1]
                if len(due):
                    states = outputs[-1].last_hidden_state[plan.rows[due].to(device), before.to(device)]
                    due = due.to(device)
                    predicted = self.model.to_feedback(states).to(fed.dtype)
                    fed = fed.index_put((due,), torch.where(own[due, None], predicted, targets[due]))
        return fed, self._assemble(outputs) if whole else None

    def _step(
        self, columns: torch.LongTensor, keys: torch.LongTensor, cache, latents: torch.Tensor
    ) -> BaseModelOutput:
        counts, columns = columns >= 0, columns.clamp(min=0)
        # What fills a row only must not look like a pad or an image.
        ids = self.ids.gather(1, columns).masked_fill(~counts, self.model.config.latent_start_token_id)
        context = self._context
        if self._roles is not None:
            context = {**context, "roles": self._roles.gather(1, keys.clamp(min=0)).masked_fill(keys < 0, 0)}
        outputs = self.model.model(
            input_ids=ids,
            attention_mask=self._attention(columns, keys),
            position_ids=self._positions.gather(2, columns.expand(len(self._positions), -1, -1)),
            cache=cache,
            latent_embeds=latents if len(latents) else None,
            use_cache=True,
            **context,
        )
        self._context = {name: value for name, value in self._context.items() if name not in _VISION}
        return outputs

    def _attention(self, columns: torch.LongTensor, keys: torch.LongTensor) -> torch.Tensor:
        """What the columns of a stretch see of those cached and their own, all in `keys`, where -1 fills rows."""
        counts, keys = keys >= 0, keys.clamp(min=0)
        if self._mask.dim() == 4:
            rows = torch.arange(len(keys), device=keys.device)[:, None, None]
            seen = self._mask[rows, 0, columns[:, :, None], keys[:, None]][:, None]
            hidden = ~counts[:, None, None]
            return (
                seen & ~hidden if seen.dtype == torch.bool else seen.masked_fill(hidden, torch.finfo(seen.dtype).min)
            )
        if self._sequences is None:
            return self._mask.gather(1, keys) * counts
        same = self._sequences.gather(1, columns)[:, :, None] == self._sequences.gather(1, keys)[:, None]
        seen = same & (keys[:, None] <= columns[:, :, None]) & counts[:, None]
        return seen[:, None]

    def _assemble(self, outputs: list[BaseModelOutput]) -> BaseModelOutput:
        """States of all stretches in the order of the columns."""
        places = self.stretches.places.to(self.ids.device)[:, :, None]

        def assemble(parts: list[torch.Tensor]) -> torch.Tensor:
            states = torch.cat(parts, dim=1)
            return states.gather(1, places.expand(-1, -1, states.shape[-1]))

        hidden = None
        if outputs[0].hidden_states is not None:
            hidden = tuple(
                assemble(list(parts)) for parts in zip(*(part.hidden_states for part in outputs), strict=True)
            )
        return BaseModelOutput(assemble([part.last_hidden_state for part in outputs]), hidden_states=hidden)


def packed_sequences(inputs: dict[str, Any]) -> torch.LongTensor | None:
    """For each column of packed rows the number of its sequence, `(batch, length)`; `None` for rows that are not."""
    positions = inputs.get("position_ids")
    if positions is None or len(positions) != 4 or inputs.get("attention_mask") is not None:
        return None
    return (positions[0] == 0).cumsum(1) - 1


def can_unroll(model: PreTrainedModel, inputs: dict[str, Any]) -> bool:
    """Whether a model's attention can run a batch in stretches: packed and masked rows need a mask of any pattern."""
    mask = inputs.get("attention_mask")
    if packed_sequences(inputs) is None and (mask is None or mask.dim() == 2):
        return True
    return takes_any_mask(model.config)

"""Read a prompt into a cache of its own, a bounded piece at a time."""

from typing import Any

import torch

from ...modeling.answer_columns import AnswerColumns
from ...modeling.cache_name import CACHE_NAME
from ...modeling.tower_features import split_layers
from .prompt import Prompt
from .row_cache import new_cache

_KINDS = {"image": "image_token_id", "video": "video_token_id"}
_RULE_ARGUMENTS = ("mm_token_type_ids", "image_grid_thw", "video_grid_thw", "second_per_grid_ts")


class Prefill:
    """The reading of one prompt.

    Args:
        model: A model with latents.
        prompt ([`Prompt`]): What is read.
        chunk (`int`): Tokens of a piece at most. The vision tower runs whole, before the first.

    Attributes:
        cache (`DynamicCache`): Of one row.
        columns ([`AnswerColumns`], *optional*): Its columns, where the answer does not see all of them.
        next_position (`int`): Of the first token of the answer.
        features (`dict`): For `"video"` and `"image"` the visual tokens of each medium.
        logits, state (`torch.Tensor`): Of the last token, `(1, vocabulary)` and `(1, 1, hidden)`; once it is done.
    """

    def __init__(self, model, prompt: Prompt, chunk: int):
        self._model, self._chunk, self._place = model, chunk, 0
        self.prompt = prompt
        inputs = {name: value.to(model.device) for name, value in prompt.inputs.items() if torch.is_tensor(value)}
        self._ids = inputs["input_ids"]
        self._positions, self.next_position = _positions(model, inputs)
        self._encoded = model.encode_vision(inputs).get("mm_encoder_outputs", {})
        self.features = {kind: list(one.pooler_output) for kind, one in self._encoded.items()}
        self.cache = new_cache(model.config)
        blind = model.config.answer_sees == "latents"
        self.columns = AnswerColumns.of_prompts(model.config, self._ids) if blind else None
        self.logits: torch.Tensor | None = None
        self.state: torch.Tensor | None = None

    @property
    def done(self) -> bool:
        """Whether the whole prompt is in the cache."""
        return self._place >= self._ids.shape[1]

    def advance(self) -> int:
        """Read one more piece; gives its tokens."""
        first, last = self._place, min(self._place + self._chunk, self._ids.shape[1])
        features = {kind: part for kind in self._encoded if (part := self._features_between(kind, first, last))}
        output = self._model(
            input_ids=self._ids[:, first:last],
            attention_mask=torch.ones_like(self._ids[:, :last]),
            position_ids=self._positions[:, :, first:last],
            use_cache=True,
            logits_to_keep=1,
            **{CACHE_NAME: self.cache},
            **({"mm_encoder_outputs": features} if features else {}),
            **({} if self.columns is None else {"roles": self.columns.roles[:, :last]}),
        )
        self._place = last
        if self.done:
            self.logits, self.state = output.logits[:, -1], output.last_hidden_state[:, -1:]
        return last - first

    def _features_between(self, kind: str, first: int, last: int) -> Any:
        """The features of the visual tokens in a piece, as if they were one image or video; none if there are none."""
        visual = self._ids[0] == getattr(self._model.config, _KINDS[kind])
        start, count = int(visual[:first].sum()), int(visual[first:last].sum())
        if not count:
            return None
        whole = self._encoded[kind]
        part = {**whole, "pooler_output": (torch.cat(self.features[kind])[start : start + count],)}
        if layers := split_layers(whole):
            part["deepstack_features"] = [(torch.cat(layer)[start : start + count],) for layer in layers]
        return type(whole)(**part)


def _positions(model, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """Positions `(3, 1, length)` of a prompt, and that of the next token."""
    ids = inputs["input_ids"]
    if "image_grid_thw" not in inputs and "video_grid_thw" not in inputs:
        return torch.arange(ids.shape[1], device=ids.device).expand(3, 1, -1), ids.shape[1]
    known = {name: inputs[name] for name in _RULE_ARGUMENTS if name in inputs}
    positions, deltas = model.model.get_rope_index(ids, attention_mask=torch.ones_like(ids), **known)
    return positions.to(ids.device), ids.shape[1] + int(deltas[0, 0])

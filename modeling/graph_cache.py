"""A key-value cache that carries the autograd graph, and decoder layers that may recompute activations beside it.

transformers switches its cache off where activations are recomputed: a layer that runs twice would write its keys
twice. Here a stretch of columns writes its keys once, and a second run of it sees what the first one saw.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.cache_utils import Cache, DynamicLayer

# For each stretch its keys and values, of shape (batch, heads, width, head size).
Segments = list[tuple[torch.Tensor, torch.Tensor]]


class GraphCache:
    """Keys and values of the stretches of a row, none of which is copied until a layer attends to it.

    Args:
        layers (`int`): Number of decoder layers.
    """

    def __init__(self, layers: int):
        self._segments: list[Segments] = [[] for _ in range(layers)]

    def stretch(self, number: int) -> Cache:
        """What the layers write to and read from in stretch `number`, counted from 0, however often they run it."""
        return Cache(layers=[_StretchLayer(segments, number) for segments in self._segments])


class _StretchLayer(DynamicLayer):
    """One layer's cache in one stretch: the segments of the stretches before it, and its own."""

    def __init__(self, segments: Segments, number: int):
        super().__init__()
        self._segments, self._number = segments, number

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        """The keys and values up to this stretch. Those of a run for the backward pass are not written again."""
        if len(self._segments) == self._number:
            self._segments.append((key_states, value_states))
        keys, values = zip(*self._segments[: self._number], (key_states, value_states), strict=True)
        return torch.cat(keys, dim=-2), torch.cat(values, dim=-2)

    def get_seq_length(self) -> int:
        """Columns of the stretches before this one."""
        return sum(keys.shape[-2] for keys, _ in self._segments[: self._number])


class RecomputedLayers:
    """Decoder layers that keep their cache whatever activation checkpointing is set, and recompute where asked.

    Args:
        model (`nn.Module`): A model.
        layers (`Iterable[nn.Module]`): Its decoder layers.

    Attributes:
        by_setting (`bool`): Whether the model's own setting asks for recomputed activations.
        active (`bool`): Whether layers that run now drop their activations and run again in the backward pass.
    """

    def __init__(self, model: nn.Module, layers: nn.ModuleList):
        self.layers = layers
        self._set = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
        self.by_setting = model.training and any(layer in self._set for layer in layers)
        self.active = False

    @contextmanager
    def patch(self) -> Iterator["RecomputedLayers"]:
        """Switch transformers' own checkpointing off, which would drop the cache, and ours on."""
        own_forwards = [vars(layer).get("forward") for layer in self.layers]
        for module in self._set:
            module.gradient_checkpointing = False
        for layer in self.layers:
            layer.forward = partial(self._run, layer, layer.forward)
        try:
            yield self
        finally:
            for layer, forward in zip(self.layers, own_forwards, strict=True):
                del layer.forward
                if forward is not None:
                    layer.forward = forward
            for module in self._set:
                module.gradient_checkpointing = True

    def _run(self, layer: nn.Module, forward, *args: Any, **kwargs: Any) -> Any:
        if not (self.active and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        return checkpoint(partial(_keep_cache, layer, forward), *args, use_reentrant=False, **kwargs)


def _keep_cache(layer: nn.Module, forward, *args: Any, **kwargs: Any) -> Any:
    """A layer's forward that keeps its cache in the backward pass too, where the model's setting is on again."""
    setting, layer.gradient_checkpointing = layer.gradient_checkpointing, False
    try:
        return forward(*args, **kwargs)
    finally:
        layer.gradient_checkpointing = setting

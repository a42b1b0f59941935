"""A key-value cache whose rows come and go while the others decode."""

from collections.abc import Sequence

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ...modeling.answer_columns import select_columns
from ...modeling.errors import InputError

_ROOM = 64  # columns that are allocated ahead


class _GrowingLayer(DynamicLayer):
    """A layer that writes new columns into room made ahead; the stock one copies all columns at every step."""

    keys: torch.Tensor
    values: torch.Tensor
    _room: tuple[torch.Tensor, ...]

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        """Append columns; gives all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.fill(key_states, value_states)
            return self.keys, self.values
        first, length = self.get_seq_length(), self.get_seq_length() + key_states.shape[-2]
        if length > self._room[0].shape[-2]:
            self.fill(self.keys, self.values, length + _ROOM)
        self.keys, self.values = (room[:, :, :length] for room in self._room)
        self.keys[:, :, first:] = key_states
        self.values[:, :, first:] = value_states
        return self.keys, self.values

    def fill(self, keys: torch.Tensor, values: torch.Tensor, columns: int | None = None) -> None:
        """Take columns over into new room."""
        length = keys.shape[-2]
        self._room = tuple(
            part.new_empty(*part.shape[:2], columns or length + _ROOM, part.shape[3]) for part in (keys, values)
        )
        self.keys, self.values = (room[:, :, :length] for room in self._room)
        self.keys.copy_(keys)
        self.values.copy_(values)


def new_cache(config) -> DynamicCache:
    """An empty cache for a model of this configuration.

    Raises:
        InputError: If a layer attends to a window only, whose columns rows of several lengths cannot share.
    """
    cache = DynamicCache(config=config.get_text_config())
    if any(layer.is_sliding for layer in cache.layers):
        raise InputError("a model whose layers attend to a sliding window cannot be served")
    cache.layers = [_GrowingLayer() for _ in cache.layers]
    return cache


def join_rows(parts: Sequence[tuple[DynamicCache, Sequence[int], Sequence[int]]], config) -> DynamicCache:
    """A cache of rows from several caches, each flush with the end.

    Args:
        parts: Caches, for each the numbers of the rows to take and these rows' lengths; what lies before a row's
            own columns is padding.
        config: The model's configuration.

    Returns:
        `DynamicCache`: As many columns as the longest row has, zeros where a shorter one has none.
    """
    joined = new_cache(config)
    longest = max(length for _, _, lengths in parts for length in lengths)
    count = sum(len(rows) for _, rows, _ in parts)
    for number, layer in enumerate(joined.layers):
        first = parts[0][0].layers[number].keys
        layer.lazy_initialization(first, first)
        for name in ("keys", "values"):
            like = getattr(parts[0][0].layers[number], name)
            setattr(layer, name, like.new_zeros(count, like.shape[1], longest, like.shape[3]))
            target = iter(getattr(layer, name))
            for cache, rows, lengths in parts:
                source = getattr(cache.layers[number], name)
                for row, length in zip(rows, lengths, strict=True):
                    next(target)[:, longest - length :] = source[row, :, source.shape[2] - length :]
        layer.fill(layer.keys, layer.values)
    return joined


def drop_columns(cache: DynamicCache, places: torch.LongTensor) -> None:
    """Keep some columns of a cache of [`new_cache`]; see [`select_columns`]."""
    select_columns(cache, places)
    for layer in cache.layers:
        layer.fill(layer.keys, layer.values)

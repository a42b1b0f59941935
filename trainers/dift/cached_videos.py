"""Encode rows whose videos are in the feature cache: their frames are not looked at again.

A processor puts a number of tokens in the place of a text's video placeholder, which follow from the frames and their
times. They are kept with the features.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from safetensors.torch import load_file
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature, ProcessorMixin

from ..common.video_inputs import EncodedVideo, video_inputs

_TOKENS, _TYPES, _GRID, _SECONDS, _FEATURES = "tokens", "token_types", "grid_thw", "seconds_per_grid", "features"
_DEEPSTACK = "deepstack."


def pack_videos(
    processor: ProcessorMixin, text: str, encoded: Mapping[str, torch.Tensor], videos: Sequence[EncodedVideo]
) -> list[dict[str, torch.Tensor]]:
    """What is to be kept of a batch's videos, one a row: what a tower makes of them, and their tokens.

    Args:
        processor: A Qwen2.5-VL or Qwen3-VL processor.
        text (`str`): The text of every row, with one placeholder.
        encoded (`Mapping[str, torch.Tensor]`): The rows as `encode` gives them.
        videos (`Sequence[EncodedVideo]`): Their videos, with features.
    """
    ids = processor.tokenizer(text)["input_ids"]
    before = ids.index(_placeholder(processor))
    after = len(ids) - before - 1
    kept = []
    for row, video in enumerate(videos):
        seen = encoded["attention_mask"][row].bool()
        tokens, types = (encoded[name][row][seen] for name in ("input_ids", "mm_token_type_ids"))
        tensors = {_TOKENS: tokens, _TYPES: types}
        tensors = {name: values[before : len(values) - after] for name, values in tensors.items()}
        tensors |= {_GRID: video.grid_thw, _FEATURES: video.features}
        tensors |= {f"{_DEEPSTACK}{number}": layer for number, layer in enumerate(video.deepstack)}
        if video.seconds_per_grid is not None:
            tensors[_SECONDS] = video.seconds_per_grid
        kept.append(tensors)
    return kept


def encode_cached(
    processor: ProcessorMixin, texts: Sequence[str], files: Sequence[str], padding_side: str = "left"
) -> BatchFeature:
    """What `encode` gives for conversations with one video each, with `mm_encoder_outputs` in the place of pixels.

    Args:
        processor: The processor that made the files.
        texts (`Sequence[str]`): Conversations with a placeholder for their video.
        files (`Sequence[str]`): A file of the feature cache for each.
        padding_side (`str`, *optional*, defaults to `"left"`): Where shorter rows are filled.
    """
    placeholder, ids, types, videos = _placeholder(processor), [], [], []
    for text, file in zip(processor.tokenizer(list(texts))["input_ids"], files, strict=True):
        kept = load_file(file)
        place = text.index(placeholder)
        before, after = torch.tensor(text[:place]), torch.tensor(text[place + 1 :])
        ids.append(torch.cat([before, kept[_TOKENS], after]))
        types.append(torch.cat([torch.zeros_like(before), kept[_TYPES], torch.zeros_like(after)]))
        layers = [kept[f"{_DEEPSTACK}{number}"] for number in range(sum(_DEEPSTACK in name for name in kept))]
        videos.append(EncodedVideo(kept[_GRID], kept.get(_SECONDS), kept[_FEATURES], tuple(layers)))
    fill = partial(pad_sequence, batch_first=True, padding_side=padding_side)
    batch = {
        "input_ids": fill(ids, padding_value=processor.tokenizer.pad_token_id),
        "attention_mask": fill([torch.ones_like(row) for row in ids]),
        "mm_token_type_ids": fill(types),
    }
    return BatchFeature({**batch, **video_inputs(videos)})


def vocabulary_digest(processor: ProcessorMixin) -> str:
    """A hash of which id each token has, for tokens are kept as ids."""
    return hashlib.sha256(json.dumps(processor.tokenizer.get_vocab(), sort_keys=True).encode()).hexdigest()


def _placeholder(processor: ProcessorMixin) -> int:
    return processor.tokenizer.convert_tokens_to_ids(processor.video_token)

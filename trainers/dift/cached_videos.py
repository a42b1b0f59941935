"""Encode rows whose videos are in the feature cache: their frames are not looked at again.

A processor puts a number of tokens in the place of a text's video placeholder, which follow from the frames and their
times. They are kept with the features.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature, ProcessorMixin

from ...modeling.errors import InputError
from ..common.video_inputs import EncodedVideo, video_inputs

_TOKENS, _TYPES, _GRID, _SECONDS, _FEATURES = "tokens", "token_types", "grid_thw", "seconds_per_grid", "features"
_REPLACED, _DEEPSTACK = "replaced", "deepstack."


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
    place = ids.index(_placeholder(processor))
    kept = []
    for row, video in enumerate(videos):
        seen = encoded["attention_mask"][row].bool()
        tokens, types = (encoded[name][row][seen] for name in ("input_ids", "mm_token_type_ids"))
        # Some versions of a processor replace the marks around the placeholder too.
        before = _common(ids[:place], tokens.tolist())
        after = _common(ids[:place:-1], tokens.tolist()[::-1])
        tensors = {_TOKENS: tokens, _TYPES: types}
        tensors = {name: values[before : len(values) - after] for name, values in tensors.items()}
        tensors[_REPLACED] = torch.tensor([before - place, len(ids) - after - place])
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

    Raises:
        InputError: If a file cannot be read.
    """
    placeholder, ids, types, videos = _placeholder(processor), [], [], []
    for text, file in zip(processor.tokenizer(list(texts))["input_ids"], files, strict=True):
        kept = load_kept(file)
        place = text.index(placeholder)
        start, end = (place + offset for offset in kept[_REPLACED].tolist())
        before, after = torch.tensor(text[:start]), torch.tensor(text[end:])
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


def load_kept(file: str) -> dict[str, torch.Tensor]:
    """The tensors of a file of the feature cache.

    Raises:
        InputError: If it was deleted since the run began, or is damaged.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"the precomputed features {file} cannot be read ({error}): delete what is left of them, and start again"
        ) from error


def describe_tokens(processor: ProcessorMixin) -> str:
    """All that a video's tokens follow from beside its frames: the processor, its version, and each token's id."""
    vocabulary = hashlib.sha256(json.dumps(processor.tokenizer.get_vocab(), sort_keys=True).encode()).hexdigest()
    return f"{type(processor).__name__} {transformers.__version__} {vocabulary}"


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many elements two sequences begin with alike."""
    pairs = zip(first, second, strict=False)
    return next((number for number, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


def _placeholder(processor: ProcessorMixin) -> int:
    return processor.tokenizer.convert_tokens_to_ids(processor.video_token)

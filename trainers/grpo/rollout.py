"""From dataset rows to model input and from sampled ids to completions: what a rollout needs before and after."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import BatchFeature, DynamicCache, PreTrainedModel, ProcessorMixin

from ...modeling.processing import encode, row_clip, row_prompt
from ..common.video_inputs import EncodedVideo, video_inputs

# The columns that make a prompt: rows that agree on them are one prompt.
PROMPT_COLUMNS = ("question", "options", "timestamps", "frames")


def group_prompts(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[int]]:
    """The distinct prompts among rows in which equal ones stand together.

    Returns:
        `tuple[list, list[int]]`: One row for each prompt, and for each row the number of its prompt.
    """
    prompts: list[Mapping[str, Any]] = []
    numbers = []
    for row in rows:
        if not prompts or any(row[column] != prompts[-1][column] for column in PROMPT_COLUMNS):
            prompts.append(row)
        numbers.append(len(prompts) - 1)
    return prompts, numbers


def encode_prompts(processor: ProcessorMixin, prompts: Sequence[Mapping[str, Any]]) -> BatchFeature:
    """Left-padded model input for dataset rows, the same as in training and evaluation.

    Raises:
        InputError: If a row's texts, frames or times cannot be encoded; the line names the row.
    """
    texts = [row_prompt(processor, row) for row in prompts]
    return encode(processor, texts, [row_clip(row) for row in prompts], padding_side="left")


def prefill_prompts(
    model: PreTrainedModel,
    tokens: Mapping[str, torch.Tensor],
    videos: Sequence[EncodedVideo],
    numbers: Sequence[int],
) -> dict[str, Any]:
    """What lets `generate` go on behind prompts that were computed once, however many rows share them.

    Args:
        model: The model inside its wrappers, as PEFT's own `generate` calls it: what decodes must compute the prompt.
        tokens (`Mapping[str, torch.Tensor]`): The distinct prompts, left-padded, each `(prompts, length)`.
        videos (`Sequence[EncodedVideo]`): Their videos.
        numbers (`Sequence[int]`): For each row the number of its prompt.

    Returns:
        `dict`: `cache` with a row for each of `numbers`, of all but the prompt's last token, from which
        `generate` starts.
    """
    cache = DynamicCache(config=model.config.get_text_config())
    begun = {name: values[:, :-1] for name, values in tokens.items()}
    model(**begun, **video_inputs(videos), cache=cache, use_cache=True, logits_to_keep=1)
    rows = torch.tensor(numbers)  # not on a device: a model's layers may lie on several
    cache.batch_select_indices(rows)
    # Where transformers keeps how far a row's positions are ahead of its length.
    model.model.rope_deltas = model.model.rope_deltas[rows]
    return {"cache": cache}


def truncate_at_eos(ids: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Token ids up to and including the first one that ends the turn."""
    ids = list(ids)
    first = min((ids.index(end) for end in ends if end in ids), default=len(ids) - 1)
    return ids[: first + 1]

"""From dataset rows to model input and from sampled ids to completions: what a rollout needs before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import BatchFeature, DynamicCache, PreTrainedModel, ProcessorMixin
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from ..modeling.processing import conversation_text, encode, row_clip
from ..modeling.tower_features import split_layers

# The columns that make a prompt: rows that agree on them are one prompt.
PROMPT_COLUMNS = ("question", "options", "timestamps", "frames")


@dataclass(frozen=True)
class EncodedVideo:
    """One prompt's video as the model takes it. The completions of a prompt share one object.

    Attributes:
        grid_thw (`torch.LongTensor` of shape `(1, 3)`): Patches along time, height and width.
        seconds_per_grid (`torch.Tensor` of shape `(1,)`, *optional*): Seconds that one temporal grid spans, if the
            family has them beside the text.
        features (`torch.Tensor` of shape `(visual tokens, hidden)`, *optional*): What a frozen tower makes of it.
        deepstack (`tuple[torch.Tensor, ...]`): As many features of each inner layer that the family passes on.
        pixels (`torch.Tensor` of shape `(patches, channels · patch pixels)`, *optional*): Given if the tower trains.
    """

    grid_thw: torch.LongTensor
    seconds_per_grid: torch.Tensor | None = None
    features: torch.Tensor | None = None
    deepstack: tuple[torch.Tensor, ...] = ()
    pixels: torch.Tensor | None = None


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
    """Left-padded model input for dataset rows, the same as in training and evaluation."""
    texts = [conversation_text(processor, row["question"], row["options"]) for row in prompts]
    return encode(processor, texts, [row_clip(row) for row in prompts], padding_side="left")


def encode_videos(model: PreTrainedModel, encoded: Mapping[str, torch.Tensor], frozen: bool) -> list[EncodedVideo]:
    """Split a batch with one video a row into its videos, each run through the tower once if that is frozen.

    Args:
        model: A model of the Qwen-VL family.
        encoded (`Mapping[str, torch.Tensor]`): Processor output on the model's device.
        frozen (`bool`): Whether the tower stays as it is, so that its features can be kept.
    """
    pixels, grids = encoded["pixel_values_videos"], encoded["video_grid_thw"]
    if frozen:
        with torch.no_grad():
            output = model.get_video_features(pixels, grids, return_dict=True)
        # One tuple of layers for each video, from one tuple of videos for each layer.
        inner = list(zip(*split_layers(output), strict=True)) or [()] * len(output.pooler_output)
        parts = [{"features": one, "deepstack": deep} for one, deep in zip(output.pooler_output, inner, strict=True)]
    else:
        parts = [{"pixels": one} for one in pixels.split(grids.prod(-1).tolist())]
    seconds = video_seconds(encoded)
    return [EncodedVideo(grids[row : row + 1], seconds[row], **part) for row, part in enumerate(parts)]


def video_seconds(encoded: Mapping[str, torch.Tensor]) -> Sequence[torch.Tensor | None]:
    """For each video of a batch the seconds that one temporal grid spans, `(1,)`, if the family has them."""
    grids = encoded["video_grid_thw"]
    if "second_per_grid_ts" not in encoded:
        return [None] * len(grids)
    return torch.as_tensor(encoded["second_per_grid_ts"], device=grids.device).split(1)


def video_grids(videos: Sequence[EncodedVideo]) -> dict[str, torch.Tensor]:
    """Those of the model's keyword arguments for rows with these videos that tell positions."""
    grids = {"video_grid_thw": torch.cat([video.grid_thw for video in videos])}
    if videos[0].seconds_per_grid is not None:
        grids["second_per_grid_ts"] = torch.cat([video.seconds_per_grid for video in videos])
    return grids


def video_inputs(videos: Sequence[EncodedVideo]) -> dict[str, Any]:
    """The model's keyword arguments for rows with these videos."""
    inputs: dict[str, Any] = video_grids(videos)
    if videos[0].features is None:
        inputs["pixel_values_videos"] = torch.cat([video.pixels for video in videos])
    else:
        features = BaseModelOutputWithDeepstackFeatures(
            pooler_output=tuple(video.features for video in videos),
            deepstack_features=list(zip(*(video.deepstack for video in videos), strict=True)),
        )
        inputs["mm_encoder_outputs"] = {"video": features}
    return inputs


def prefilled(
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


def until_end(ids: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Token ids up to and including the first one that ends the turn."""
    ids = list(ids)
    first = min((ids.index(end) for end in ends if end in ids), default=len(ids) - 1)
    return ids[: first + 1]

"""The video of a row as model input: encoded once, then passed as features or pixels, with its positions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from ...modeling.tower_features import split_layers


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
    """The model's keyword arguments for the positions of rows with these videos."""
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

"""Pass precomputed features of the vision tower in place of pixels, with every version of transformers.

Newer versions take them as `mm_encoder_outputs`, in which the features of each inner layer (Qwen3-VL's deepstack) are
split by image. Older ones take pixels only and want each layer whole. This file is the only one that knows both.
"""

from typing import Any

import torch
from transformers.utils import ModelOutput

_PIXELS = {"image": "pixel_values", "video": "pixel_values_videos"}


def split_layers(features: ModelOutput) -> list[tuple[torch.Tensor, ...]]:
    """For each inner layer that the family passes on, one tensor `(visual tokens, hidden)` for each image.

    Args:
        features: What `get_image_features` or `get_video_features` returns in any version.
    """
    counts = [len(one) for one in features.pooler_output]
    layers = getattr(features, "deepstack_features", None) or ()
    return [layer.split(counts) if isinstance(layer, torch.Tensor) else tuple(layer) for layer in layers]


def pass_features_as_pixels(vision: dict[str, Any]) -> dict[str, Any]:
    """Put features in the place of their pixels in the arguments.

    An older stock forward does nothing with pixels but pass them to `get_image_features` or `get_video_features`,
    which give features back as they are (see [`LatentModelMixin`]).

    Args:
        vision (`dict`): Arguments of the inner model, `mm_encoder_outputs` perhaps among them.
    """
    features = vision.get("mm_encoder_outputs") or {}
    pixels = {_PIXELS[kind]: _whole_layers(part) for kind, part in features.items() if part is not None}
    return {**{name: value for name, value in vision.items() if name != "mm_encoder_outputs"}, **pixels}


def share_video_features(model, inputs: dict[str, Any], numbers: list[int]) -> dict[str, Any]:
    """Run the vision tower once for each distinct video of a batch; its features take the place of all pixels.

    Args:
        model: A model with latents.
        inputs (`dict`): Encoded conversations on the model's device.
        numbers (`list[int]`): For each video of the batch which one it is; equal videos have equal numbers.
    """
    if len(set(numbers)) == len(numbers):
        return inputs
    inputs = dict(inputs)
    grids = inputs["video_grid_thw"]
    pixels = inputs.pop("pixel_values_videos").split(grids.prod(-1).tolist())
    firsts = [numbers.index(number) for number in sorted(set(numbers), key=numbers.index)]
    places = [firsts.index(numbers.index(number)) for number in numbers]
    with torch.no_grad():
        shared = model.get_video_features(torch.cat([pixels[i] for i in firsts]), grids[firsts], return_dict=True)
    layers = [tuple(layer[place] for place in places) for layer in split_layers(shared)]
    repeated = {**shared, "pooler_output": tuple(shared.pooler_output[place] for place in places)}
    if layers:
        repeated["deepstack_features"] = layers
    return {**inputs, "mm_encoder_outputs": {"video": type(shared)(**repeated)}}


def _whole_layers(features: ModelOutput) -> ModelOutput:
    layers = getattr(features, "deepstack_features", None)
    if layers is None:
        return features
    whole = [layer if isinstance(layer, torch.Tensor) else torch.cat(tuple(layer)) for layer in layers]
    return type(features)(**{**features, "deepstack_features": whole})

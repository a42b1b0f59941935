"""Depth in metres guessed by a network: any `AutoModelForDepthEstimation` whose output is metric."""

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from PIL import Image

from ...modeling.errors import InputError
from ..clip_error import ClipError
from ..clip_record import DepthMaps
from .depth_maps import map_size, stack_depth

UNIT_ERROR = 0.1  # relative standard error of a guessed metre, over a whole clip
# Architectures whose every checkpoint gives metres; the others say so in their configuration, or do not.
_METRIC_TYPES = ("depth_pro", "glpn", "zoedepth")


def check_depth_model(name: str) -> None:
    """Check, before a build begins, that a model is there and gives metres.

    Args:
        name (`str`): Folder or Hub name.

    Raises:
        InputError: If there is no such model, or its depth has no unit.
    """
    from transformers import AutoConfig, AutoModelForDepthEstimation

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise InputError(f"--depth {name}: no configuration of a model ({str(error).splitlines()[0]})") from error
    if type(config) not in AutoModelForDepthEstimation._model_mapping:
        raise InputError(f"--depth {name}: {config.model_type} is no model of depth; name one such as ZoeDepth")
    kind = getattr(config, "depth_estimation_type", "metric" if config.model_type in _METRIC_TYPES else "relative")
    if kind != "metric":
        raise InputError(
            f"--depth {name} gives depth without a unit: name a metric model, such as Depth Anything V2 Metric,"
            " ZoeDepth or Depth Pro"
        )


def predict_depth(frames: Sequence[Image.Image], name: str) -> DepthMaps:
    """Guess the depth of every frame on its own.

    Args:
        frames (`Sequence[PIL.Image.Image]`): Of one size.
        name (`str`): Folder or Hub name of a model that [`check_depth_model`] accepts.

    Returns:
        [`DepthMaps`]: In metres.

    Raises:
        ClipError: `unclear`, if there is not one positive number in all frames.
    """
    import torch
    import transformers

    processor, model = _load(name)
    width, height = map_size(frames[0].size)
    asked: dict[str, Any] = {"target_sizes": [(height, width)]}
    finish = processor.post_process_depth_estimation
    maps = []
    for frame in frames:  # one at a time: memory does not grow with the clip
        inputs = processor(images=frame.convert("RGB"), return_tensors="pt").to(model.device)
        with torch.inference_mode():
            outputs = model(**inputs)
        if "source_sizes" in inspect.signature(finish).parameters:
            asked["source_sizes"] = [frame.size[::-1]]
        maps.append(finish(outputs, **asked)[0]["predicted_depth"].float().cpu().numpy())
    made_by = {"transformers": transformers.__version__, "depth": name}
    depth = stack_depth(maps, metric=True, scale_error=UNIT_ERROR, made_by=made_by)
    if depth is None:
        raise ClipError("unclear", f"{name} gives no depth for any frame", "name another --depth model")
    return depth


@lru_cache(maxsize=1)  # once a worker
def _load(name: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForDepthEstimation.from_pretrained(name, use_safetensors=True)
    return AutoImageProcessor.from_pretrained(name), model.eval().to(device)

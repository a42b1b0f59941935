"""Depth in metres guessed by a network: any `AutoModelForDepthEstimation` whose output is metric."""

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from PIL import Image

from ...modeling.errors import InputError, first_line
from ..clip_error import ClipError
from ..clip_record import DepthMaps
from ..model_files import ModelFiles, find_folder, list_model_files, read_config
from .depth_maps import map_size, stack_depth

UNIT_ERROR = 0.1  # relative standard error of a guessed metre, over a whole clip
# Architectures whose every checkpoint gives metres; the others say so in their configuration, or do not.
_METRIC_TYPES = ("depth_pro", "glpn", "zoedepth")


def find_depth_model(name: str) -> ModelFiles:
    """Find a model before a build begins, whole and in metres; one on the Hub is downloaded.

    Args:
        name (`str`): Folder or Hub name.

    Raises:
        InputError: If there is no such model, files are missing or cut off, or its depth has no unit.
    """
    from transformers import AutoConfig, AutoImageProcessor

    folder = find_folder(name, "--depth", "--depth", "a build without --depth needs none")
    read_config(folder)
    try:
        config = AutoConfig.from_pretrained(folder)
        _check_unit(name, config)
        AutoImageProcessor.from_pretrained(folder)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"--depth {name}: no whole model ({first_line(error)})") from error
    return list_model_files(folder, name)


def _check_unit(name: str, config: Any) -> None:
    from transformers import AutoModelForDepthEstimation

    if type(config) not in AutoModelForDepthEstimation._model_mapping:
        raise InputError(f"--depth {name}: {config.model_type} is no model of depth; name one such as ZoeDepth")
    kind = getattr(config, "depth_estimation_type", "metric" if config.model_type in _METRIC_TYPES else "relative")
    if kind != "metric":
        raise InputError(
            f"--depth {name} gives depth without a unit: name a metric model, such as Depth Anything V2 Metric,"
            " ZoeDepth or Depth Pro"
        )


def predict_depth(frames: Sequence[Image.Image], files: ModelFiles) -> DepthMaps:
    """Guess the depth of every frame on its own.

    Args:
        frames (`Sequence[PIL.Image.Image]`): Of one size.
        files ([`ModelFiles`]): Of [`find_depth_model`].

    Returns:
        [`DepthMaps`]: In metres.

    Raises:
        ClipError: `unclear`, if there is not one positive number in all frames.
    """
    import torch
    import transformers

    processor, model = load_depth_model(files)
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
    made_by = {"transformers": transformers.__version__, "depth": files.made_by}
    depth = stack_depth(maps, metric=True, scale_error=UNIT_ERROR, made_by=made_by)
    if depth is None:
        raise ClipError("unclear", f"{files.name} gives no depth for any frame", "name another --depth model")
    return depth


@lru_cache(maxsize=1)
def load_depth_model(files: ModelFiles) -> tuple[Any, Any]:
    """Processor and model, loaded once for each process: on the GPU, if there is one."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForDepthEstimation.from_pretrained(files.folder, use_safetensors=True)
    return AutoImageProcessor.from_pretrained(files.folder), model.eval().to(device)

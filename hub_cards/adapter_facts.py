"""Find the base models and count the parameters of an adapter, for its card."""

from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ..modeling.errors import InputError


def adapter_chain(folder: str | PathLike) -> list[str]:
    """The models below an adapter, the base model first and then the adapters that were trained on it.

    Args:
        folder (`str` or `PathLike`): A saved model or adapter.

    Returns:
        `list[str]`: Folders or Hub ids without `folder` itself; nothing where it is no adapter.

    Raises:
        InputError: If adapters name each other as their base.
    """
    from ..modeling.model_files import ModelFiles, find_base

    chain: list[str] = []
    base = find_base(ModelFiles(fspath(folder), {}))
    while base is not None:
        if base.path in chain:
            raise InputError(
                f"{folder} is an adapter of {base.path}, which is an adapter of itself: name the model below"
            )
        chain.insert(0, base.path)
        base = find_base(base)
    return chain


def count_base_parameters(folder: Path) -> int | None:
    """Parameters of the whole model below an adapter, from the configuration beside the adapter.

    Args:
        folder (`Path`): The adapter's folder.

    Returns:
        `int`, or `None` where the configuration is not one of ours.
    """
    import torch
    from transformers import AutoConfig

    from ..modeling.loading import FAMILIES

    try:
        config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError):
        return None
    families: list[Any] = list(FAMILIES.values())
    family = next((family for family in families if isinstance(config, family.config_class)), None)
    if family is None:
        return None
    with torch.device("meta"):  # shapes alone, no memory
        return family(config).num_parameters()

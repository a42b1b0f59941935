"""Facts that a model's folder holds itself: its sizes, what lies below an adapter."""

import json
from os import PathLike
from pathlib import Path
from typing import Any

from ..modeling.errors import InputError
from .adapter_facts import adapter_chain, count_base_parameters


def read_facts(folder: Path) -> dict[str, Any]:
    """Facts of a saved model or adapter.

    Returns:
        `dict`: `parameters`, `adapter_of` (see [`adapter_chain`]), `base_parameters`, `latent_size`, `position_rule`
        and `dtype`, each `None` or empty where it is not known.

    Raises:
        InputError: If the folder holds no model.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds no saved model (config.json): give a folder that a training wrote"
        ) from error
    below = adapter_chain(folder)
    return {
        "parameters": sum(_count_parameters(path) for path in sorted(folder.glob("*.safetensors"))),
        "adapter_of": below,
        "base_parameters": count_base_parameters(folder) if below else None,
        "latent_size": config.get("latent_size"),
        "position_rule": config.get("position_rule"),
        "dtype": config.get("dtype"),
    }


def base_revision(folder: str | PathLike) -> str | None:
    """The commit of the model below an adapter, where its file names one."""
    try:
        return json.loads((Path(folder) / "adapter_config.json").read_text(encoding="utf-8")).get("revision")
    except (OSError, ValueError):
        return None


def _count_parameters(path: Path) -> int:
    """Number of values in a safetensors file, from its header alone."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    total = 0
    for name, entry in header.items():
        if name != "__metadata__":
            size = 1
            for side in entry["shape"]:
                size *= side
            total += size
    return total

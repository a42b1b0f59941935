"""The files of a model of transformers, found before any work and without importing torch."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..modeling.errors import InputError, first_line
from .pipeline.settings import digest

_FILES = ("*.json", "*.txt", "*.safetensors")
_FRAMES_MEMORY = 3 * 2**30
_INDEX, _WEIGHTS = "model.safetensors.index.json", "model.safetensors"


@dataclass(frozen=True)
class ModelFiles:
    """A model on the disk.

    Attributes:
        folder (`str`): Where its files are.
        name (`str`): What the user calls it: a Hub id or the folder's name.
        digest (`str`): Hash of its files' sizes and ends; another model gives another one.
        weight_bytes (`int`): Size of its weights.
    """

    folder: str
    name: str
    digest: str
    weight_bytes: int

    @property
    def memory(self) -> int:
        """Bytes that a worker may hold beside what any other one may: the weights while they are read and widened, and
        the frames of a clip as the model takes them."""
        return 3 * self.weight_bytes + _FRAMES_MEMORY

    @property
    def made_by(self) -> str:
        """The model as records name it: a folder's name alone does not tell which weights it held."""
        return f"{self.name} {self.digest[:12]}"


def find_folder(name: str, name_option: str, needs: str, remedy: str) -> Path:
    """Find the folder of a model: one on the disk, in the Hub's cache, or on the Hub, from where it is downloaded.

    Args:
        name (`str`): A folder, or a name on the Hub.
        name_option (`str`): The option that names it.
        needs (`str`): The option that needs it.
        remedy (`str`): What does without, a clause.

    Raises:
        InputError: If it cannot be had.
    """
    local = Path(name)
    if local.is_dir():
        return local
    if local.exists() or local.is_absolute() or name.startswith(".") or name.count("/") != 1:
        raise InputError(f"{name_option} {name} is no folder with a model: name one, or a model on the Hub")
    return _fetch(name, name_option, f"{needs} needs the weights of {name}", remedy)


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a model.

    Raises:
        InputError: If there is none.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} has no readable config.json: name a folder with a whole model") from error
    if not isinstance(config, dict):
        raise InputError(f"{folder} has no readable config.json: name a folder with a whole model")
    return config


def list_model_files(folder: Path, name: str, about: Any = None) -> ModelFiles:
    """What is in the folder of a model.

    Args:
        folder (`Path`): Of [`find_folder`].
        name (`str`): As the user gave it.
        about (`Any`, *optional*): JSON value that the digest covers as well.

    Raises:
        InputError: If weights are missing or cut off.
    """
    from .sources.video_files import content_hash

    weights = _weight_files(folder)
    files = sorted({*weights, *folder.glob("*.json")})
    return ModelFiles(
        str(folder.resolve()),
        Path(name).resolve().name if Path(name).is_dir() else name,
        digest([about, {path.name: content_hash(path) for path in files}]),
        sum(path.stat().st_size for path in weights),
    )


def _fetch(name: str, name_option: str, needs: str, without: str) -> Path:
    """The snapshot of a model in the Hub's cache, downloaded if it is not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError

    remedy = f"run `hf download {name}` where there is a connection, or name a folder with {name_option}; {without}"
    try:
        folder = Path(snapshot_download(name, allow_patterns=list(_FILES), local_files_only=True))
        _weight_files(folder)
        return folder
    except HFValidationError as error:
        raise InputError(f"{name_option} {name} is no folder here and no name of a model on the Hub") from error
    except (LocalEntryNotFoundError, InputError):
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
            raise InputError(f"{needs}, which are not on this machine (HF_HUB_OFFLINE is set): {remedy}") from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except GatedRepoError as error:
        raise InputError(
            f"{needs}, which are gated: accept the terms of {name} on the Hub and run `hf auth login`; {without}"
        ) from error
    except (OSError, ValueError) as error:  # no connection, no such model; all of the Hub's errors are among them
        raise InputError(f"{needs}, which cannot be downloaded ({first_line(error)}): {remedy}") from error


def _weight_files(folder: Path) -> list[Path]:
    """The files of a checkpoint's weights.

    Raises:
        InputError: If one is missing or cut off.
    """
    from safetensors import SafetensorError, safe_open

    names = [_WEIGHTS]
    if (folder / _INDEX).is_file():
        try:
            names = sorted(set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{folder / _INDEX} lists no weights: download the model again") from error
    for name in names:
        if not (folder / name).is_file():
            raise InputError(f"{folder} lacks {name}, the weights of the model: download it again")
        try:
            with safe_open(folder / name, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise InputError(f"{folder / name} cannot be read ({first_line(error)}): download it again") from error
    return [folder / name for name in names]

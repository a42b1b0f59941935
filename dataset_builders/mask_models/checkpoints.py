"""Find the checkpoint of a mask model before any work, without importing torch."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ...modeling.errors import InputError, first_line
from ..pipeline.settings import digest

_FILES = ("*.json", "*.txt", "*.safetensors")
_FRAMES_MEMORY = 3 * 2**30
_INDEX, _WEIGHTS = "model.safetensors.index.json", "model.safetensors"


class MaskModelKind(NamedTuple):
    """One value of `--objects` that stands for a model.

    Attributes:
        checkpoint (`str`): What is taken by default, a name on the Hub.
        model_types (`tuple[str, ...]`): Of configurations that the model can be loaded from.
        model, processor (`str`): Classes of transformers.
        finds_names (`bool`): Whether it finds objects by name; others follow what optical flow has found.
        package (`str`): What it needs beside transformers.
    """

    checkpoint: str
    model_types: tuple[str, ...]
    model: str
    processor: str
    finds_names: bool = False
    package: str = ""


KINDS: Mapping[str, MaskModelKind] = {
    "sam3": MaskModelKind("facebook/sam3", ("sam3_video",), "Sam3VideoModel", "Sam3VideoProcessor", True),
    "sam2": MaskModelKind("facebook/sam2.1-hiera-tiny", ("sam2_video",), "Sam2VideoModel", "Sam2VideoProcessor"),
    "edgetam": MaskModelKind(
        "yonigozlan/EdgeTAM-hf", ("edgetam_video",), "EdgeTamVideoModel", "Sam2VideoProcessor", package="timm"
    ),
    "sam3_tracker": MaskModelKind(
        "facebook/sam3",
        ("sam3_tracker_video", "sam3_video"),
        "Sam3TrackerVideoModel",
        "Sam3TrackerVideoProcessor",
    ),
}


@dataclass(frozen=True)
class Checkpoint:
    """A mask model on the disk.

    Attributes:
        kind (`str`): One of [`KINDS`].
        folder (`str`): Where its files are.
        name (`str`): What the user calls it: a Hub id or the folder's name.
        digest (`str`): Hash of its files' sizes and ends; another checkpoint gives another one.
        weight_bytes (`int`): Size of its weights.
    """

    kind: str
    folder: str
    name: str
    digest: str
    weight_bytes: int

    @property
    def memory(self) -> int:
        """Bytes that a worker may hold beside what any other one may: the weights while they are read and widened, and
        the frames of a clip as the model takes them."""
        return 3 * self.weight_bytes + _FRAMES_MEMORY


def find_checkpoint(kind: str, name: str | None = None) -> Checkpoint:
    """Find a mask model in a folder, in the Hub's cache, or on the Hub, from where it is downloaded.

    Args:
        kind (`str`): One of [`KINDS`].
        name (`str`, *optional*): A folder, or a name on the Hub; by default the kind's own checkpoint.

    Raises:
        InputError: If it cannot be had, files are missing or cut off, or it is another kind of model.
    """
    from ..sources.video_files import content_hash

    known = KINDS[kind]
    if known.package and find_spec(known.package) is None:
        raise InputError(
            f"--objects {kind} needs {known.package}, which is not installed: pip install {known.package}"
        )
    name = name or known.checkpoint
    local = Path(name)
    if not local.is_dir() and (local.exists() or local.is_absolute() or name.startswith(".") or name.count("/") != 1):
        raise InputError(f"--objects-model {name} is no folder with a model: name one, or a model on the Hub")
    folder = local if local.is_dir() else _fetch(kind, name)
    try:
        model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{folder} has no readable config.json: name a folder with a whole model") from error
    if model_type not in known.model_types:
        raise InputError(
            f"{name} is a {model_type} model, --objects {kind} needs {' or '.join(known.model_types)}: name another "
            "one with --objects-model"
        )
    weights = _weight_files(folder)
    files = sorted({*weights, *folder.glob("*.json")})
    return Checkpoint(
        kind,
        str(folder.resolve()),
        local.resolve().name if local.is_dir() else name,
        digest([kind, {path.name: content_hash(path) for path in files}]),
        sum(path.stat().st_size for path in weights),
    )


def _fetch(kind: str, name: str) -> Path:
    """The snapshot of a model in the Hub's cache, downloaded if it is not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError

    needs = f"--objects {kind} needs the weights of {name}"
    remedy = (
        f"run `hf download {name}` where there is a connection, or name a folder with --objects-model; "
        "--objects flow needs no weights"
    )
    try:
        folder = Path(snapshot_download(name, allow_patterns=list(_FILES), local_files_only=True))
        _weight_files(folder)
        return folder
    except HFValidationError as error:
        raise InputError(f"--objects-model {name} is no folder here and no name of a model on the Hub") from error
    except (LocalEntryNotFoundError, InputError):
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
            raise InputError(f"{needs}, which are not on this machine (HF_HUB_OFFLINE is set): {remedy}") from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except GatedRepoError as error:
        raise InputError(
            f"{needs}, which are gated: accept the terms of {name} on the Hub and run `hf auth login`; --objects flow "
            "needs no weights"
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

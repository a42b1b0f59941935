"""Find the checkpoint of a mask model before any work, without importing torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import NamedTuple

from ...modeling.errors import InputError
from ..model_files import ModelFiles, find_folder, list_model_files, read_config


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
class Checkpoint(ModelFiles):
    """A mask model on the disk.

    Attributes:
        kind (`str`): One of [`KINDS`].
    """

    kind: str


def find_checkpoint(kind: str, name: str | None = None) -> Checkpoint:
    """Find a mask model in a folder, in the Hub's cache, or on the Hub, from where it is downloaded.

    Args:
        kind (`str`): One of [`KINDS`].
        name (`str`, *optional*): A folder, or a name on the Hub; by default the kind's own checkpoint.

    Raises:
        InputError: If it cannot be had, files are missing or cut off, or it is another kind of model.
    """
    known = KINDS[kind]
    if known.package and find_spec(known.package) is None:
        raise InputError(
            f"--objects {kind} needs {known.package}, which is not installed: pip install {known.package}"
        )
    name = name or known.checkpoint
    folder = find_folder(name, "--objects-model", f"--objects {kind}", "--objects flow needs no weights")
    model_type = read_config(folder).get("model_type")
    if model_type not in known.model_types:
        raise InputError(
            f"{name} is a {model_type} model, --objects {kind} needs {' or '.join(known.model_types)}: name another "
            "one with --objects-model"
        )
    return Checkpoint(**asdict(list_model_files(folder, name, kind)), kind=kind)

"""Load dataset rows, again when the files of a folder change, and without decoding images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .hub_names import may_be_dataset_name

if TYPE_CHECKING:
    from datasets import Dataset

Rows = TypeVar("Rows", bound="Dataset | Sequence[Mapping]")


def load_split(source: str | Path, configuration: str, split: str) -> "Dataset":
    """`load_dataset(source, configuration, split=split)` that never answers a folder with rows it had before.

    `datasets` keeps the rows of a folder under the folder's name and its card, so that one that was built again, or
    another one of the same name, would get the rows of the first. Named files are kept under their paths and times.

    Args:
        source (`str` or `Path`): Folder or Hub id.
        configuration (`str`): A name that its card gives.
        split (`str`): Such as `"train"`.

    Raises:
        FileNotFoundError: If there is no such folder, and the name is not one of the Hub.
        ValueError: If there is no such configuration or split; and what else `load_dataset` raises.
    """
    from datasets import load_dataset, load_dataset_builder

    if not Path(source).is_dir():
        if not may_be_dataset_name(str(source)):
            raise FileNotFoundError(f"there is no folder {source}, and a dataset of the Hub is named user/name")
        return load_dataset(str(source), configuration, split=split)
    builder = load_dataset_builder(str(source), configuration)
    files = builder.config.data_files or {}
    if split not in files:
        raise ValueError(f"unknown split {split!r}: it has {', '.join(map(repr, files)) or 'none'}")
    return load_dataset(builder.name, data_files={split: list(files[split])}, split=split)


def keep_videos_encoded(rows: Rows) -> Rows:
    """Rows as stored: reading one decodes no video. Rows that are no `datasets.Dataset` stay as they are.

    The frames of a row that names a video are then absent.
    """
    return rows.with_format(None) if hasattr(rows, "with_format") else rows

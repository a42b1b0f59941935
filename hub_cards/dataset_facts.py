"""Facts about a dataset folder, read from its Parquet files: columns, sizes, tasks, letters, licences."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..modeling.errors import InputError

_COLUMNS = ("task", "answer", "facts")


@dataclass
class SplitFacts:
    """What is known of one split of a configuration.

    Attributes:
        rows (`int`): How many.
        bytes (`int`): Of the rows, uncompressed.
        tasks (`Counter`): Rows of each task.
        letters (`Counter`): Rows of each right letter.
        licences (`Counter`): Rows of each licence of their video; those without one are not counted.
    """

    rows: int = 0
    bytes: int = 0
    tasks: Counter = field(default_factory=Counter)
    letters: Counter = field(default_factory=Counter)
    licences: Counter = field(default_factory=Counter)


@dataclass
class ConfigurationFacts:
    """What is known of one configuration.

    Attributes:
        features (`datasets.Features`): Its columns.
        splits (`dict[str, SplitFacts]`): By name.
        download_size (`int`): Bytes of its files.
    """

    features: Any
    splits: dict[str, SplitFacts]
    download_size: int


def read_dataset_facts(
    folder: Path, files: Mapping[str, Mapping[str, Sequence[str]]]
) -> dict[str, ConfigurationFacts]:
    """Read what a card says of a dataset folder. No picture is decoded.

    Args:
        folder (`Path`): The folder.
        files (`Mapping`): For each configuration, for each split, its Parquet files relative to the folder.

    Raises:
        InputError: If a file is missing or damaged.
    """
    from datasets import Features
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    found = {}
    for name, of_splits in files.items():
        features, size = None, 0
        splits = dict[str, SplitFacts]()
        for split, paths in of_splits.items():
            facts = splits.setdefault(split, SplitFacts())
            for path in paths:
                try:
                    with ParquetFile(folder / path) as file:
                        features = features or Features.from_arrow_schema(file.schema_arrow)
                        size += (folder / path).stat().st_size
                        _count(file, facts)
                except (OSError, ArrowException) as error:
                    raise InputError(f"{folder / path} cannot be read ({error}): build the data set again") from error
        found[name] = ConfigurationFacts(features, splits, size)
    return found


def _count(file, facts: SplitFacts) -> None:
    metadata = file.metadata
    facts.rows += metadata.num_rows
    facts.bytes += sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    present = [name for name in _COLUMNS if name in file.schema_arrow.names]
    for batch in file.iter_batches(columns=present):
        columns = batch.to_pydict()
        facts.tasks.update(columns.get("task", ()))
        facts.letters.update(letter for letter in columns.get("answer", ()) if letter)
        facts.licences.update(filter(None, map(read_licence, columns.get("facts", ()))))


def read_licence(facts: str | None) -> str | None:
    """The licence of its video that a row names.

    Args:
        facts (`str`, *optional*): The row's column of that name, JSON.
    """
    try:
        read = json.loads(facts or "{}")
    except (ValueError, TypeError, RecursionError):  # what published rows hold may be anything
        return None
    found = read.get("licence") if isinstance(read, dict) else None
    return found if isinstance(found, str) else None


def dataset_info(facts: Mapping[str, ConfigurationFacts]) -> list[dict[str, Any]]:
    """The field `dataset_info` of a card's header, as `push_to_hub` of `datasets` writes it."""
    from datasets import DatasetInfo, SplitDict

    entries = []
    for name, one in facts.items():
        splits = [{"name": split, "num_bytes": of.bytes, "num_examples": of.rows} for split, of in one.splits.items()]
        size = sum(of.bytes for of in one.splits.values())
        info = DatasetInfo(
            features=one.features,
            splits=SplitDict.from_split_dict(splits),
            download_size=one.download_size,
            dataset_size=size,
            config_name=name,
        )
        entries.append({"config_name": name, **info._to_yaml_dict()})
    return entries

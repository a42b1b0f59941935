"""Compare a card's licence with those of what a folder was made from."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...dataset_builders.layouts.licences import LAYOUT_LICENCES, NAMED_SETS
from ..dataset_facts import read_licence
from ..licences import BASE_LICENCES, OTHER, describe_terms, find_conflicts
from ..lineage import LINEAGE
from .card_header import licences_of, read_header
from .findings import Finding
from .folder import LocalFolder
from .preparation import CARD

NAME = "licence"  # of a finding, for `--allow`
# Licences of published sources by a part of their names, in lower case.
_SOURCES = {**LAYOUT_LICENCES, **NAMED_SETS}


def find_licence_faults(folder: LocalFolder, kind: str) -> list[Finding]:
    """Where the licence of a card does not keep what the licences of its sources ask for.

    This is a check against mistakes and no legal advice: it knows the licences of `hub_cards/licences.py`.
    """
    header = read_header(folder.text(CARD))
    if isinstance(header, str) or kind == "space":
        return []
    own, sources = _own_licences(header), source_licences(folder, header)
    if not own or any(not find_conflicts(one, _others(sources, own)) for one in own):
        return []
    return [
        Finding(NAME, f"{', '.join(own)} does not keep to its sources", line)
        for line in find_conflicts(own[0], _others(sources, own))
    ]


def _own_licences(header: Mapping[str, Any]) -> list[str]:
    return [str(header.get("license_name") or one) if one == OTHER else one for one in licences_of(header)]


def _others(sources: Mapping[str, str], own: list[str]) -> dict[str, str]:
    """Sources whose own licence the card does not name beside others: of several, all hold."""
    return {source: licence for source, licence in sources.items() if licence not in own}


def describe_licences(folder: LocalFolder) -> str:
    """The licence line: what the card says, and what the sources ask for."""
    header = read_header(folder.text(CARD))
    if isinstance(header, str):
        return "licence: unknown"
    line = f"licence: {', '.join(_own_licences(header)) or 'none'}"
    sources = source_licences(folder, header)
    if sources:
        line += f"; of its sources: {', '.join(dict.fromkeys(sources.values()))}"
    return " ".join([line, *(f"({sentence})" for sentence in describe_terms(sources.values()))])


def source_licences(folder: LocalFolder, header: Mapping[str, Any]) -> dict[str, str]:
    """The licences of what a folder was made from, by source.

    They stand in the record of a model's training stages and in the rows of a dataset. Sources that a header names
    are known by their names.
    """
    found = dict(_licences_in_lineage(folder))
    values = [header.get(name) for name in ("source_datasets", "datasets", "base_model")]
    for name in (str(one) for value in values for one in (value if isinstance(value, list) else [value]) if one):
        if base := BASE_LICENCES.get(name):
            found.setdefault(name, base.key)
        for part, licence in _SOURCES.items():
            if part in name.lower():
                found.setdefault(name, licence)
    for name in (name for name in folder.files if name.endswith(".parquet")):
        for licence in sorted(_licences_of_rows(folder, name)):
            found[f"a source of rows in {name}"] = licence
    return found


def _licences_in_lineage(folder: LocalFolder) -> list[tuple[str, str]]:
    try:
        stages = folder.read_json(LINEAGE)["stages"]
        materials = [one for stage in stages for one in [stage.get("model"), *stage.get("data", [])] if one]
        return [(one["name"], licence) for one in materials for licence in one.get("licences", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _licences_of_rows(folder: LocalFolder, name: str) -> set[str]:
    """Licences that the rows of a Parquet file name in their facts."""
    source = folder.files[name].source
    assert isinstance(source, Path)
    return _read_licences(source, source.stat().st_mtime_ns)


@lru_cache
def _read_licences(source: Path, modified: int) -> set[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(source)
        if "facts" not in file.schema_arrow.names:
            return set()
        facts = {text for batch in file.iter_batches(columns=["facts"]) for text in batch.column(0).to_pylist()}
    except (OSError, pyarrow.ArrowException):  # whoever reads the rows says so
        return set()
    return {licence for text in facts if (licence := read_licence(text)) is not None}

"""Find rows that name an image or video outside of their folder: a reader would open a file of his own machine."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from .findings import Finding
from .folder import LocalFile, LocalFolder, parse_json

# Fields of rows that hold names of files, or records with the field `path`.
_FIELDS = ("image", "images", "video", "videos", "imagery", "frames", "file_name")
_PATH = "path"
_REMEDY = "put the file into the folder, and name it from there"


def find_media_faults(folder: LocalFolder) -> Iterator[Finding]:
    """The first row of each file of a dataset that names a file outside of the folder.

    Args:
        folder ([`LocalFolder`]): A dataset.
    """
    readers = {".jsonl": _names_in_lines, ".parquet": _names_in_columns}
    for name, file in folder.files.items():
        reader = readers.get(PurePosixPath(name).suffix)
        for place, path in reader(file) if reader else ():
            if _leads_out(path):
                yield Finding(name, f"names in {place} a file outside of the folder ({path[:80]!r})", _REMEDY)
                break


def _leads_out(path: str) -> bool:
    parts = (PurePosixPath(path), PureWindowsPath(path))
    return any(one.is_absolute() or bool(one.drive) or ".." in one.parts for one in parts) or path.startswith("file:")


def _names_in_lines(file: LocalFile) -> Iterator[tuple[str, str]]:
    assert isinstance(file.source, Path)
    with file.source.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = parse_json(line)
            except ValueError:  # whoever reads the rows says so
                continue
            for field in _FIELDS if isinstance(row, dict) else ():
                yield from ((f"line {number}", path) for path in _names(row.get(field)))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, str) and not value.startswith("data:"):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _names(one)
    elif isinstance(value, dict):
        yield from _names(value.get(_PATH))


def _names_in_columns(file: LocalFile) -> Iterator[tuple[str, str]]:
    """Names in a Parquet file, without reading the pictures beside them."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file.source)
        schema = table.schema
        paths = [schema.column(number).path for number in range(len(schema.names))]
        columns = [one for one in paths if one.split(".")[0] in _FIELDS and not one.endswith(".bytes")]
        row = 0
        for batch in table.iter_batches(columns=columns) if columns else ():
            for fields in batch.to_pylist():
                row += 1
                yield from ((f"row {row}", path) for value in fields.values() for path in _names(value))
    except (OSError, pyarrow.ArrowException):  # whoever reads the rows says so
        return

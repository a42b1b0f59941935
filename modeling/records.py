"""Read records from a JSONL, JSON, CSV, TSV or Parquet file: one dictionary each, with its line or index."""

import ast
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import InputError
from .text_files import json_object, read_text, text_lines

# A record, or what is wrong with it.
Record = dict[str, Any] | InputError


def read_records(path: Path) -> Iterator[tuple[str, Record]]:
    """Read a file's records in order.

    Args:
        path (`Path`): A `.jsonl` file with one object a line; a `.json` file with a list of objects, or one a line;
            a `.csv` (comma or semicolon) or `.tsv` file whose first line names the columns; a `.parquet` file.

    Yields:
        `tuple[str, dict | InputError]`: The record's place, such as `rows.jsonl, line 3`, and its fields; or, for a
        record that cannot be read while the ones after it can, the error.

    Raises:
        InputError: If the file is missing, is of another kind, or cannot be read at all.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path} is of no known kind: give one of {', '.join(_READERS)}")
    try:
        yield from reader(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def parse_structure(value: Any) -> Any:
    """The list or dictionary that a text holds, as JSON or as Python writes it; any other value as it is.

    CSV cells hold texts alone: pandas writes a list as `['left', 'right']`, other tools as JSON.
    """
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return value


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: null, NaN, a blank text, an empty list."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or value != value or (hasattr(value, "__len__") and len(value) == 0)


def as_list(value: Any) -> list[Any]:
    """The entries of a list, also of one in a CSV cell; a lone value is a list of one."""
    value = parse_structure(value)
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _json_lines(path: Path) -> Iterator[tuple[str, Record]]:
    for number, line in text_lines(path):
        where = f"{path}, line {number}"
        try:
            yield where, json_object(line, where)
        except InputError as error:
            yield where, error


def _json(path: Path) -> Iterator[tuple[str, Record]]:
    text = read_text(path)
    if not text.lstrip().startswith("["):
        yield from _json_lines(path)
        return
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}): write a list of objects") from error
    for number, record in enumerate(records, start=1):
        where = f"{path}, row {number}"
        yield where, record if isinstance(record, dict) else InputError(f"{where}: this is no JSON object: write one")


def _separated(path: Path) -> Iterator[tuple[str, Record]]:
    text = read_text(path)
    header = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in header and "," not in header else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip() for name in next(rows, [])]
        for cells in rows:
            where = f"{path}, line {rows.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) == len(columns):
                yield where, dict(zip(columns, cells, strict=True))
            else:
                wrong = f"{len(cells)} cells for {len(columns)} columns: put a text with commas in quotes"
                yield where, InputError(f"{where}: there are {wrong}")
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: this is no CSV ({error}): export it again") from error


def _parquet(path: Path) -> Iterator[tuple[str, Record]]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for record in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", record
    except pyarrow.ArrowException as error:
        raise InputError(f"{path} is no Parquet file that can be read ({error}): write it again") from error


_READERS = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _separated,
    ".tsv": _separated,
    ".parquet": _parquet,
}
RECORD_SUFFIXES = tuple(_READERS)
RECORD_KINDS = f"{', '.join(RECORD_SUFFIXES[:-1])} or {RECORD_SUFFIXES[-1]}"  # in words, for help and messages


def is_row_file(name: str) -> bool:
    """Whether a data set's name is that of a file of rows, by its suffix."""
    return Path(name).suffix.lower() in RECORD_SUFFIXES

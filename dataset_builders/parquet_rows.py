"""Reading the Parquet files of rows with pictures, in little memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def stream_parquet(paths: Sequence[Path], columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of Parquet files, of which one row group is in memory. Images are dictionaries with the `bytes` of a file.

    `load_dataset(..., streaming=True)` lets Arrow read ahead of whoever takes the rows, up to a whole file of 500 MB.

    Args:
        paths (`Sequence[Path]`): The files, in the order of their rows.
        columns (`Sequence[str]`, *optional*): What to read; by default all. What a file lacks is left out.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If it is no Parquet file.
    """
    from pyarrow.parquet import ParquetFile

    for path in paths:
        # Without the buffer, which would keep what was read of the file until its end.
        with ParquetFile(path, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=columns, use_threads=False)
                for place in range(table.num_rows):
                    yield table.slice(place, 1).to_pylist()[0]

"""Reading the Parquet files of rows with pictures, in little memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def stream_parquet(
    paths: Sequence[Path], columns: Sequence[str] | None = None, decode_images: bool = False
) -> Iterator[dict[str, Any]]:
    """Rows of Parquet files that `datasets` has written, of which one row group is in memory.

    `load_dataset(..., streaming=True)` lets Arrow read ahead of whoever takes the rows, up to a whole file of 500 MB.

    Args:
        paths (`Sequence[Path]`): The files, in the order of their rows.
        columns (`Sequence[str]`, *optional*): What to read; by default all. What a file lacks is left out.
        decode_images (`bool`, *optional*, defaults to `False`): Give images as PIL images, not as dictionaries
            with the `bytes` of the image's file.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If it is no Parquet file.
    """
    from datasets import Features
    from pyarrow.parquet import ParquetFile

    for path in paths:
        # Without the buffer, which would keep what was read of the file until its end.
        with ParquetFile(path, pre_buffer=False) as file:
            features = Features.from_arrow_schema(file.schema_arrow)
            if not decode_images:
                features = Features({name: _keep_encoded(feature) for name, feature in features.items()})
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=columns, use_threads=False)
                for place in range(table.num_rows):
                    yield features.decode_example(table.slice(place, 1).to_pylist()[0])


def _keep_encoded(feature: Any) -> Any:
    from datasets import Image, List

    if isinstance(feature, List):
        return List(_keep_encoded(feature.feature), length=feature.length)
    return Image(decode=False) if isinstance(feature, Image) else feature

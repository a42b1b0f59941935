"""How Arrow reads the Parquet files of rows with pictures."""

from pyarrow.dataset import ParquetFragmentScanOptions


def scan_without_buffers() -> ParquetFragmentScanOptions:
    """Options for `load_dataset(..., streaming=True, fragment_scan_options=...)`.

    By default Arrow keeps all that it has read of a file in memory until the file ends, so that the memory for rows
    with pictures grows with their number.
    """
    return ParquetFragmentScanOptions(pre_buffer=False)

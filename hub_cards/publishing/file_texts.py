"""The text in a file, whatever it is stored as: UTF-8, UTF-16, compressed, or columns of Parquet."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from .folder import PIECE, LocalFile

_START = 8192  # bytes by which a file's kind is known
_STREAMS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_PARQUET = b"PAR1"
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text_pieces(file: LocalFile, overlap: int) -> Iterator[bytes]:
    """The text of a file as UTF-8, in pieces each of which begins with the end of the last one; nothing of media.

    Compressed streams are unpacked, archives of several files are not. Of Parquet files, the columns of text and the
    notes on their schema are read. What is damaged ends early: whoever reads the rows says so.

    Args:
        file ([`LocalFile`]): Any file.
        overlap (`int`): Bytes.
    """
    start = file.start(_START)
    unpack = next((open_it for mark, open_it in _STREAMS.items() if start.startswith(mark)), None)
    if start.startswith(_PARQUET):
        yield from _parquet_texts(file)
    elif unpack is not None:
        yield from _overlap(_unpack(file, unpack), overlap)
    elif encoding := _find_wide_encoding(start):
        yield from _overlap(_decode(file.pieces(), encoding), overlap)
    elif b"\0" not in start:
        yield from _overlap(file.pieces(), overlap)


def _overlap(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    before = b""
    for piece in pieces:
        yield before + piece
        before = (before + piece)[-size:]


def _open(file: LocalFile) -> IO[bytes]:
    return io.BytesIO(file.source) if isinstance(file.source, bytes) else file.source.open("rb")


def _unpack(file: LocalFile, open_stream: Callable[..., Any]) -> Iterator[bytes]:
    try:
        with _open(file) as packed, open_stream(packed) as stream:
            while piece := stream.read(PIECE):
                yield piece
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return


def _find_wide_encoding(start: bytes) -> str | None:
    """The encoding of text with two or four bytes a letter, by its mark or by where its zeros are."""
    marked = next((name for mark, name in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
    if marked or len(start) < 2:
        return marked
    even, odd = (start[place::2].count(0) / len(start[place::2]) for place in (0, 1))
    if odd > 0.7 and even < 0.3:
        return "utf-16-le"
    return "utf-16-be" if even > 0.7 and odd < 0.3 else None


def _decode(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in pieces:
        yield decoder.decode(piece).encode("utf-8", "replace")


def _parquet_texts(file: LocalFile) -> Iterator[bytes]:
    import pyarrow
    import pyarrow.parquet

    try:
        with _open(file) as opened:
            table = pyarrow.parquet.ParquetFile(opened)
            yield b"\n".join((table.metadata.metadata or {}).values())
            leaves = [table.schema.column(number) for number in range(len(table.schema.names))]
            columns = [leaf.path for leaf in leaves if leaf.logical_type.type in ("STRING", "JSON", "ENUM")]
            for batch in table.iter_batches(batch_size=1024, columns=columns) if columns else ():
                yield "\n".join(_find_texts(batch.to_pylist())).encode("utf-8", "replace")
    except (OSError, ValueError, pyarrow.ArrowException):
        return


def _find_texts(value: Any) -> Iterator[str]:
    """All texts in nested lists and records."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _find_texts(one)
    elif isinstance(value, dict):
        yield from _find_texts(list(value.values()))

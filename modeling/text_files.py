"""Read text files of a user: UTF-8, with or without a byte-order mark. Pure Python."""

import json
from collections.abc import Iterator
from os import PathLike
from typing import Any

from .errors import InputError


def text_lines(path: str | PathLike) -> Iterator[tuple[int, str]]:
    r"""Number, from 1, and text of each line that is not blank.

    A line ends at `\n` alone, since a text in it may hold the other line ends of Unicode.

    Raises:
        InputError: If the file cannot be read, or a line is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                # For every line, because files that were joined have marks in the middle.
                text = _decode_line(line, path, number)
                if text.strip():
                    yield number, text
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def read_text(path: str | PathLike) -> str:
    """The text of a file, without its byte-order mark.

    Raises:
        OSError: If the file cannot be read.
        InputError: If it is not UTF-8.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(_not_utf8(path, line)) from error


def json_object(line: str, where: str) -> dict[str, Any]:
    """The JSON object that a line holds.

    Args:
        line (`str`): The line.
        where (`str`): File and line, for the error.

    Raises:
        InputError: If it holds no JSON object, or half of a character.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: this is no JSON ({error}): write one object a line") from error
    if not isinstance(fields, dict):
        raise InputError(f"{where}: this is no JSON object: write one a line")
    if "\\ud" in line.lower():  # an escape may name one half of a pair, which no file can hold
        try:
            json.dumps(fields, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{where}: a \\u escape names half of a character: write it in UTF-8") from error
    return fields


def _decode_line(line: bytes, path: str | PathLike, number: int) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(_not_utf8(path, number)) from error


def _not_utf8(path: str | PathLike, line: int) -> str:
    return f"{path}, line {line}: this is not UTF-8: save the file as UTF-8"

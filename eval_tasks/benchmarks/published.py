"""Read what benchmarks publish: tables, columns of several names, options and answers in the forms in use.

Nothing read here is ever executed: lists that were stored as text are read by `ast.literal_eval`.
"""

import ast
import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...modeling.errors import InputError
from ...modeling.row_rules import comparable_text
from ...modeling.text_files import read_text
from ...modeling.tokens import OPTION_LETTERS

_OWN_LETTER = re.compile(r"\s*[(\[]?([A-Ja-j])[)\].:、]\s*")
_NEXT_OPTION = re.compile(r"[;\n]\s*(?=[(\[]?[A-Ja-j][)\].:]\s)|[;\n]\s*(?=[(\[]?[A-Ja-j][)\].:])")


def find_file(folder: Path, names: Iterable[str]) -> Path:
    """The first of several files that a folder holds.

    Raises:
        InputError: If it holds none.
    """
    names = list(names)
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"{folder} holds no {' or '.join(names)}")
    return found


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet, CSV, TSV, JSON or JSONL file, in its order.

    Raises:
        InputError: If the file cannot be read as what its name says, or holds no rows.
    """
    try:
        rows = _READERS[path.suffix.lower()](path)
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InputError(f"cannot read {path} ({error})") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path} holds no rows")
    return rows


def _parquet_rows(path: Path) -> list[dict]:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pylist()


def _delimited_rows(path: Path) -> list[dict]:
    csv.field_size_limit(10**9)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    return list(csv.DictReader(read_text(path).splitlines(keepends=True), delimiter=delimiter))


def _json_rows(path: Path) -> list[dict]:
    content = json.loads(read_text(path))
    if isinstance(content, dict):  # the list may stand under a name of its own
        content = next((value for value in content.values() if isinstance(value, list)), [])
    return content


def _json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in read_text(path).split("\n") if line.strip()]


_READERS = {
    ".parquet": _parquet_rows,
    ".csv": _delimited_rows,
    ".tsv": _delimited_rows,
    ".json": _json_rows,
    ".jsonl": _json_lines,
}


def pick(row: Mapping[str, Any], *names: str, default: Any = ...) -> Any:
    """The value of the first of several columns that a row has and that is not null.

    Raises:
        InputError: If it has none, and there is no `default`.
    """
    for name in names:
        if row.get(name) is not None:
            return row[name]
    if default is ...:
        raise InputError(f"no column {' or '.join(names)}")
    return default


def option_texts(value: Any) -> list[str]:
    """Options as texts without letters.

    Args:
        value: A list of texts or numbers, with or without letters; a mapping from letter to text; either of them
            written as a text; or all in one text, as in `A: left;B: right;`.

    Raises:
        InputError: If it is none of these.
    """
    if isinstance(value, str):
        value = _parse_options(value)
    if isinstance(value, Mapping):
        value = [value[letter] for letter in sorted(value) if value[letter] is not None]
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise InputError(f"options is {value!r:.80}, no list of texts")
    return _without_letters([as_text(option) for option in value])


def as_text(value: Any) -> str:
    """An option or an answer as text: published data hold numbers too."""
    return value.strip() if isinstance(value, str) else str(value)


def _parse_options(text: str) -> Any:
    try:
        parsed = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        parsed = None
    if isinstance(parsed, (list, tuple, dict)):
        return parsed
    parts = [part for part in _NEXT_OPTION.split(text) if part.strip(" ;\n")]
    if len(parts) < 2 or not all(map(_OWN_LETTER.match, parts)):
        raise InputError(f"options is {text!r:.80}, no list of texts")
    return [part.strip().rstrip(";").rstrip() for part in parts]


def _without_letters(options: Sequence[str]) -> list[str]:
    """Take the letters A, B, … off options that all have their own."""
    found = [_OWN_LETTER.match(option) for option in options]
    letters = "".join(match[1].upper() if match else "?" for match in found)
    if not options or letters != OPTION_LETTERS[: len(options)]:
        return list(options)
    return [option[match.end() :].strip() for option, match in zip(options, found, strict=True) if match]


def answer_letter(value: Any, options: Sequence[str]) -> str:
    """The letter of the right option, from a letter (`B`, `(b)`, `B. left`) or from its text.

    Raises:
        InputError: If it is neither.
    """
    text = as_text(value)
    if letter := re.fullmatch(r"[(\[]?([A-Ja-j])[)\].:]?", text):
        return letter[1].upper()
    texts = [comparable_text(option) for option in options]
    if comparable_text(text) in texts:
        return OPTION_LETTERS[texts.index(comparable_text(text))]
    if lettered := _OWN_LETTER.match(text):
        return lettered[1].upper()
    raise InputError(f"answer {text!r:.80} is neither a letter nor one of the options")


def video_file(folder: Path, name: Any, places: Iterable[str] = ("videos", "")) -> str:
    """The path of a video below a data folder, for a name with or without folders and suffix.

    Args:
        folder (`Path`): The data folder.
        name: As published. Of a URL only what follows the dataset's revision is a path.
        places (`Iterable[str]`): Folders below it where it may be.

    Returns:
        `str`: Where it is, or where it should be if it is nowhere.
    """
    relative = str(name)
    if "://" in relative:
        relative = re.sub(r"^.*?/(?:resolve|blob|raw)/[^/]+/", "", relative)
    relative = relative.lstrip("/")
    if ".." in Path(relative).parts:
        raise InputError(f"video {relative!r:.80} leaves the data folder")
    suffixes = ("",) if Path(relative).suffix.lower() in _VIDEO_SUFFIXES else (".mp4", ".webm", ".mkv", ".mov", ".avi")
    candidates = [folder / place / f"{relative}{suffix}" for place in places for suffix in suffixes]
    return str(next((path for path in candidates if path.is_file()), candidates[0]).absolute())


_VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in "3gp avi flv gif m4v mkv mov mp4 mpeg mpg ts webm".split())

"""Read what benchmarks publish: tables, columns of several names, options and answers in the forms in use.

Nothing read here is ever executed: lists that were stored as text are read by `ast.literal_eval`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ...modeling.errors import InputError
from ...modeling.listed_options import drop_letters, split_option_string
from ...modeling.records import is_empty, parse_structure, read_records
from ...modeling.row_rules import comparable_text
from ...modeling.tokens import OPTION_LETTERS

_LETTER = re.compile(r"[(\[]?([A-Ja-j])[)\].:]?")
_LETTER_AND_TEXT = re.compile(r"[(\[]?([A-Ja-j])[)\].:、]\s*")
_HUB_FILE = re.compile(r"/(?:resolve|blob|raw)/[^/]+/(.+)")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in "3gp avi flv gif m4v mkv mov mp4 mpeg mpg ts webm".split())


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
    rows = []
    for _, record in read_records(path):
        if isinstance(record, InputError):
            raise record
        rows.append(record)
    if not rows:
        raise InputError(f"{path} holds no rows")
    return rows


def pick(row: Mapping[str, Any], *names: str, default: Any = ...) -> Any:
    """The value of the first of several columns that a row has and that is filled.

    Raises:
        InputError: If it has none, and there is no `default`.
    """
    for name in names:
        if not is_empty(row.get(name)):
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
    found = parse_structure(value)
    if isinstance(found, str):
        found = split_option_string(found)
    elif isinstance(found, Mapping):
        found = _in_order(found)
    if isinstance(found, bytes) or not hasattr(found, "__iter__") or not (options := list(found)):
        raise InputError(f"options is {value!r:.80}, no list of texts")
    return [option.strip() for option in drop_letters([as_text(option) for option in options])]


def as_text(value: Any) -> str:
    """An option or an answer as text: published data hold numbers too, whole ones as 2 or, from a table, as 2.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def answer_letter(value: Any, options: Sequence[str]) -> str:
    """The letter of the right option, from a letter (`B`, `(b)`, `B. left`) or from its text.

    A text that several options have gives the first of them.

    Raises:
        InputError: If it is neither.
    """
    text = as_text(value)
    if letter := _LETTER.fullmatch(text):
        return letter[1].upper()
    texts = [comparable_text(option) for option in options]
    if comparable_text(text) in texts:
        return OPTION_LETTERS[texts.index(comparable_text(text))]
    if lettered := _LETTER_AND_TEXT.match(text):
        return lettered[1].upper()
    raise InputError(f"answer {text!r:.80} is neither a letter nor one of the options")


def list_options(form: str, options: Sequence[str], separator: str = "\n") -> str:
    """Options with their letters in the form of a benchmark, such as `"({}) {}"`."""
    return separator.join(map(form.format, OPTION_LETTERS, options))


def video_file(folder: Path, name: Any, places: Iterable[str] = ("videos", "")) -> str:
    """The path of a video below a data folder, for a name with or without folders and suffix.

    Args:
        folder (`Path`): The data folder.
        name: As published. Of a URL only what follows the dataset's revision is a path.
        places (`Iterable[str]`): Folders below it where it may be.

    Returns:
        `str`: Where it is, or where it should be if it is nowhere.
    """
    relative = hub_path(str(name)).lstrip("/")
    if ".." in Path(relative).parts:
        raise InputError(f"video {relative!r:.80} leaves the data folder")
    suffixes = ("",) if Path(relative).suffix.lower() in _VIDEO_SUFFIXES else (".mp4", ".webm", ".mkv", ".mov", ".avi")
    candidates = [folder / place / f"{relative}{suffix}" for place in places for suffix in suffixes]
    return str(next((path for path in candidates if path.is_file()), candidates[0]).absolute())


def hub_path(url: str) -> str:
    """The path that a URL of the Hub has in its repository; any other name as it is."""
    if "://" not in url:
        return url
    path = unquote(urlsplit(url).path)
    match = _HUB_FILE.search(path)
    return match[1] if match else path


def type_name(title: str) -> str:
    """The name of a type of question in one word: `Displacement & Path Length` is `displacement_path_length`."""
    return _NOT_IN_NAMES.sub("_", title.casefold()).strip("_")


def _in_order(options: Mapping[str, Any]) -> list[Any]:
    """The texts by letter."""
    # A table gives every row the letters of the row with most options, null where it has fewer.
    filled = {str(letter).strip().upper(): text for letter, text in options.items() if text is not None}
    if "".join(sorted(filled)) != OPTION_LETTERS[: len(filled)]:
        raise InputError(f"the options have the letters {', '.join(sorted(filled))}: letter them from A")
    return [filled[letter] for letter in sorted(filled)]

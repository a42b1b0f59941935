"""Which files under a folder are videos, what they are called in ids, and how a changed or copied file is noticed."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from ...modeling.errors import InputError
from .video_reader import VIDEO_SUFFIXES

_MAX_NAME = 60
_HASHED_BYTES = 2**20  # from each end of a file


def find_videos(source: Path, required: bool = True) -> list[Path]:
    """Video files under a folder in the order of their names, or the one file given.

    Linked folders are searched too, each real folder once, so that a loop of links ends.

    Args:
        source (`Path`): A folder or a file.
        required (`bool`, *optional*, defaults to `True`): Whether it is an error that there is none.

    Raises:
        InputError: If there is none, or no such folder.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(f"{source} does not exist; name a folder of video files")
    found = sorted(_walk(source))
    if not found and required:
        raise InputError(f"{source} holds no video; it takes files named {', '.join(sorted(VIDEO_SUFFIXES))}")
    return found


def _walk(source: Path) -> Iterator[Path]:
    """Video files under a folder, in any order: real folders first, then those that links alone lead to."""
    seen: set[Path] = set()
    folders, links = [source], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        if folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            raise InputError(f"{folder} cannot be read ({error.strerror}); check its permissions") from error
        for path in entries:
            if path.is_dir():
                (links if path.is_symlink() else folders).append(path)
            elif path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith("."):
                yield path  # also a link that leads nowhere, which is a missing video


def path_text(path: Path) -> str:
    """A path as text that every file format holds: bytes of a name that are no UTF-8 become `\\xe9` and so on."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def safe_names(paths: list[Path]) -> list[str]:
    """A name for each path that may stand in an id or a file name: ASCII, short, and no two alike in any case."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        plain = str(path.with_suffix(""))
        ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", ascii_only).strip("-")[:_MAX_NAME]
        if name != plain or name.lower() in taken:
            digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
            name = f"{name}-{digest}".lstrip("-")
        names.append(name)
        taken.add(name.lower())
    return names


def file_state(path: Path) -> dict[str, int]:
    """Size and time of change of a file, which differ when it was replaced; of a folder those of all its files.

    A link that leads nowhere has size 0.

    Raises:
        InputError: If the file is gone or may not be looked at.
    """
    try:
        if path.is_symlink() and not path.exists():
            return {"bytes": 0, "changed": 0}
        if path.is_dir():
            states = [file.stat() for file in path.iterdir() if file.is_file()]
            newest = max((state.st_mtime_ns for state in states), default=0)
            return {"bytes": sum(state.st_size for state in states), "files": len(states), "changed": newest}
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error
    return {"bytes": state.st_size, "changed": state.st_mtime_ns}


def content_hash(path: Path) -> str:
    """Hash of a file's size and both its ends, the same for copies under other names.

    Args:
        path (`Path`): Any file; of a folder the files in it count.
    """
    if path.is_dir():
        hashes = [content_hash(file) for file in sorted(path.iterdir()) if file.is_file()]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()
    size = path.stat().st_size
    hashed = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        hashed.update(file.read(_HASHED_BYTES))
        file.seek(max(0, size - _HASHED_BYTES))
        hashed.update(file.read(_HASHED_BYTES))
    return hashed.hexdigest()


def folder_state(folder: Path) -> list[list]:
    """Names, sizes and times of change of a folder's files, which differ when one was replaced."""
    files = sorted(path for path in folder.glob("*") if path.is_file())
    return [[path.name, *file_state(path).values()] for path in files]

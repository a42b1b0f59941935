"""Read a folder that is to be published: its files with both hashes of the Hub, and what is left out."""

import fnmatch
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from ...modeling.errors import InputError

# Folders and files of tools, of a build that goes on and its faults, and checkpoints: never meant for the Hub.
LEFT_OUT = (
    ".git",
    ".cache",
    ".stages",
    "quarantine.jsonl",
    "__pycache__",
    "checkpoint-*",
    ".ipynb_checkpoints",
    ".DS_Store",
    ".*.tmp",
)
PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class LocalFile:
    """A file to publish.

    Attributes:
        name (`str`): Path in the repository.
        source (`Path` or `bytes`): Where it is, or what is sent in its place.
        size (`int`): Bytes.
        blob_id (`str`): Its hash in git, by which the Hub knows small files.
        sha256 (`str`): By which the Hub knows large ones.
        state (`tuple[int, ...]`, *optional*): By which a change since it was listed is seen: kind of file, number of
            its node, size, and when it was changed.
    """

    name: str
    source: Path | bytes
    size: int
    blob_id: str
    sha256: str
    state: tuple[int, ...] | None = None

    def with_hashes(self) -> Self:
        """The same file, hashed."""
        blob, sha = hashlib.sha1(b"blob %d\0" % self.size), hashlib.sha256()
        for piece in self.pieces():
            blob.update(piece)
            sha.update(piece)
        return replace(self, blob_id=blob.hexdigest(), sha256=sha.hexdigest())

    def is_same(self, remote_hash: str | None) -> bool:
        """Whether the Hub's hash of a file is of this content."""
        return remote_hash in (self.blob_id, self.sha256)

    def has_changed(self) -> bool:
        """Whether the file was written to, or another thing put in its place, since it was listed."""
        if isinstance(self.source, bytes):
            return False
        try:
            return _state_of(self.source.lstat()) != self.state
        except FileNotFoundError:
            return True

    def content(self) -> bytes:
        """All of it."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def start(self, size: int) -> bytes:
        """Its first bytes."""
        if isinstance(self.source, bytes):
            return self.source[:size]
        with self.source.open("rb") as file:
            return file.read(size)

    def pieces(self) -> Iterator[bytes]:
        """Its content in pieces."""
        if isinstance(self.source, bytes):
            yield self.source
            return
        with self.source.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece


@dataclass(frozen=True)
class LocalFolder:
    """What a folder holds.

    Attributes:
        path (`Path`): The folder.
        files (`Mapping[str, LocalFile]`): What is to be published, by path in the repository.
        links (`list[str]`): Names of symbolic links.
        odd (`list[str]`): Names of what is neither a file nor a folder, such as a pipe.
        left_out (`list[str]`): Names of files and folders that are not published.
    """

    path: Path
    files: Mapping[str, LocalFile] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def text(self, name: str) -> str | None:
        """The text of a file; `None` where there is none, or it is not UTF-8."""
        try:
            return self.files[name].content().decode()
        except (KeyError, UnicodeDecodeError):
            return None

    def read_json(self, name: str) -> Any:
        """What a JSON file holds.

        Raises:
            ValueError: If there is none, or it is no JSON.
        """
        return parse_json(self.text(name) or "")


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: If it is no JSON, also where it is nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def find_files(folder: Path) -> LocalFolder:
    """List a folder without hashing anything: its files have no hashes yet.

    Raises:
        InputError: If there is no such folder, nothing in it, or something cannot be read.
    """
    if not folder.is_dir():
        reason = "it is a file" if folder.exists() else "there is no such folder"
        raise InputError(f"cannot publish {folder}: {reason}")
    found = LocalFolder(folder)
    files: dict[str, LocalFile] = {}
    try:
        _walk(folder, "", found, files)
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename or folder} ({error.strerror}): change its permissions"
        ) from error
    if not files and not found.links and not found.odd:
        raise InputError(f"cannot publish {folder}: there is nothing in it")
    return replace(found, files=files)


def _walk(folder: Path, prefix: str, found: LocalFolder, files: dict[str, LocalFile]) -> None:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = prefix + entry.name
        if any(fnmatch.fnmatch(entry.name, pattern) for pattern in LEFT_OUT):
            found.left_out.append(name)
        elif entry.is_symlink():
            found.links.append(name)
        elif entry.is_dir():
            _walk(Path(entry.path), f"{name}/", found, files)
        elif entry.is_file():
            state = entry.stat(follow_symlinks=False)
            files[name] = LocalFile(name, Path(entry.path), state.st_size, "", "", _state_of(state))
        else:
            found.odd.append(name)


def _state_of(found: os.stat_result) -> tuple[int, ...]:
    return stat.S_IFMT(found.st_mode), found.st_ino, found.st_size, found.st_mtime_ns


def hash_files(folder: LocalFolder) -> LocalFolder:
    """The same folder with the hashes of its files.

    Raises:
        InputError: If a file cannot be read, or was changed since it was listed, so that what was checked is not what
            would be sent.
    """
    try:
        files = {name: file.with_hashes() for name, file in folder.files.items()}
    except OSError as error:
        raise InputError(f"cannot read {error.filename} ({error.strerror}): change its permissions") from error
    if changed := next((name for name, file in files.items() if file.has_changed()), None):
        raise InputError(f"{folder.path / changed} was changed while it was checked: run the same command again")
    return replace(folder, files=files)

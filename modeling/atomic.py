"""Files and folders that exist whole or not at all, and nothing beside them after a kill.

What is not finished lies in a scratch folder that its process holds locked (`flock`). The kernel frees the lock when
the process ends, however it ends; so a scratch folder whose lock is free belongs to a process that was killed, and
the next start removes it. Locks of one machine may not show on another: folders of other machines are left alone.
"""

import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from .errors import InputError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and nothing that was left behind is removed
    fcntl = None  # type: ignore[assignment]

_MACHINE = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_SCRATCH = re.compile(rf"\.(?P<target>.+)\.{_MACHINE}-[0-9a-f]{{8}}\.tmp", re.DOTALL)


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary file name; move the file to `path` if the block succeeds, remove it otherwise.

    Args:
        path (`str` or `os.PathLike`): The file to write. Missing parent folders are made.
    """
    path = Path(path)
    with _scratch_beside(path) as scratch:
        temporary = scratch / path.name
        yield temporary
        # Some writers make files private; this one gets the mode that any other new file of this process would have.
        temporary.chmod(scratch.stat().st_mode & 0o666)
        os.replace(temporary, path)


@contextmanager
def atomic_dir(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary folder; move it to `path` if the block succeeds, remove it otherwise.

    Args:
        path (`str` or `os.PathLike`): The folder to write. An existing one is replaced as a whole.
    """
    path = Path(path)
    with _scratch_beside(path) as scratch:
        temporary = scratch / path.name
        temporary.mkdir()
        yield temporary
        if path.exists():
            os.replace(path, _retired(scratch, path))
        os.replace(temporary, path)


def check_writable(path: str | os.PathLike) -> None:
    """Check that [`atomic_path`] or [`atomic_dir`] could write there, before hours are spent on what it is to hold.

    Nothing is left behind, and missing parent folders are not made.

    Args:
        path (`str` or `os.PathLike`): The file or folder to write.

    Raises:
        InputError: If it has no name of its own, such as `.`, or the folder that it would lie in takes no files.
    """
    path = Path(path)
    if path.name in ("", ".."):
        raise InputError(f"{str(path)!r} cannot be replaced as a whole: name a file or folder in it")
    place = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    with _naming_output(path), _locked_folder(place, path.name, 0o700):
        pass


@contextmanager
def scratch_dir(name: str) -> Iterator[Path]:
    """Yield a private folder in the system's temporary folder, removed afterwards or by the next start after a kill.

    Args:
        name (`str`): A word that says what it is for.
    """
    parent = Path(tempfile.gettempdir())
    remove_leftovers(parent)
    with _locked_folder(parent, name, 0o700) as scratch:
        yield scratch


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Remove the scratch folders in `folder` whose processes were killed.

    A folder that [`atomic_dir`] was about to replace is put back if the kill fell between its two renames.

    Args:
        folder (`str` or `os.PathLike`): Where outputs are written. It need not exist.
    """
    folder = Path(folder)
    names = os.listdir(folder) if fcntl and folder.is_dir() else []
    for name in names:
        if match := _SCRATCH.fullmatch(name):
            with suppress(OSError):  # locked by a process that is alive, gone meanwhile, or of another user
                handle = os.open(folder / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _discard(folder / name, folder / match["target"])
                finally:
                    os.close(handle)


@contextmanager
def _scratch_beside(path: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        with _naming_output(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path.parent)
            scratch = stack.enter_context(_locked_folder(path.parent, path.name, 0o777))
        yield scratch


@contextmanager
def _naming_output(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}): name another place") from error


@contextmanager
def _locked_folder(parent: Path, name: str, mode: int) -> Iterator[Path]:
    while True:
        scratch = parent / f".{name}.{_MACHINE}-{secrets.token_hex(4)}.tmp"
        scratch.mkdir(mode)
        handle = _lock(scratch)
        if scratch.exists():  # or another start took it for a leftover before it was locked
            break
        _close(handle)
    try:
        yield scratch
    finally:
        _discard(scratch, parent / name)
        _close(handle)


def _lock(folder: Path) -> int | None:
    """Lock a folder. Where the file system has no locks, `remove_leftovers` cannot take one either and lets it be."""
    if fcntl is None:
        return None
    handle = None
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def _close(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def _discard(scratch: Path, target: Path) -> None:
    retired = _retired(scratch, target)
    if retired.exists() and not target.exists():
        os.replace(retired, target)
    shutil.rmtree(scratch, ignore_errors=True)


def _retired(scratch: Path, target: Path) -> Path:
    """Where the folder lies that is being replaced."""
    return scratch / f"{target.name}.old"

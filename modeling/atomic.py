"""Write files and folders atomically: whole or not at all, with no leftovers after a kill.

What is not finished lies in a scratch folder that its process holds locked (`flock`). The kernel frees the lock when
the process ends, however it ends; so a scratch folder whose lock is free belongs to a process that was killed, and
the next start removes it. Locks of one machine may not show on another: folders of other machines are left alone.

What is finished is written to the disk before it takes its name, so a power cut leaves the old or the new, not a name
without content. An existing folder and its replacement change places in one step (Linux, on file systems that can);
elsewhere there is a moment with nothing at the target, and a kill then is mended by the next start.
"""

import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import sys
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
_RENAMEAT2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
# What a rename of a folder raises where its new name is taken, but for an empty folder, which it replaces.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
# What exchanging raises where a kernel or a file system cannot do it, and syncing where folders cannot be synced.
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF)
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
        _sync_file(temporary)
        os.replace(temporary, path)
        _sync_folder(path.parent)


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
        _sync_tree(temporary)
        _put_folder(temporary, path, _retired_path(scratch, path))
        _sync_folder(path.parent)


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
    with _name_output(path), _locked_folder(place, path.name, 0o700):
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


def _put_folder(new: Path, target: Path, retired: Path) -> None:
    """Move a folder to `target`; what is there goes to where the new one was, or to `retired`.

    Other threads and processes may do the same at the same time: the last one wins.
    """
    while True:
        try:
            os.rename(new, target)
            return
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        with suppress(FileNotFoundError):  # moved away by another one meanwhile
            if _exchange(new, target):
                return
            shutil.rmtree(retired, ignore_errors=True)
            os.replace(target, retired)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where that is not supported."""
    if _RENAMEAT2 is None:
        return False
    if _RENAMEAT2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            file = Path(parent) / name
            if file.is_file() and not file.is_symlink():
                _sync_file(file)
        _sync_folder(Path(parent))


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if fcntl else os.O_RDWR)  # Windows syncs what it may write
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    if fcntl is None:  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(handle)


@contextmanager
def _scratch_beside(path: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        with _name_output(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path.parent)
            scratch = stack.enter_context(_locked_folder(path.parent, path.name, 0o777))
        yield scratch


@contextmanager
def _name_output(path: Path) -> Iterator[None]:
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
    retired = _retired_path(scratch, target)
    if retired.exists() and not target.exists():
        try:
            os.replace(retired, target)
        except OSError:
            if not target.exists():  # or another thread has just put its own there
                raise
    shutil.rmtree(scratch, ignore_errors=True)


def _retired_path(scratch: Path, target: Path) -> Path:
    """Path of the folder that is being replaced."""
    return scratch / f"{target.name}.old"

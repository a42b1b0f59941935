"""Describe errors of libraries and of the system that a user can cause, in one line with a remedy."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..modeling.errors import InputError, first_line
from .input_checks import HTTP_CLIENTS, TRACKERS

_HUB_ERRORS = ("HfHubHTTPError", "OfflineModeIsEnabled", "LocalEntryNotFoundError")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SYSTEM = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.ENAMETOOLONG, errno.ENOTDIR),
)


def describe_user_error(error: BaseException) -> str | None:
    """One line for an error that is no defect of ours; `None` for any other, whose traceback is wanted.

    Args:
        error (`BaseException`): What a command raised.
    """
    line = first_line(error)
    library = type(error).__module__.partition(".")[0]
    if isinstance(error, ImportError) and error.name is None:  # a library asks for a package that it can do without
        return line
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        place = f"{error.filename}: " if error.filename else ""
        if error.errno in _FULL:
            return f"{place}{error.strerror}: make room, or write to another disk"
        return f"{place}{error.strerror}: name another place, or make room or change the permissions there"
    if library in {module for modules in TRACKERS.values() for module in modules}:
        return f"{library}: {line}; set it up, or give `report_to: none`"
    if _is_of_hub(error):
        return f"the Hub cannot be used: {line}"
    return None


@contextmanager
def report_missing_packages() -> Iterator[None]:
    """Report a missing package of a setting, such as a tracker or a kernel, in one line."""
    try:
        yield
    except (ImportError, RuntimeError) as error:
        if "installed" not in str(error) and not isinstance(error, ImportError):
            raise
        raise InputError(f"a setting needs what is not installed: {error}") from error


def _is_of_hub(error: BaseException) -> bool:
    """Whether a request to the Hub failed. The libraries that raise such errors are imported then."""
    hub = sys.modules.get("huggingface_hub.errors")
    clients = map(sys.modules.get, HTTP_CLIENTS)
    kinds = [getattr(hub, name, None) for name in _HUB_ERRORS]
    kinds += [getattr(client, "TransportError", None) for client in clients]
    return any(kind is not None and isinstance(error, kind) for kind in kinds)

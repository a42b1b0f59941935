"""The one exception for a clip that gives no rows: what it is called in counts, why, and what a user can do."""

import re
from typing import Literal, get_args

from ..modeling.errors import InputError

ClipErrorCode = Literal[
    "empty",  # a file of no bytes, or that cannot be read at all
    "not_video",  # no container of pictures that is read here
    "no_picture",  # sound alone
    "damaged",  # the decoder says so, or the end is missing
    "too_large",  # frames of more than 8K
    "crashed",  # the child process died
    "timeout",
    "memory",
    "too_short",  # too few frames, before or after cutting at the shots
    "no_texture",  # nothing that could be tracked
    "unclear",  # no fault: the motion is none that a question could ask about
    "poses_disagree",  # imported poses do not fit the pixels
    "failed",  # an exception that is a defect of the builder
]
CLIP_ERROR_CODES: tuple[ClipErrorCode, ...] = get_args(ClipErrorCode)


class ClipError(InputError):
    """A clip gives no rows.

    Args:
        code (`str`): One of `CLIP_ERROR_CODES`, by which clips are counted.
        reason (`str`): A phrase without the name of the clip and without a full stop.
        remedy (`str`): What a user can do, a phrase in the imperative.

    Raises:
        ValueError: If there is no such code.

    Example:

    ```python
    >>> error = ClipError("too_short", "3 frames, 6 are needed", "give a longer clip")
    >>> error.code, str(error)
    ('too_short', '3 frames, 6 are needed; give a longer clip')

    ```
    """

    def __init__(self, code: ClipErrorCode, reason: str, remedy: str):
        if code not in CLIP_ERROR_CODES:
            raise ValueError(f"no such code of a clip's error: {code}")
        super().__init__(f"{reason}; {remedy}")
        self.code: ClipErrorCode = code
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self):
        return type(self), (self.code, self.reason, self.remedy)  # it travels from child processes


def shorten_reason(reason: str, length: int = 260) -> str:
    """A clip's reason in one line: of a long one the measurements in brackets go first, then its end.

    Args:
        reason (`str`): As `quarantine.jsonl` keeps it.
        length (`int`, *optional*, defaults to 260): Characters at most.
    """
    line = " ".join(reason.split())
    if len(line) > length:
        line = re.sub(r" \([^()]*\d[^()]*\)", "", line)
    return line if len(line) <= length else f"{line[: length - 1]}…"

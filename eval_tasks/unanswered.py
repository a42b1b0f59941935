"""Responses that stand for a question which could not be put to the model. Pure Python.

They are texts, because lmms-eval carries nothing else between a model and a score, and so that journals and sample
files keep the reason. No reader finds an answer in them: they hold no capital letter and no option.
"""

from typing import Literal

MISSING_VIDEO = "[not asked: video missing]"
UNREADABLE_VIDEO = "[not asked: video unreadable]"

Reason = Literal["missing", "unreadable"]

_REASONS: dict[str, Reason] = {MISSING_VIDEO: "missing", UNREADABLE_VIDEO: "unreadable"}


def reason_not_asked(response: str | None) -> Reason | None:
    """Why a row has no response of a model; `None` where it has one.

    Args:
        response (`str`, *optional*): A response, or `None` where there is none, which counts as a missing video.
    """
    return "missing" if response is None else _REASONS.get(response.strip())


def response_for(error: Exception) -> str:
    """The response of a row whose video could not be shown, by the exception that decoding it raised.

    A chain of exceptions is searched for the absence of a file: readers raise an `InputError` from it.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, FileNotFoundError):
            return MISSING_VIDEO
        cause = cause.__cause__
    return UNREADABLE_VIDEO


def cause_not_asked(error: Exception) -> str:
    """Why a question could not be put to the model, for a message; an error of the system as `FILE: what is wrong`."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)

"""Controls of the input for tasks of lmms-eval: what a question shows in place of its own media."""

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...modeling.errors import InputError
from ..controls import control_messages, media_key

if TYPE_CHECKING:
    from lmms_eval.api.instance import Instance

_TRIES = 32


def controlled_messages(
    messages: Sequence[Mapping], video: str, request: "Instance", rows: Sequence[Mapping]
) -> tuple[Sequence[Mapping], int]:
    """The messages of a request under a control of the video, see `control_messages`.

    Args:
        messages (`Sequence[Mapping]`): Its own messages.
        video (`str`): The control.
        request (`Instance`): The request, whose task makes the messages of other rows.
        rows (`Sequence[Mapping]`): All rows of its task, of which `"shuffled"` shows the media of another one. Which
            one depends on the row alone, so it is the same in every process and order.

    Returns:
        `tuple[Sequence[Mapping], int]`: The messages, and the number of the row whose media they show.

    Raises:
        InputError: If no other row of the same type of question shows anything else.
    """
    doc_id = request.args[3]
    if video == "own":
        return messages, doc_id
    if video == "shuffled" and media_key(messages):
        other, number = _other_row(messages, request, rows)
        return control_messages(messages, video, other), number
    return control_messages(messages, video), doc_id


def _other_row(messages: Sequence[Mapping], request: "Instance", rows: Any) -> tuple[Sequence[Mapping], int]:
    _, doc_to_messages, _, doc_id, task, _ = request.args
    kinds = list(rows["task"]) if "task" in getattr(rows, "column_names", ()) else [None] * len(rows)
    others = [number for number, kind in enumerate(kinds) if number != doc_id and kind == kinds[doc_id]]
    draw = random.Random(f"video {task} {doc_id}")
    for number in draw.sample(others, min(_TRIES, len(others))):
        messages_there = doc_to_messages(rows[number])
        if media_key(messages_there) not in ((), media_key(messages)):
            return messages_there, number
    raise InputError(f"task {task}: no other row of its type shows another video: leave video=shuffled out")

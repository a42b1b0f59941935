"""Controls of the input: what remains of a score without the video, with one frame, another video, other letters.

A question is controlled as a row, before it is worded, or as chat messages. Importing this loads no torch.
"""

import hashlib
import random
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from ..modeling.errors import InputError
from ..modeling.tokens import OPTION_LETTERS
from .scores import row_video

if TYPE_CHECKING:
    from ..modeling.clip import Clip

VIDEO_CONTROLS = ("own", "none", "first", "shuffled")
OPTION_ORDERS = ("own", "shuffled")
# What a row shows: frames, or a file and the part of it that is shown.
_SHOWN = ("frames", "timestamps", "video", "frame_folder", "start", "end", "hidden_tail")
_MEDIA = ("video", "image")


def check_video_control(video: str) -> str:
    """The name of a control of the video, or an error that lists them."""
    if video not in VIDEO_CONTROLS:
        raise InputError(f"unknown video {video!r}: choose one of {', '.join(VIDEO_CONTROLS)}")
    return video


class ControlledRows(Sequence):
    """Rows as they are shown to the model under a control; each is made when it is read.

    Args:
        rows (`Sequence[Mapping]`): Rows with `id`, `task`, `question`, `options`, `answer`, and `frames` with
            `timestamps` or a `video` file.
        video (`str`, *optional*, defaults to `"own"`): `"none"` leaves the video out, `"shuffled"` shows another
            row's video of the same task. For `"first"` the rows stay as they are: their clips go through
            `repeat_first_frame` when they are decoded.
        options (`str`, *optional*, defaults to `"own"`): `"shuffled"` offers the options in another order.
        seed (`int`, *optional*, defaults to 0): Of the orders and of the other videos.

    Raises:
        InputError: If the videos are to be shuffled and all questions of a task are about one.
    """

    def __init__(
        self, rows: Sequence[Mapping], video: str = "own", options: str = "own", seed: int = 0, _partners=None
    ):
        self.rows, self.video, self.options, self.seed = rows, check_video_control(video), options, seed
        if _partners is None and video == "shuffled":
            stored = rows.with_format(None) if hasattr(rows, "with_format") else rows  # decodes no video
            shown = [(row["id"], row["task"], video_key(row)) for row in stored]
            _partners = choose_partners(*zip(*shown, strict=True), seed=seed)
        self._partners = _partners

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> dict: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        row = dict(self.rows[index])
        if self.video == "none":
            row = hide_video(row)
        elif self.video == "shuffled":
            row = show_video_of(row, self.rows[self._partners[index]])
        return shuffle_options(row, self.seed) if self.options == "shuffled" else row

    def with_format(self, form: str | None) -> "ControlledRows":
        """The same over `rows.with_format(form)`, where rows are a dataset."""
        rows = self.rows.with_format(form) if hasattr(self.rows, "with_format") else self.rows
        return ControlledRows(rows, self.video, self.options, self.seed, self._partners)


def hide_video(row: Mapping) -> dict:
    """A row without frames and without a video file: a question of text alone."""
    return {key: value for key, value in row.items() if key not in _SHOWN} | {"frames": [], "timestamps": []}


def show_video_of(row: Mapping, other: Mapping) -> dict:
    """A row with the video of another row, of which the same part is shown as there."""
    return {key: value for key, value in row.items() if key not in _SHOWN} | {
        key: value for key, value in other.items() if key in _SHOWN
    }


def shuffle_options(row: Mapping, seed: int = 0) -> dict:
    """A row whose options stand in an order drawn from the seed and its `id`, with the letter of its answer moved."""
    order = list(range(len(row["options"])))
    random.Random(f"options {seed} {row['id']}").shuffle(order)
    options = [row["options"][place] for place in order]
    return {**row, "options": options, "answer": OPTION_LETTERS[order.index(OPTION_LETTERS.index(row["answer"]))]}


def repeat_first_frame(clip: "Clip") -> "Clip":
    """The clip standing still: its first frame at each of its times."""
    return replace(clip, frames=[clip.frames[0]] * len(clip.frames))


def control_messages(messages: Sequence[Mapping], video: str, other: Sequence[Mapping] = ()) -> list[dict]:
    """Chat messages under a control of the video.

    Args:
        messages (`Sequence[Mapping]`): Turns with `role` and `content`, a list of parts; media are the parts of type
            `"video"` or `"image"`, with their source under the type's name, `path` or `url`. A text in place of the
            list stays.
        video (`str`): As in `ControlledRows`. For `"first"` all images become the first one; a video stays as it is,
            and its clip goes through `repeat_first_frame` when it is decoded.
        other (`Sequence[Mapping]`, *optional*): The messages whose media are shown in place of the own ones, for
            `"shuffled"`. As many media as here take their places; otherwise all stand where the first of them stood.
    """
    if check_video_control(video) == "own":
        return [dict(message) for message in messages]
    own, shown = _media(messages), _media(other)
    if video == "first":
        images = [part for part in own if part["type"] == "image"]
        places = [[images[0] if part["type"] == "image" else part] for part in own]
    elif video == "none" or not shown:
        places = [[] for _ in own]
    elif len(own) == len(shown):
        places = [[part] for part in shown]
    else:
        places = [shown, *([] for _ in own[1:])] if own else []
    remaining = iter(places)
    return [
        {**message, "content": [part for old in message["content"] for part in _replaced(old, remaining)]}
        if isinstance(message["content"], list)
        else dict(message)
        for message in messages
    ]


def media_key(messages: Sequence[Mapping]) -> Hashable:
    """What tells the media of two conversations apart, without decoding a video."""
    return tuple((part["type"], _content_key(_source(part))) for part in _media(messages))


def video_key(row: Mapping) -> Hashable:
    """What tells the videos of two rows apart: `video_id`, the file, or the content of the frames; else nothing."""
    known, frames = row_video(row), row.get("frames")
    return _content_key(frames) if known is None and frames else known


def choose_partners(
    ids: Sequence[Hashable], tasks: Sequence[Hashable], videos: Sequence[Hashable], seed: int = 0
) -> list[int]:
    """For each question the number of one of the same task about another video, at random by seed and id.

    Raises:
        InputError: If all questions of a task are about one video; the line names the task.
    """
    by_task: dict[Hashable, dict[Hashable, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, (task, video) in enumerate(zip(tasks, videos, strict=True)):
        by_task[task][video].append(number)
    partners = []
    for identity, task, video in zip(ids, tasks, videos, strict=True):
        names = list(by_task[task])
        if len(names) == 1:
            raise InputError(
                f"all questions of {task} are about one video, so none can be shown another one's: "
                "raise --limit, or choose another control of the video"
            )
        draw = random.Random(f"video {seed} {identity}")
        # One of the others: the place of the own video is skipped.
        place = draw.randrange(len(names) - 1)
        chosen = names[place + (place >= names.index(video))]
        partners.append(draw.choice(by_task[task][chosen]))
    return partners


def _media(messages: Sequence[Mapping]) -> list[dict]:
    turns = (message["content"] for message in messages if isinstance(message["content"], list))
    return [part for content in turns for part in content if part["type"] in _MEDIA]


def _source(part: Mapping) -> Any:
    return next((part[key] for key in (part["type"], "path", "url") if part.get(key) is not None), None)


def _replaced(part: Mapping, places: Any) -> list:
    return next(places) if part["type"] in _MEDIA else [part]


def _content_key(content: Any) -> Hashable:
    """A file's name, or a digest of an image or of a list of them."""
    if isinstance(content, Mapping):
        content = content.get("bytes") or content.get("path")
    if isinstance(content, (list, tuple)):
        content = repr([_content_key(part) for part in content]).encode()
    if hasattr(content, "tobytes"):
        content = content.tobytes()
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else content

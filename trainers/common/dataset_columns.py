"""Convert rows in TRL's columns to rows in ours."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset, Image, List, Value

from ...dataset_builders.loading import VIDEO_COLUMN, decode_frames_when_read
from ...modeling.errors import InputError
from .images import IMAGE_COLUMNS

_SECONDS_A_FRAME = 1.0  # where nothing says when frames were taken
_TEXTS = List(Value("string"))
_CLIPS = List(List(Image()))
_PATHS = (_TEXTS, List(Value("large_string")))


def adopt_trl_columns(rows: Dataset, stage: str) -> Dataset:
    """The rows with our columns made of TRL's, where ours are missing.

    | TRL's | ours |
    |---|---|
    | `prompt`, a text or one user turn | `question`; `options` are empty |
    | `images` | `frames`, one a second |
    | `videos`, one a row: a file, or a list of frames | `frames` and `timestamps` |
    | `completion`, for DIFT | `response`; `imagery` is empty |

    Images may be file names, in our columns too.

    Args:
        rows (`datasets.Dataset`): Rows; those in our columns stay as they are.
        stage (`str`): `"dift"` or `"grpo"`.

    Raises:
        InputError: If a prompt has several turns, or a row several videos.
    """
    for name in ("images", *IMAGE_COLUMNS):
        if rows.features.get(name) in _PATHS:
            rows = rows.cast_column(name, List(Image()))
    if "prompt" not in rows.column_names or "question" in rows.column_names:
        return rows
    count = len(rows)
    questions = [_text(prompt, number, "prompt") for number, prompt in enumerate(rows["prompt"], start=1)]
    rows = rows.remove_columns("prompt").add_column("question", questions)
    if "id" not in rows.column_names:
        rows = rows.add_column("id", [f"row-{number}" for number in range(1, count + 1)])
    if "options" not in rows.column_names:
        rows = rows.add_column("options", [[] for _ in range(count)], feature=_TEXTS)
    if stage == "dift" and "completion" in rows.column_names:
        texts = [_text(content, number, "completion") for number, content in enumerate(rows["completion"], start=1)]
        rows = rows.remove_columns("completion").add_column("response", texts)
        if "imagery" not in rows.column_names:
            rows = rows.add_column("imagery", [[] for _ in range(count)], feature=List(Image()))
    return _adopt_frames(rows)


def _adopt_frames(rows: Dataset) -> Dataset:
    files = False
    if "frames" not in rows.column_names and "images" in rows.column_names:
        rows = rows.rename_column("images", "frames")
    elif "frames" not in rows.column_names and "videos" in rows.column_names:
        if rows.features["videos"] == _CLIPS:
            rows = rows.cast_column("videos", List(List(Image(decode=False))))
        videos = [_only_video(some, number) for number, some in enumerate(rows["videos"], start=1)]
        files = all(isinstance(video, str) for video in videos)
        rows = rows.remove_columns("videos")
        frames = [[] for _ in videos] if files else videos
        rows = rows.add_column("frames", frames, feature=List(Image()))
        if files:
            rows = rows.add_column(VIDEO_COLUMN, videos)
    if "timestamps" not in rows.column_names and "frames" in rows.column_names:
        lengths = [len(frames or ()) for frames in rows.cast_column("frames", List(Image(decode=False)))["frames"]]
        times = [[_SECONDS_A_FRAME * step for step in range(length)] for length in lengths]
        rows = rows.add_column("timestamps", times, feature=List(Value("float64")))
    if not files:
        return rows
    return decode_frames_when_read(rows)


def _only_video(videos: Sequence[Any], number: int) -> Any:
    if isinstance(videos, str):
        return videos
    if videos is None or len(videos) != 1:
        raise InputError(f"row {number}: videos has {len(videos or ())} entries: give one video a row")
    return videos[0]


def _text(content: Any, number: int, column: str) -> str:
    """The text of a prompt or completion: itself, or that of its only turn."""
    if isinstance(content, str):
        return content
    turns = [turn for turn in content or () if turn.get("role") != "system"]
    if len(turns) != 1:
        raise InputError(f"row {number}: {column} has {len(turns)} turns: give one")
    content = turns[0].get("content")
    if content is None:
        raise InputError(f"row {number}: the turn of {column} has no content: write its text")
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content)

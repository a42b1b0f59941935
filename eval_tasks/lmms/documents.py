"""Rows of a benchmark as lmms-eval's documents: messages and metrics. Imports neither torch nor lmms_eval."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...modeling.errors import InputError
from ..answers import extract_answer
from ..benchmark import Benchmark
from ..videos import has_video, read_row_clip, shown_window

Row = Mapping[str, Any]
# What scores of a whole benchmark do not look at.
_BULK = ("question", "options", "frames", "timestamps")


def row_media(benchmark: Benchmark, row: Row, as_frames: bool = False) -> list[dict]:
    """The media of a row as parts of a message: one video by its path, or frames as images.

    Args:
        benchmark (`Benchmark`): Whose row it is.
        row (`Mapping`): The row.
        as_frames (`bool`, *optional*, defaults to `False`): Sample the frames of a video by the benchmark's policy.

    Returns:
        `list[dict]`: Nothing where the video is missing or cannot be decoded, so that any model gets past the row;
        whatever is said about it counts as wrong, under `missing` or `unreadable`.
    """
    if "video" not in row:
        from ...modeling.processing import row_clip

        return _images(row_clip(row).frames)
    if not has_video(row):
        return []
    try:
        if as_frames:
            return _images(read_row_clip(row, benchmark.frames).frames)
        start, end = shown_window(row)
    except InputError:
        return []
    window = {"start_time": start, "end_time": end}
    return [{"type": "video", "url": row["video"], **{key: at for key, at in window.items() if at is not None}}]


def row_messages(benchmark: Benchmark, row: Row, as_frames: bool = False) -> list[dict]:
    """One user turn: the media and the text of a row, in the order of the benchmark. Arguments as in `row_media`."""
    media, text = row_media(benchmark, row, as_frames), [{"type": "text", "text": benchmark.text(row)}]
    return [{"role": "user", "content": [*text, *media] if benchmark.text_first else [*media, *text]}]


def judge_response(benchmark: Benchmark, row: Row, response: str) -> dict[str, Any]:
    """Score one response, as lmms-eval's `process_results`; safe to call from several threads.

    Returns:
        `dict`: `accuracy` (answers read as a careful reader would), `strict_accuracy` (by the benchmark's own rule),
        `unparsed` and `missing` as 0 or 1, the accuracy again under the type of question, and for each of the
        benchmark's summaries the judged row that its aggregation takes.
    """
    missing = "video" in row and not has_video(row)
    letters = [
        None if missing else extract_answer(response, row["options"], "tolerant"),
        None if missing else extract_answer(response, row["options"], "strict"),
    ]
    correct, strictly = (float(_is_right(letter, row)) for letter in letters)
    judged = {**{key: value for key, value in row.items() if key not in _BULK}, "score": correct}
    return {
        "accuracy": correct,
        "strict_accuracy": strictly,
        "unparsed": float(not missing and letters[0] is None),
        "missing": float(missing),
        row["task"]: correct,
        **dict.fromkeys(benchmark.summaries, judged),
    }


def _images(frames: Sequence) -> list[dict]:
    return [{"type": "image", "url": frame} for frame in frames]


def metric_list(benchmark: Benchmark) -> list[dict]:
    """lmms-eval's `metric_list` for what `judge_response` gives."""
    lower = {"unparsed", "missing"}
    means = ("accuracy", "strict_accuracy", "unparsed", "missing", *benchmark.types)
    metrics = [{"metric": name, "aggregation": "mean", "higher_is_better": name not in lower} for name in means]
    return metrics + [
        {"metric": name, "aggregation": summary, "higher_is_better": True}
        for name, summary in benchmark.summaries.items()
    ]


def _is_right(letter: str | None, row: Row) -> bool:
    """Whether a letter is the key, or its option has the key's text, since published options may be equal."""
    if letter is None:
        return False
    options: Sequence[str] = row["options"]
    return options[ord(letter) - ord("A")] == options[ord(row["answer"]) - ord("A")]

"""Rows of a benchmark as lmms-eval's documents: messages and metrics. Imports neither torch nor lmms_eval."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..benchmark import Benchmark
from ..scores import judge
from ..videos import read_row_clip, shown_part, video_path

Row = Mapping[str, Any]
# Columns that no score of a whole benchmark looks at.
_BULK = frozenset(("question", "options", "frames", "timestamps"))
_COUNTS = ("unparsed", "missing", "unreadable")


def row_media(benchmark: Benchmark, row: Row, as_frames: bool = False) -> list[dict]:
    """The media of a row as parts of a message: one video by its path, or frames as images.

    Args:
        benchmark (`Benchmark`): Whose row it is.
        row (`Mapping`): The row.
        as_frames (`bool`, *optional*, defaults to `False`): Sample the frames of a video by the benchmark's policy.

    Raises:
        InputError: If frames are to be sampled, or the end of a video is hidden, and it is missing or damaged.
    """
    if not benchmark.has_videos:
        from ...modeling.processing import row_clip

        return _images(row_clip(row).frames)
    if as_frames:
        return _images(read_row_clip(row, benchmark.frames).frames)
    start, end = shown_part(row)
    part = {key: second for key, second in (("start_time", start), ("end_time", end)) if second is not None}
    return [{"type": "video", "url": video_path(row), **part}]


def user_turn(benchmark: Benchmark, row: Row, media: Sequence[Mapping]) -> list[dict]:
    """The messages of a row: one turn with its media and its text, in the order of the benchmark."""
    text = {"type": "text", "text": benchmark.text(row)}
    return [{"role": "user", "content": [text, *media] if benchmark.text_first else [*media, text]}]


def judge_response(benchmark: Benchmark, row: Row, response: str) -> dict[str, Any]:
    """Score one response, as lmms-eval's `process_results`; safe to call from several threads.

    Args:
        benchmark (`Benchmark`): Whose row it is.
        row (`Mapping`): The row.
        response (`str`): What the model said, or one of the texts of `unanswered` where it could not be asked.

    Returns:
        `dict`: `accuracy` (answers read as a careful reader would), `strict_accuracy` (by the benchmark's own rule),
        `unparsed`, `missing` and `unreadable` as 0 or 1, the accuracy again under the type of question, nothing under
        the other types, and for each of the benchmark's summaries the judged row that its aggregation takes.
    """
    answered = {**row, "response": response}
    verdict, strict = judge(answered), judge(answered, "strict", benchmark.rule)
    judged = {key: value for key, value in row.items() if key not in _BULK} | {"score": float(verdict.correct)}
    return {
        "accuracy": float(verdict.correct),
        "strict_accuracy": float(strict.correct),
        "unparsed": float(verdict.unparsed),
        "missing": float(verdict.not_asked == "missing"),
        "unreadable": float(verdict.not_asked == "unreadable"),
        # lmms-eval weighs a task in a group by the number of values of its last metric: all have one for every row.
        **{name: float(verdict.correct) if name == row["task"] else None for name in benchmark.types},
        **dict.fromkeys(benchmark.summaries, judged),
    }


def metric_list(benchmark: Benchmark) -> list[dict]:
    """lmms-eval's `metric_list` for what `judge_response` gives."""
    means = ("accuracy", "strict_accuracy", *_COUNTS)
    metrics = [{"metric": name, "aggregation": "mean", "higher_is_better": name not in _COUNTS} for name in means]
    return metrics + [
        {"metric": name, "aggregation": summary, "higher_is_better": True}
        for name, summary in (dict.fromkeys(benchmark.types, mean_of_type) | dict(benchmark.summaries)).items()
    ]


def mean_of_type(scores: Sequence[float | None]) -> float | None:
    """The mean of the scores of rows that are of a type; nothing if none is."""
    counted = [score for score in scores if score is not None]
    return sum(counted) / len(counted) if counted else None


def _images(frames: Sequence) -> list[dict]:
    return [{"type": "image", "url": frame} for frame in frames]

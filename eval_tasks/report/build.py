"""Build the report of one benchmark from its rows with their responses, and compare two runs question by question."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ...modeling.dataset_files import keep_videos_encoded
from ...modeling.errors import InputError
from ..controls import video_key
from ..scores import judge, row_video, score
from ..statistics import difference_interval, mcnemar_p, shares_videos
from ..unanswered import reason_not_asked

if TYPE_CHECKING:
    from datasets import Dataset

# What a question is, as far as a score depends on it; the content of videos is not read.
_HASHED = ("id", "task", "question", "options", "answer")
_VERSIONED = ("fourdthinker", "torch", "transformers", "datasets", "av", "numpy")
_BULK = ("frames", "timestamps", "facts")


def build_report(
    rows: Sequence[Mapping],
    rule: str | None = None,
    skip_missing: bool = False,
    summaries: Mapping[str, Callable[[Sequence[Mapping]], float | None]] | None = None,
) -> dict:
    """Score responses by both readings.

    Args:
        rows (`Sequence[Mapping]`): As for `score`, which takes the answers as a careful reader would.
        rule (`str`, *optional*): The benchmark's own rule, by which they are read a second time; by default the answer
            block that our models learn.
        skip_missing (`bool`, *optional*, defaults to `False`): As for `score`.
        summaries (`Mapping[str, Callable]`, *optional*): Further scores of the benchmark, functions of judged rows
            (the rows' columns, and `score` 0 or 1).

    Returns:
        `dict`: What `score` returns by the tolerant policy; under `strict` the whole of the other reading without its
        tasks; under `readings_differ` on how many rows their verdicts differ; and `summaries`.
    """
    rule = rule or "answer_block"
    careful, strict = [judge(row) for row in rows], [judge(row, "strict", rule) for row in rows]
    other = score(rows, "strict", rule, skip_missing, verdicts=strict)
    judged = [
        {**row, "score": float(verdict.correct)}
        for row, verdict in zip(rows, careful, strict=True)
        if not (skip_missing and verdict.not_asked)
    ]
    return {
        **score(rows, "tolerant", skip_missing=skip_missing, verdicts=careful),
        "strict": {key: value for key, value in other.items() if key != "tasks"},
        "readings_differ": sum(a.correct != b.correct for a, b in zip(careful, strict, strict=True)),
        "summaries": {
            name: float(value)
            for name, summary in (summaries or {}).items()
            if (value := summary(judged)) is not None  # no row of this kind
        },
    }


def compare_runs(first: Sequence[Mapping], second: Sequence[Mapping], skip_missing: bool = False) -> dict:
    """Compare two runs on the same questions, in pairs.

    Args:
        first, second (`Sequence[Mapping]`): Rows as for `score`, with `id`. Their order may differ, and so may the
            order of the options of a question.
        skip_missing (`bool`, *optional*, defaults to `False`): Leave out the questions that either run was not asked.

    Returns:
        `dict`: `n`, `accuracies` of both, `difference` (first minus second), its 95 % `interval` (paired bootstrap, by
        video where questions share them), `only_first` and `only_second` (questions that one run alone gets right),
        and `p`, two-sided, of McNemar's exact test.

    Raises:
        InputError: If their questions are not the same.
    """
    by_id = {row["id"]: row for row in second}
    unpaired = {row["id"] for row in first} ^ by_id.keys()
    if unpaired or len(by_id) != len(second) or len(first) != len(second):
        example = f", such as {min(map(str, unpaired))}" if unpaired else ""
        raise InputError(
            f"the two runs cannot be paired: {len(unpaired)} questions are in one alone{example}; "
            "compare runs on the same rows, each with an id of its own"
        )
    pairs = [(row_video(row), judge(row), judge(by_id[row["id"]])) for row in first]
    if skip_missing:
        pairs = [pair for pair in pairs if not (pair[1].not_asked or pair[2].not_asked)]
    if not pairs:
        raise InputError("the two runs have no question in common that both were asked")
    videos, *verdicts = zip(*pairs, strict=True)
    rights = [[verdict.correct for verdict in run] for run in verdicts]
    known = None if any(video is None for video in videos) else videos
    accuracies = [sum(right) / len(pairs) for right in rights]
    return {
        "n": len(pairs),
        "accuracies": accuracies,
        "difference": accuracies[0] - accuracies[1],
        "interval": list(difference_interval(*rights, known)),
        "interval_method": f"paired bootstrap{' by video' if shares_videos(known) else ''}",
        "only_first": sum(a and not b for a, b in zip(*rights, strict=True)),
        "only_second": sum(b and not a for a, b in zip(*rights, strict=True)),
        "p": mcnemar_p(*rights),
    }


def report_controls(
    own: Sequence[Mapping], controls: Mapping[str, Sequence[Mapping]], skip_missing: bool = False
) -> dict[str, dict]:
    """What remains of a score under each control of the input, and how much the own input is worth.

    Args:
        own (`Sequence[Mapping]`): The rows with their responses to the own input.
        controls (`Mapping[str, Sequence[Mapping]]`): For each control, such as `"video none"`, the rows as they were
            shown with their responses. A question that could not be asked with its own input counts as not asked under
            the controls too, so that all of them are about the same questions.
        skip_missing (`bool`, *optional*, defaults to `False`): As for `score`.

    Returns:
        `dict[str, dict]`: For each control `n`, `accuracy`, `interval`, `parse_failures` and `tasks` (accuracies), and
        `own_minus_control`, what `compare_runs` returns.
    """
    not_asked = {row["id"]: row for row in own if reason_not_asked(row["response"])}
    return {
        name: _report_control(own, [not_asked.get(row["id"], row) for row in rows], skip_missing)
        for name, rows in controls.items()
    }


def _report_control(own: Sequence[Mapping], rows: Sequence[Mapping], skip_missing: bool) -> dict:
    scores = score(rows, skip_missing=skip_missing)
    kept = ("n", "accuracy", "interval", "parse_failures", "missing", "unreadable")
    return {
        **{key: scores[key] for key in kept},
        "tasks": {task: numbers["accuracy"] for task, numbers in scores["tasks"].items()},
        "own_minus_control": compare_runs(own, rows, skip_missing),
    }


def question_rows(rows: "Dataset | Sequence[Mapping]") -> list[dict]:
    """Rows as far as scores and answer files need them: without frames, with a `video_id`; no video is decoded.

    Args:
        rows (`Dataset` or `Sequence[Mapping]`): Rows of a benchmark.
    """
    stored = keep_videos_encoded(rows)
    return [
        {**{key: value for key, value in row.items() if key not in _BULK}, "video_id": video_key(row)}
        for row in stored
    ]


def data_hash(rows: Iterable[Mapping[str, Any]]) -> str:
    """The SHA-256 of questions, options, keys and of what names their videos: equal for runs on the same data."""
    digest = hashlib.sha256()
    for row in rows:
        values = [row[key] for key in _HASHED if key in row]
        line = json.dumps([values, _video_name(row)], ensure_ascii=False, default=str)
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _video_name(row: Mapping) -> str:
    # A file counts by its name: its folder is another one on every machine.
    key = video_key(row)
    return key.replace("\\", "/").rpartition("/")[2] if isinstance(key, str) else repr(key)


def library_versions() -> dict[str, str]:
    """The versions of the packages that a score may depend on."""
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

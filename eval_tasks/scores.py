"""Score responses: accuracy with its interval, chance level, and responses without an answer. Pure Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..modeling.errors import InputError
from ..modeling.row_rules import answer_fault, comparable_text, name_row, options_fault
from ..modeling.tokens import OPTION_LETTERS
from .answers import Policy, extract_answer
from .statistics import accuracy_interval, macro_interval, shares_videos, wilson_interval
from .unanswered import Reason, reason_not_asked

__all__ = ["Verdict", "align_table", "format_comparison", "format_scores", "is_correct", "judge", "score"]
__all__ += ["wilson_interval"]


@dataclass(frozen=True)
class Verdict:
    """What became of one row.

    Attributes:
        letter (`str`, *optional*): The option that the response chooses.
        correct (`bool`): Whether that is the key, or an option with the same text.
        not_asked (`str`, *optional*): `"missing"` or `"unreadable"`, of a row whose video could not be shown.
        chance (`float`): The share of its options that are right.
    """

    letter: str | None
    correct: bool
    not_asked: Reason | None
    chance: float

    @property
    def unparsed(self) -> bool:
        """Whether the model responded without naming an option."""
        return self.letter is None and self.not_asked is None


def judge(row: Mapping, policy: Policy = "tolerant", rule: str | None = None) -> Verdict:
    """Judge the response of one row.

    Args:
        row (`Mapping`): `options` (texts without letters), `answer` (letter) and `response` (text; `None` or one of
            the texts of `unanswered` where the model could not be asked).
        policy (`str`, *optional*, defaults to `"tolerant"`): How answers are read, see `extract_answer`.
        rule (`str`, *optional*): The benchmark's own rule, for the policy `"strict"`.

    Raises:
        InputError: If the row has no key among its options; the line names the row.
    """
    options, answer = row["options"], row["answer"]
    with name_row(row):
        fault = options_fault(options, unique=False) or answer_fault(answer, options)
        if fault or not len(options):
            raise InputError(fault or "options is empty: give the texts that were offered")
    texts = [comparable_text(option) for option in options]
    key = texts[OPTION_LETTERS.index(answer)]
    not_asked = reason_not_asked(row["response"])
    letter = None if not_asked else extract_answer(row["response"], options, policy, rule)
    return Verdict(
        letter=letter,
        correct=letter is not None and texts[OPTION_LETTERS.index(letter)] == key,
        not_asked=not_asked,
        chance=texts.count(key) / len(texts),
    )


def is_correct(row: Mapping, policy: Policy = "tolerant", rule: str | None = None) -> bool:
    """Whether a row's `response` chooses its `answer` among its `options`; see `judge`."""
    return judge(row, policy, rule).correct


def score(
    rows: Sequence[Mapping],
    policy: Policy = "tolerant",
    rule: str | None = None,
    skip_missing: bool = False,
    verdicts: Sequence[Verdict] | None = None,
) -> dict:
    """Score responses, over all rows and by task.

    Every row counts in the denominator. A row that could not be asked (its video is missing or cannot be decoded) and
    a row whose response names no offered option are wrong, and are counted under `missing`, `unreadable` and
    `parse_failures`.

    Args:
        rows (`Sequence[Mapping]`): Rows with `task`, `options` (texts without letters), `answer` (letter) and
            `response` (text; `None` or one of the texts of `unanswered` where the model could not be asked). Where
            rows have `video_id` or `video`, intervals take into account that some share one.
        policy (`str`, *optional*, defaults to `"tolerant"`): How answers are read, see `extract_answer`.
        rule (`str`, *optional*): The benchmark's own rule, for the policy `"strict"`.
        skip_missing (`bool`, *optional*, defaults to `False`): Leave rows that could not be asked out of the
            denominator, as some published scripts do; the result says so.
        verdicts (`Sequence[Verdict]`, *optional*): What `judge` gave for the rows, where that is known.

    Returns:
        `dict`: `policy`, `rule`, `skip_missing`; `n`, `correct`, `accuracy`, `interval` (95 %) and its
        `interval_method` (`"wilson"`, or `"bootstrap by video"` where questions share videos), `videos` (their number,
        if known), `chance` (mean share of options that are right), `parse_failures`, `missing` and `unreadable`;
        `macro` (mean of the tasks' accuracies) and `macro_interval`; and `tasks`, these numbers for each task.

    Raises:
        InputError: If there are no rows, none is left, or one has no key among its options.
    """
    if not rows:
        raise InputError("no rows to score: check the split and --limit")
    verdicts = [judge(row, policy, rule) for row in rows] if verdicts is None else verdicts
    judged = [_Judged(verdict, row["task"], row_video(row)) for verdict, row in zip(verdicts, rows, strict=True)]
    if skip_missing and all(row.verdict.not_asked for row in judged):
        raise InputError("--skip-missing leaves no row to score: none of the videos could be shown")
    tasks = {
        task: _summary([row for row in judged if row.task == task], skip_missing)
        for task in sorted({row.task for row in judged})
    }
    whole = _summary(judged, skip_missing)
    accuracies = [numbers["accuracy"] for numbers in tasks.values() if numbers["n"]]
    counted = _counted(judged, skip_missing)
    macro = {
        "macro": sum(accuracies) / len(accuracies),
        "macro_interval": list(
            macro_interval([row.verdict.correct for row in counted], [row.task for row in counted], _videos(counted))
        ),
    }
    return {"policy": policy, "rule": rule, "skip_missing": skip_missing, **whole, **macro, "tasks": tasks}


def row_video(row: Mapping) -> Any:
    """What tells whose video a question is about: `video_id`, else the file; `None` where a row has neither."""
    return row.get("video_id") or row.get("video")


def format_scores(scores: Mapping, title: str = "") -> str:
    """A plain table of `score`'s result: one line a task and one for all, percentages with chance and interval.

    Args:
        scores (`Mapping`): What `score` returned.
        title (`str`, *optional*): A first line.
    """
    header = ("task", "n", "correct", "accuracy", "95 % interval", "chance", "unparsed", "missing", "unreadable")
    entries = [*scores["tasks"].items(), ("all", scores)]
    table = [header, *(_cells(name, numbers) for name, numbers in entries)]
    if len(scores["tasks"]) > 1:
        low, high = scores["macro_interval"]
        macro = ("mean of tasks", "", "", _percent(scores["macro"]), f"{100 * low:.1f} to {100 * high:.1f} %")
        table.append((*macro, "", "", "", ""))
    lines = [*align_table(table), _describe(scores)]
    return "\n".join([title, *lines] if title else lines)


def _describe(scores: Mapping) -> str:
    """What the numbers of a table stand for."""
    reader = scores["policy"] if scores["rule"] is None else f"{scores['policy']} ({scores['rule']})"
    counted = "unparsed, missing and unreadable rows count as wrong"
    if scores["skip_missing"]:
        left_out = scores["missing"] + scores["unreadable"]
        counted = f"unparsed rows count as wrong; {left_out} missing or unreadable ones are left out (--skip-missing)"
    shared = "; intervals by bootstrap over videos" if scores["interval_method"] != "wilson" else ""
    return f"answers read by the {reader} policy; {counted}{shared}"


def format_comparison(rows: Sequence[tuple[str, Sequence[Mapping]]], tasks: Sequence[str]) -> str:
    """Several models side by side, one a line.

    Args:
        rows (`Sequence[tuple[str, Sequence[Mapping]]]`): A label, and for each task an entry of `score(...)["tasks"]`.
        tasks (`Sequence[str]`): Their headings.

    Returns:
        `str`: A table with accuracy and 95 % interval; its first line is chance, its heading says how many questions.
    """
    first = rows[0][1]
    header = ("", *(f"{task} (n = {numbers['n']})" for task, numbers in zip(tasks, first, strict=True)))
    chance = ("chance", *(f"{100 * numbers['chance']:.1f} %" for numbers in first))
    table = [header, chance, *((label, *map(_with_interval, entries)) for label, entries in rows)]
    return "\n".join(align_table(table))


def align_table(table: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a plain table, a rule under the first: names to the left, everything else to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join((cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:]))) for cells in table]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _with_interval(numbers: Mapping) -> str:
    low, high = numbers["interval"]
    return f"{100 * numbers['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


@dataclass(frozen=True)
class _Judged:
    verdict: Verdict
    task: str
    video: Any


def _counted(judged: Sequence[_Judged], skip_missing: bool) -> list[_Judged]:
    """The rows of the denominator."""
    return [row for row in judged if not (skip_missing and row.verdict.not_asked)]


def _videos(judged: Sequence[_Judged]) -> list | None:
    videos = [row.video for row in judged]
    return None if any(video is None for video in videos) else videos


def _summary(judged: Sequence[_Judged], skip_missing: bool) -> dict:
    counted = _counted(judged, skip_missing)
    right, videos, n = [row.verdict.correct for row in counted], _videos(counted), len(counted)
    return {
        "n": n,
        "correct": sum(right),
        "accuracy": sum(right) / n if n else 0.0,
        "interval": list(accuracy_interval(right, videos)) if n else [0.0, 1.0],
        "interval_method": "bootstrap by video" if shares_videos(videos) else "wilson",
        "videos": len(set(videos)) if videos is not None else None,
        "chance": sum(row.verdict.chance for row in counted) / n if n else 0.0,
        "parse_failures": sum(row.verdict.unparsed for row in judged),
        "missing": sum(row.verdict.not_asked == "missing" for row in judged),
        "unreadable": sum(row.verdict.not_asked == "unreadable" for row in judged),
    }


def _cells(name: str, numbers: Mapping) -> tuple[str, ...]:
    low, high = numbers["interval"]
    return (
        name,
        str(numbers["n"]),
        str(numbers["correct"]),
        f"{100 * numbers['accuracy']:.1f} %",
        f"{100 * low:.1f} to {100 * high:.1f} %",
        f"{100 * numbers['chance']:.1f} %",
        str(numbers["parse_failures"]),
        str(numbers["missing"]),
        str(numbers["unreadable"]),
    )

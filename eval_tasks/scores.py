"""Score responses: accuracy with its interval, chance level, and responses without an answer. Pure Python."""

from collections.abc import Mapping, Sequence

from ..modeling.errors import InputError
from ..modeling.row_rules import answer_fault, name_row, options_fault
from .answers import Policy, extract_answer

_Z = 1.959963984540054  # the normal quantile of a two-sided 95 % interval


def is_correct(row: Mapping, policy: Policy = "tolerant") -> bool:
    """Whether a row's `response` chooses its `answer` among its `options`."""
    return extract_answer(row["response"], row["options"], policy) == row["answer"]


def score(rows: Sequence[Mapping], policy: Policy = "tolerant") -> dict:
    """Score responses, over all rows and by task.

    Every row counts in the denominator. A row without a response (its video is missing or cannot be decoded) and a
    row whose response names no offered option are wrong, and are counted under `missing` and `parse_failures`.

    Args:
        rows (`Sequence[Mapping]`): Rows with `task`, `options` (texts without letters), `answer` (letter) and
            `response` (text, or `None` where the model could not be asked).
        policy (`str`, *optional*, defaults to `"tolerant"`): How answers are read, see `extract_answer`.

    Returns:
        `dict`: `policy`; `n`, `correct`, `accuracy`, `interval` (95 %, Wilson), `chance` (mean of one over the number
        of options), `parse_failures` and `missing`; and `tasks`, the same numbers for each task.

    Raises:
        InputError: If there are no rows, or one has no key among its options.
    """
    if not rows:
        raise InputError("no rows to score: check the split and --limit")
    judged = [_judge(row, policy) for row in rows]
    tasks = sorted({row["task"] for row in rows})
    by_task = {
        task: _summary([j for j, row in zip(judged, rows, strict=True) if row["task"] == task]) for task in tasks
    }
    return {"policy": policy, **_summary(judged), "tasks": by_task}


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927), which stays inside [0, 1] and honest near its ends."""
    p, z2 = correct / n, _Z * _Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * (p * (1 - p) / n + z2 / (4 * n * n)) ** 0.5
    # Rounding must not leave 0 or 1 outside the interval of a score of exactly 0 or 1.
    return (0.0 if correct == 0 else centre - half), (1.0 if correct == n else centre + half)


def format_scores(scores: Mapping, title: str = "") -> str:
    """A plain table of `score`'s result: one line a task and one for all, percentages with chance and interval.

    Args:
        scores (`Mapping`): What `score` returned.
        title (`str`, *optional*): A first line.
    """
    header = ("task", "n", "correct", "accuracy", "95 % interval", "chance", "unparsed", "missing")
    entries = [*scores["tasks"].items(), ("all", scores)]
    table = [header, *(_cells(name, numbers) for name, numbers in entries)]
    lines = align_table(table)
    lines.append(f"answers read by the {scores['policy']} policy; unparsed and missing rows count as wrong")
    return "\n".join([title, *lines] if title else lines)


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


def _with_interval(numbers: Mapping) -> str:
    low, high = numbers["interval"]
    return f"{100 * numbers['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _judge(row: Mapping, policy: Policy) -> dict:
    options, answer = row["options"], row["answer"]
    with name_row(row):
        fault = options_fault(options) or answer_fault(answer, options)
        if fault or not len(options):
            raise InputError(fault or "options is empty: give the texts that were offered")
    response = row["response"]
    letter = None if response is None else extract_answer(response, options, policy)
    return {
        "correct": letter == answer,
        "chance": 1 / len(options),
        "missing": response is None,
        "parse_failure": response is not None and letter is None,
    }


def _summary(judged: Sequence[Mapping]) -> dict:
    n, correct = len(judged), sum(row["correct"] for row in judged)
    return {
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "interval": list(wilson_interval(correct, n)),
        "chance": sum(row["chance"] for row in judged) / n,
        "parse_failures": sum(row["parse_failure"] for row in judged),
        "missing": sum(row["missing"] for row in judged),
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
    )

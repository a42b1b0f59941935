"""Scores that lie in a model's folder: the model's own, and those of what its card compares it with."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from ..eval_tasks.report.table import describe_marks, describe_worth, one_line
from ..modeling.atomic import atomic_path
from ..modeling.errors import InputError
from .rendering import percent, short_name
from .run_facts import today

SCORES = "scores"
OWN, ZEROED, BASE = "", "latents zeroed", "base model"
_SHIPPED = "eval_results.json"  # at the root of a folder: what `eval --output` wrote there
# How answers were read, see `eval_tasks.choice`.
_READINGS = {
    "response": "answers as the responses say them",
    "choice": "answers by restricted choice: the likeliest of the options after the model's own reasoning",
}
_ORDER = (OWN, ZEROED, "text only", BASE)  # of columns; others come between, as they are named


@dataclass(frozen=True)
class Run:
    """The scores of one model under one setting.

    Attributes:
        label (`str`): Empty for the model's own; else what the card calls it.
        reports (`Mapping[str, Mapping]`): For each benchmark what `build_report` returned.
        settings (`Mapping[str, Any]`): Of the whole run: decoding, batch size, longest response.
        versions (`Mapping[str, str]`): Of libraries.
        date (`str`, *optional*): When it ran.
    """

    label: str
    reports: Mapping[str, Mapping]
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str | None = None


def store_scores(
    folder: str | PathLike, reports: Mapping[str, Mapping], head: Mapping[str, Any], label: str = OWN
) -> list[Path]:
    """Put scores into a model's folder, one file a benchmark, in place of earlier ones of that benchmark and label.

    Args:
        folder (`str` or `PathLike`): The folder of the model whose card is to show them.
        reports (`Mapping[str, Mapping]`): For each benchmark what `build_report` returned.
        head (`Mapping[str, Any]`): As `fourdthinker eval --output` writes it: `model`, `settings`, `versions`, `date`.
        label (`str`, *optional*): Whose they are, if not the model's own; see [`Run`].

    Returns:
        `list[Path]`: The files.

    Raises:
        InputError: If scores of a limited run would replace those of more questions. Nothing is written then.
    """
    written = []
    places = {
        name: Path(folder) / SCORES / f"{slug(name)}{f'-{slug(label)}' if label else ''}.json" for name in reports
    }
    for benchmark, path in places.items():
        _check_limit(path, benchmark, head.get("settings", {}).get("limit"))
    kept = {name: head[name] for name in ("settings", "versions") if name in head}
    date = head.get("date") or today()
    named = {"model": short_name(str(head.get("model", ""))), **kept, "label": label, "date": date}
    for benchmark, report in reports.items():
        path = places[benchmark]
        path.parent.mkdir(exist_ok=True)
        if overlap := report.get("overlap"):
            report = {**report, "overlap": {**overlap, "data": short_name(str(overlap.get("data", "")))}}
        if against := report.get("against"):
            report = {**report, "against": {short_name(name): numbers for name, numbers in against.items()}}
        with atomic_path(path) as temporary:
            temporary.write_text(
                json.dumps({**named, "tasks": {benchmark: report}}, indent=1) + "\n", encoding="utf-8"
            )
        written.append(path)
    return written


def _check_limit(path: Path, benchmark: str, limit: int | None) -> None:
    if limit is None:
        return
    try:
        questions = json.loads(path.read_text(encoding="utf-8"))["tasks"][benchmark]["n"]
    except (OSError, ValueError, KeyError, TypeError):  # nothing there that is worth keeping
        return
    if questions > limit:
        raise InputError(
            f"{path} has scores of {questions} questions, and these are of the first {limit}: leave --limit or "
            "--eval-results out, or delete that file"
        )


def read_scores(folder: str | PathLike) -> list[Run]:
    """The scores that lie in a model's folder, those of one label together, the model's own first.

    Args:
        folder (`str` or `PathLike`): The folder.

    Raises:
        InputError: If a file there is none that `fourdthinker eval` writes.
    """
    runs: dict[str, Run] = {}
    for path in [Path(folder) / _SHIPPED, *sorted((Path(folder) / SCORES).glob("*.json"))]:
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            run = Run(
                _label(content),
                content["tasks"],
                content.get("settings", {}),
                content.get("versions", {}),
                content.get("date"),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path} holds no scores of `fourdthinker eval` ({error}): delete it") from error
        known = runs.get(run.label)
        runs[run.label] = Run(
            run.label, {**(known.reports if known else {}), **run.reports}, run.settings, run.versions, run.date
        )
    return order_runs(runs.values())


def order_runs(runs: Iterable[Run]) -> list[Run]:
    """Runs in the order of a table's columns."""
    ranks = {label: rank for rank, label in enumerate(_ORDER)}
    return sorted(runs, key=lambda run: (ranks.get(run.label, len(_ORDER)), run.label))


def own_reports(runs: Sequence[Run]) -> dict[str, Mapping]:
    """The model's own scores, by benchmark."""
    return {name: report for run in runs if run.label == OWN for name, report in run.reports.items()}


def score_table(benchmark: str, runs: Sequence[Run]) -> list[list[str]]:
    """The table of one benchmark: a row a task and one for all, a column for each model that was scored.

    Returns:
        `list[list[str]]`: The heading first.
    """
    shown = [(run, run.reports[benchmark]) for run in runs if benchmark in run.reports]
    own = shown[0][1]
    heading = ["task", "n", "chance", *(run.label or "this model" for run, _ in shown)]
    tasks = list(own.get("tasks", {}))
    lines = [heading]
    for task in [*tasks, None]:
        numbers = own if task is None else own["tasks"][task]
        cells = [_cell(report if task is None else report.get("tasks", {}).get(task)) for _, report in shown]
        name = "all" if task is None else task.replace("_", " ")
        lines.append([name, str(numbers["n"]), percent(numbers["chance"]), *cells])
    # A single task says twice what all say.
    return lines if len(tasks) != 1 else [heading, lines[1]]


def describe_run(benchmark: str, runs: Sequence[Run]) -> list[str]:
    """Sentences on how the scores of a benchmark were measured, and on what they show."""
    run, report = next((run, run.reports[benchmark]) for run in runs if benchmark in run.reports)
    settings = {**run.settings, **report.get("settings", {})}
    measured = [
        f"decoding: {settings['decoding']}" if "decoding" in settings else "",
        f"at most {settings['max_new_tokens']} new tokens"
        if settings.get("max_new_tokens") and "new tokens" not in str(settings.get("decoding"))
        else "",
        _READINGS.get(str(settings.get("reading")), ""),
        f"frames: {one_line(settings['frames'])}" if settings.get("frames") else "",
        f"weights in {settings['dtype']}" if settings.get("dtype") else "",
        f"first {settings['limit']} questions only" if settings.get("limit") else "",
        f"SHA-256 of the questions: {report['data']['sha256'][:16]}" if report.get("data") else "",
        f"measured on {run.date}" if run.date else "",
        ", ".join(f"{name} {number}" for name, number in run.versions.items()),
    ]
    unread = [f"{report['parse_failures']} of {report['n']} answers name no option and count as wrong"]
    for key, words in (("missing", "missing"), ("unreadable", "unreadable")):
        if report.get(key) and not report.get("skip_missing"):
            unread.append(f"{report[key]} videos are {words} and their questions count as wrong")
    sentences = [
        _sentence("; ".join(part for part in measured if part)),
        _sentence("; ".join(unread)),
        _describe_zeroed(benchmark, runs),
        *(_sentence(mark) for mark in describe_marks(report)),
        describe_worth(report),
    ]
    return [sentence for sentence in sentences if sentence]


def _describe_zeroed(benchmark: str, runs: Sequence[Run]) -> str:
    """What the latents are worth by scores of the same questions in the same reading, not compared in pairs."""
    by_label = {run.label: run for run in runs if benchmark in run.reports}
    if OWN not in by_label or ZEROED not in by_label:
        return ""
    if _questions(by_label[OWN], benchmark) != _questions(by_label[ZEROED], benchmark):
        return ""
    own, zeroed = (by_label[label].reports[benchmark] for label in (OWN, ZEROED))
    change = f"from {percent(own['accuracy'])} to {percent(zeroed['accuracy'])}"
    if zeroed["interval"][1] < own["interval"][0]:
        return f"With zeros in place of its latents the model's accuracy falls {change}."
    if zeroed["interval"][0] > own["interval"][1]:
        return f"With zeros in place of its latents the model's accuracy rises {change}."
    return f"Zeroing the latents costs nothing that these questions could show: accuracy goes {change}."


def _questions(run: Run, benchmark: str) -> tuple:
    """What was asked and how answers were read: scores of two runs compare only where these agree."""
    report = run.reports[benchmark]
    settings = {**run.settings, **report.get("settings", {})}
    return report["n"], report.get("data", {}).get("sha256"), settings.get("reading")


def _cell(numbers: Mapping | None) -> str:
    if numbers is None:
        return "–"
    low, high = numbers["interval"]
    return f"{percent(numbers['accuracy'])} ({100 * low:.1f} to {100 * high:.1f})"


def _label(content: Mapping) -> str:
    if content.get("label"):
        return content["label"]
    latents = content.get("settings", {}).get("latents", "own")
    return {"own": OWN, "zero": ZEROED}.get(latents, f"latents: {latents}")


def label_scores(latents: str = "own", beside: str | None = None, shown: str = "own") -> str:
    """What scores are called in a card; empty for those of the card's model as it is.

    Args:
        latents (`str`, *optional*): As of `fourdthinker eval --latents`.
        beside (`str`, *optional*): What a model other than the card's is, such as `"text only"`.
        shown (`str`, *optional*): The control of the input, such as `"video none"`.
    """
    parts = (beside or "", _label({"settings": {"latents": latents}}), "" if shown == "own" else shown)
    return ", ".join(part for part in parts if part)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""


def slug(name: str) -> str:
    """A name as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", name)

"""Print a report: the table of scores, both readings, controls, and comparisons of runs."""

from collections.abc import Mapping
from typing import Any

from ..scores import align_table, format_scores

_MOSTLY = 0.5  # a report speaks of blind answers of which this share names no option


def format_report(report: Mapping, title: str = "") -> str:
    """A report as plain text: the table of `format_scores`, and what belongs beside its numbers.

    Args:
        report (`Mapping`): What `build_report` returned, with `controls` and `settings` if there are any.
        title (`str`, *optional*): A first line.
    """
    lines = [format_scores(report, title), _describe_readings(report)]
    lines += [
        f"{name}: {_percent(value)}" for name, value in report.get("summaries", {}).items() if name != "macro_accuracy"
    ]
    lines += describe_marks({**report, "skip_missing": False})  # of which the table speaks itself
    if report.get("controls"):
        lines += ["", *_control_lines(report)]
    lines += [f"{name}: {one_line(value)}" for name, value in report.get("settings", {}).items()]
    return "\n".join(lines)


def format_difference(comparison: Mapping, first: str, second: str) -> str:
    """One line about two runs on the same questions.

    Args:
        comparison (`Mapping`): What `compare_runs` returned.
        first, second (`str`): Names of the runs.
    """
    low, high = comparison["interval"]
    return (
        f"{first} minus {second}: {_points(comparison['difference'])} points "
        f"(95 % {_points(low)} to {_points(high)}, {comparison['interval_method']}; n = {comparison['n']}); "
        f"{comparison['only_first']} right in the first alone, {comparison['only_second']} in the second alone, "
        f"McNemar p = {comparison['p']:.2g}"
    )


def _describe_readings(report: Mapping) -> str:
    strict = report["strict"]
    rule = f"the rule of {strict['rule']}" if strict["rule"] else "the strict policy"
    gap = report["accuracy"] - strict["accuracy"]
    return (
        f"read by {rule}: {_percent(strict['accuracy'])}, {strict['parse_failures']} unparsed; "
        f"{_points(-gap)} points, and another verdict on {report['readings_differ']} of {report['n']} rows"
    )


def _control_lines(report: Mapping) -> list[str]:
    table = [("input", "accuracy", "95 % interval", "unparsed", "own minus this", "95 % interval", "McNemar p")]
    low, high = report["interval"]
    table.append(("own", _percent(report["accuracy"]), _range(low, high), str(report["parse_failures"]), "", "", ""))
    for name, control in report["controls"].items():
        paired = control["own_minus_control"]
        table.append(
            (
                name,
                _percent(control["accuracy"]),
                _range(*control["interval"]),
                str(control["parse_failures"]),
                _points(paired["difference"]),
                f"{_points(paired['interval'][0])} to {_points(paired['interval'][1])}",
                f"{paired['p']:.2g}",
            )
        )
    return [*align_table(table), describe_worth(report)]


def describe_marks(report: Mapping) -> list[str]:
    """Sentences on what makes a score another one than that of one greedy answer to every question as it is.

    Args:
        report (`Mapping`): A report.
    """
    marks = []
    if report.get("skip_missing"):
        left_out = report["missing"] + report["unreadable"]
        marks.append(f"{left_out} rows whose video is missing or unreadable are left out of n (--skip-missing)")
    if again := report.get("ask_again"):
        marks.append(
            f"{again['rows']} rows without an answer were asked again, up to {again['times']} times, by sampling "
            "(--ask-again)"
        )
    shown = report.get("input") or {}
    if shown.get("video", "own") != "own":
        marks.append(f"the input was controlled: --video {shown['video']}")
    if shown.get("options", "own") != "own":
        marks.append(f"the input was controlled: --options {shown['options']} --seed {shown['seed']}")
    return marks


def describe_worth(report: Mapping) -> str:
    """A sentence on how many points the video is worth, by the blind control; or that there is none.

    Args:
        report (`Mapping`): A report.
    """
    blind = (report.get("controls") or {}).get("video none")
    if blind is None:
        return "No blind control was run: nothing here shows that the answers need the video."
    paired = blind["own_minus_control"]
    low, high = paired["interval"]
    share = blind["parse_failures"] / blind["n"] if blind["n"] else 0.0
    unparsed = (
        f" {_percent(share)} of the answers without it name no option and count as wrong: this shows as much how the "
        "model takes to a question without a video as what the video is worth."
        if share >= _MOSTLY
        else ""
    )
    unclear = " The questions do not show that it is worth anything." if low <= 0 <= high else ""
    return (
        f"The video is worth {_points(paired['difference'])} points (95 % {_points(low)} to {_points(high)}, "
        f"{paired['n']} questions in pairs): {_percent(blind['accuracy'])} without it.{unclear}{unparsed}"
    )


def one_line(value: Any) -> str:
    """A setting as text; of a mapping its keys and values."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    return str(value)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # adding zero makes +0.0 of -0.0

"""Draw reports: accuracies as bars with intervals, the chance level, and what a blind model reaches."""

from collections.abc import Mapping
from pathlib import Path

from ...modeling.atomic import atomic_path, check_writable
from ...modeling.errors import InputError

SUFFIXES = (".png", ".pdf", ".svg")
# Of the palette of Okabe and Ito, which colour-blind readers tell apart as well.
_BARS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_CHANCE, _BLIND = "#222222", "#D0021B"
_ROW, _BETWEEN, _HEAD, _FOOT = 0.36, 0.5, 0.35, 0.55  # inches, as what follows
_LEGEND_LINE, _BARS_WIDTH, _RIGHT, _LETTER = 0.2, 5.0, 0.6, 0.075
_LONGEST_NAME = 40


def check_picture(path: str | Path) -> Path:
    """Check the name of a picture before anything is computed for it.

    Raises:
        InputError: If it has an unknown suffix or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is no picture: give a name that ends in {', '.join(SUFFIXES)}")
    check_writable(path)
    return path


def draw_reports(path: str | Path, reports: Mapping[str, Mapping[str, Mapping]]) -> None:
    """Draw one panel for each benchmark: a row for each type of question, a bar for each run.

    Args:
        path (`str` or `Path`): The picture; its suffix says which kind.
        reports (`Mapping[str, Mapping[str, Mapping]]`): For each benchmark the reports of its runs by name.
    """
    path = check_picture(path)
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for runs in reports.values() for name in runs))
    colours = {name: _BARS[number % len(_BARS)] for number, name in enumerate(names)}
    labels = [label for runs in reports.values() for report in runs.values() for label in _labels(report).values()]
    columns = 4 if len(names) < 3 and max(map(len, names)) < _LONGEST_NAME / 2 else 2
    heights = [_panel_height(runs) for runs in reports.values()]
    top = _HEAD + _LEGEND_LINE * -(-(len(names) + 2) // columns)
    left = 0.3 + _LETTER * max(map(len, labels))
    width = left + _BARS_WIDTH + _RIGHT
    height = top + sum(heights) + _BETWEEN * (len(heights) - 1) + _FOOT
    figure = Figure(figsize=(width, height), dpi=150)
    drawn: dict = {}
    for (benchmark, runs), panel in zip(reports.items(), heights, strict=True):
        axes = figure.add_axes((left / width, 1 - (top + panel) / height, _BARS_WIDTH / width, panel / height))
        drawn |= _draw_panel(axes, benchmark, runs, colours)
        top += panel + _BETWEEN
    axes.set_xlabel("accuracy in %, with 95 % interval", fontsize=9)
    order = [*names, *(words for words in drawn if words not in names)]
    marks, words = [drawn[name] for name in order], [_shorten(name) for name in order]
    legend = figure.legend(marks, words, loc="upper center", ncols=columns, frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lower().removeprefix("."))


def _panel_height(runs: Mapping[str, Mapping]) -> float:
    rows = max(len(_rows(report)) for report in runs.values())
    return _ROW * rows * (1 + 0.45 * (len(runs) - 1))


def _rows(report: Mapping) -> dict[str, Mapping]:
    """The whole, then each type of question."""
    whole = {"all": report}
    return whole if len(report["tasks"]) < 2 else {**whole, **report["tasks"]}


def _draw_panel(axes, benchmark: str, runs: Mapping[str, Mapping], colours: Mapping[str, str]) -> dict:
    """Draw one benchmark and return the marks of the legend by their words."""
    labels = list(dict.fromkeys(label for report in runs.values() for label in _rows(report)))
    drawn: dict = {}
    thickness = 0.8 / len(runs)
    for number, (name, report) in enumerate(runs.items()):
        blind = (report.get("controls") or {}).get("video none")
        for label, numbers in _rows(report).items():
            place = labels.index(label) + (number - (len(runs) - 1) / 2) * thickness
            drawn[name] = _draw_bar(axes, place, thickness, numbers, colours[name])
            edges = place - thickness / 2, place + thickness / 2
            drawn["chance"] = axes.vlines(
                100 * numbers["chance"], *edges, colors=_CHANCE, linestyles="dotted", lw=1.8, zorder=4
            )
            if blind:
                reached = blind["accuracy"] if numbers is report else blind["tasks"][label]
                drawn["without the video"] = axes.vlines(100 * reached, *edges, colors=_BLIND, lw=2)
    names = _labels(next(iter(runs.values())))
    for text in axes.set_yticks(range(len(labels)), [names.get(label, label) for label in labels], fontsize=8):
        text.label1.set_parse_math(False)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_title(benchmark, loc="left", fontsize=10, fontweight="bold", parse_math=False)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


def _draw_bar(axes, place: float, thickness: float, numbers: Mapping, colour: str):
    accuracy, (low, high) = 100 * numbers["accuracy"], numbers["interval"]
    bar = axes.barh(place, accuracy, height=0.85 * thickness, color=colour, alpha=0.75)
    axes.errorbar(
        accuracy,
        place,
        xerr=[[max(0.0, accuracy - 100 * low)], [max(0.0, 100 * high - accuracy)]],
        color="0.2",
        capsize=2.5,
        lw=1.1,
    )
    axes.annotate(f"{accuracy:.1f}", (101, place), annotation_clip=False, va="center", fontsize=7, color=colour)
    return bar


def _labels(report: Mapping) -> dict[str, str]:
    return {name: f"{name} (n = {numbers['n']})" for name, numbers in _rows(report).items()}


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"

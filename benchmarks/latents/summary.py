"""Tables and curves of a study, with intervals over questions and over seeds."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from plan import Plan

from fourdthinker.eval_tasks.diagnosis.controls import OWN
from fourdthinker.modeling.atomic import atomic_path

_Z = 1.96
# 97.5 % quantiles of Student's t, by degrees of freedom.
_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def read_cells(folder: Path) -> dict[str, list[dict]]:
    """The finished cells by arm, in order of seeds."""
    cells: dict[str, list[dict]] = {}
    for path in sorted((folder / "cells").glob("*.json")):
        cell = json.loads(path.read_text(encoding="utf-8"))
        cells.setdefault(cell["arm"], []).append(cell)
    return {arm: sorted(found, key=lambda cell: cell["seed"]) for arm, found in cells.items()}


def right_answers(cells: Sequence[Mapping], reading: str | None = None) -> np.ndarray:
    """1 where an answer is right, `(seeds, questions)`; by default in each arm's own way of answering."""
    return np.array([[int(digit) for digit in cell["right"][reading or cell["read"]]] for cell in cells])


def mean_interval(values: np.ndarray) -> tuple[float, tuple[float, float], tuple[float, float] | None]:
    """Mean of values `(seeds, questions)`, its 95 % interval over questions, and over seeds if there are several.

    Over questions: of each question's mean over the seeds, which share the questions. Over seeds: Student's t.
    """
    by_question, by_seed = values.mean(0), values.mean(1)
    mean = float(values.mean())
    n = len(by_question)
    spread = float(by_question.std(ddof=1)) if n > 1 else 0.0
    # Where all questions agree, so many of the next ones may still differ.
    half = _Z * spread / math.sqrt(n) if spread else _Z**2 / (n + _Z**2)
    seeds = None
    if len(by_seed) > 1:
        deviation = _T.get(len(by_seed) - 1, _Z) * statistics.stdev(by_seed.tolist()) / math.sqrt(len(by_seed))
        seeds = (mean - deviation, mean + deviation)
    return mean, (mean - half, mean + half), seeds


def paired_difference(first: Sequence[Mapping], second: Sequence[Mapping], one: str | None, other: str | None):
    """`mean_interval` of the first minus the second, on the seeds that both have; None if there is none."""
    seeds = sorted({cell["seed"] for cell in first} & {cell["seed"] for cell in second})
    if not seeds:
        return None
    values = [
        right_answers([cell for cell in cells if cell["seed"] in seeds], reading)
        for cells, reading in ((first, one), (second, other))
    ]
    return mean_interval(values[0] - values[1])


def write_summary(plan: Plan, folder: Path) -> str:
    """Write `report.md` and `curves.svg`; the report's text."""
    cells = {arm: found for arm, found in read_cells(folder).items() if arm in plan.arms}
    cells = {arm: cells[arm] for arm in plan.arms if arm in cells}
    parts = [_arm_table(plan, cells), _control_table(cells)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    with atomic_path(folder / "report.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    draw_curves(cells, folder / "curves.svg")
    return text


def _arm_table(plan: Plan, cells: Mapping[str, Sequence[Mapping]]) -> str:
    base = [arm for arm in plan.compare if arm in cells]
    heads = ["arm", "seeds", "n", "steps", "CPU s", "accuracy", "over questions", "over seeds"]
    lines = [heads + [f"minus {arm}" for arm in base]]
    for arm, found in cells.items():
        right = right_answers(found)
        mean, questions, seeds = mean_interval(right)
        seconds = statistics.mean(cell["cpu_seconds"] for cell in found)
        line = [arm, str(len(found)), str(right.shape[1]), str(found[0]["steps"]), f"{seconds:.0f}"]
        line += [f"{100 * mean:.1f}", _range(questions), _range(seeds)]
        lines.append(line + [_difference(paired_difference(found, cells[other], None, None)) for other in base])
    return _markdown(lines)


def _control_table(cells: Mapping[str, Sequence[Mapping]]) -> str:
    """What replacing an arm's latents costs, on the same questions."""
    names = list(dict.fromkeys(name for found in cells.values() for cell in found for name in cell["right"]))
    names = [name for name in names if name != OWN]
    if not names:
        return ""
    lines = [["arm, change with", *names]]
    for arm, found in cells.items():
        if len(found[0]["right"]) > 1:
            changes = [
                _difference(paired_difference(found, found, name, None)) if name in found[0]["right"] else ""
                for name in names
            ]
            lines.append([arm, *changes])
    return _markdown(lines)


def _difference(compared) -> str:
    if compared is None:
        return ""
    mean, questions, seeds = compared
    over_seeds = f"; {_range(seeds, True)}" if seeds else ""
    return f"{100 * mean:+.1f} ({_range(questions, True)}{over_seeds})"


def _range(interval: tuple[float, float] | None, sign: bool = False) -> str:
    if interval is None:
        return ""
    low, high = (f"{100 * end:{'+' if sign else ''}.1f}" for end in interval)
    return f"{low} to {high}"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(lines[0])
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])


def draw_curves(cells: Mapping[str, Sequence[Mapping]], path: Path) -> None:
    """Accuracy of each arm, mean of its seeds, against steps and against CPU seconds."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axis, key, label in zip(figure.subplots(1, 2), ("step", "cpu_seconds"), ("step", "CPU seconds"), strict=True):
        for arm, found in cells.items():
            curves = [cell["curve"] for cell in found if cell["curve"]]
            if curves:
                points = list(zip(*curves, strict=False))
                places = [statistics.mean(point[key] for point in at) for at in points]
                shares = [100 * statistics.mean(point["accuracy"] for point in at) for at in points]
                axis.plot(places, shares, marker="o", markersize=3, label=arm)
        axis.set_xlabel(label)
        axis.set_ylabel("accuracy by restricted choice, %")
        axis.grid(alpha=0.3)
    if figure.axes[0].lines:
        figure.axes[1].legend(fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="svg")

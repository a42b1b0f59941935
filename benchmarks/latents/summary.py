"""Tables and curves of a study, with intervals over questions and over seeds.

    python benchmarks/latents/summary.py --plan benchmarks/latents/study.yaml --output lab/study

writes `report.md` and `curves.svg` of the cells that are finished; neither the model nor the rows need be there.
"""

import argparse
import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from plan import Plan, read_plan, run_script
from scipy.stats import t as student_t

from fourdthinker.eval_tasks.diagnosis.controls import OWN
from fourdthinker.modeling.atomic import atomic_path
from fourdthinker.modeling.errors import InputError

_Z = 1.96


def read_cells(folder: Path) -> dict[str, list[dict]]:
    """The finished cells by arm, in order of seeds.

    Raises:
        InputError: If the cells of an arm are of several plans.
    """
    cells: dict[str, list[dict]] = {}
    for path in sorted((folder / "cells").glob("*.json")):
        cell = json.loads(path.read_text(encoding="utf-8"))
        cells.setdefault(cell["arm"], []).append(cell)
    for arm, found in cells.items():
        if len({cell["key"] for cell in found}) > 1:
            raise InputError(f"the cells {arm}-*.json in {folder / 'cells'} are of several plans: remove the old ones")
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
        deviation = (
            student_t.ppf(0.975, len(by_seed) - 1) * statistics.stdev(by_seed.tolist()) / math.sqrt(len(by_seed))
        )
        seeds = (mean - deviation, mean + deviation)
    return mean, (mean - half, mean + half), seeds


def shared_seeds(first: Sequence[Mapping], second: Sequence[Mapping]) -> set[int]:
    """The seeds that the cells of two arms have in common."""
    return {cell["seed"] for cell in first} & {cell["seed"] for cell in second}


def paired_difference(first: Sequence[Mapping], second: Sequence[Mapping], one: str | None, other: str | None):
    """`mean_interval` of the first minus the second, on the seeds that both have; None if there is none."""
    seeds = shared_seeds(first, second)
    if not seeds:
        return None
    values = [
        right_answers([cell for cell in cells if cell["seed"] in seeds], reading)
        for cells, reading in ((first, one), (second, other))
    ]
    return mean_interval(values[0] - values[1])


def write_summary(plan: Plan, folder: Path) -> str:
    """Write `report.md` and `curves.svg`; the report's text."""
    found = read_cells(folder)
    cells = {arm: found[arm] for arm in plan.arms if arm in found}
    text = write_report(plan, cells)
    with atomic_path(folder / "report.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    draw_curves({arm: cells[arm] for arm in plan.draw or plan.arms if arm in cells}, folder / "curves.svg")
    return text


def write_report(plan: Plan, cells: Mapping[str, Sequence[Mapping]]) -> str:
    """The tables of a study: how often each arm is right, by how much more than others, and what controls change.

    Args:
        plan ([`Plan`]): The study.
        cells (`Mapping`): Finished cells by arm, in the order of the tables.
    """
    parts = [
        "# Tables of a study",
        "Intervals are 95 %: over questions of each question's mean over the seeds, over seeds by Student's t.",
        "## How often each arm is right, in its own way of answering",
        _accuracy_table(cells),
    ]
    if differences := _difference_table(plan, cells):
        parts += ["## Differences on the same questions and seeds", differences]
    if controls := _control_table(cells):
        parts += [
            "## With the latents replaced",
            "Right, and the change in points from the model's own latents (over questions; over seeds). With `reread` "
            "nothing sees the video, with the others each arm sees what it is built to.",
            controls,
        ]
    return "\n\n".join(parts) + "\n"


def _accuracy_table(cells: Mapping[str, Sequence[Mapping]]) -> str:
    lines = [["arm", "each seed, %", "right, %", "over questions", "over seeds", "n", "steps", "CPU s"]]
    for arm, found in cells.items():
        right = right_answers(found)
        mean, questions, seeds = mean_interval(right)
        each = ", ".join(f"{100 * share:.1f}" for share in right.mean(1))
        line = [f"`{arm}`", each, f"{100 * mean:.1f}", _range(questions), _range(seeds)]
        lines.append([*line, str(right.shape[1]), str(found[0]["steps"]), _seconds(found)])
    return _markdown(lines)


def _seconds(cells: Sequence[Mapping]) -> str:
    """Mean CPU seconds of training, of each kind of machine by itself."""
    by_machine: dict[str, list[float]] = {}
    for cell in cells:
        by_machine.setdefault(cell["machine"], []).append(cell["cpu_seconds"])
    return ", ".join(f"{statistics.mean(seconds):.0f} ({machine})" for machine, seconds in sorted(by_machine.items()))


def _difference_table(plan: Plan, cells: Mapping[str, Sequence[Mapping]]) -> str:
    lines = [["arm", "minus arm", "points", "over questions", "over seeds", "seeds"]]
    for arm, found in cells.items():
        for other in plan.compared_with(arm):
            if other in cells and (compared := paired_difference(found, cells[other], None, None)):
                mean, questions, over_seeds = compared
                change = [f"{100 * mean:+.1f}", _range(questions, True), _range(over_seeds, True)]
                lines.append([f"`{arm}`", f"`{other}`", *change, str(len(shared_seeds(found, cells[other])))])
    return _markdown(lines) if len(lines) > 1 else ""


def _control_table(cells: Mapping[str, Sequence[Mapping]]) -> str:
    """How often an arm is right with its own latents, and with those replaced: the change on the same questions."""
    names = list(dict.fromkeys(name for found in cells.values() for cell in found for name in cell["right"]))
    names = [name for name in names if name != OWN]
    lines = [["arm", f"`{OWN}`", *(f"`{name}`" for name in names)]]
    for arm, found in cells.items():
        if len(found[0]["right"]) > 1:
            line = [f"`{arm}`", f"{100 * right_answers(found, OWN).mean():.1f} %"]
            for name in names:
                if name not in found[0]["right"]:
                    line.append("")
                    continue
                mean, questions, seeds = paired_difference(found, found, name, OWN)
                over_seeds = f"; {_range(seeds, True)}" if seeds else ""
                share = right_answers(found, name).mean()
                line.append(f"{100 * share:.1f} %, {100 * mean:+.1f} ({_range(questions, True)}{over_seeds})")
            lines.append(line)
    return _markdown(lines) if len(lines) > 1 else ""


def _range(interval: tuple[float, float] | None, sign: bool = False) -> str:
    if interval is None:
        return ""
    # Few questions or seeds may give accuracies below 0 or above 1.
    ends = interval if sign else (min(max(end, 0.0), 1.0) for end in interval)
    low, high = (f"{100 * end:{'+' if sign else ''}.1f}" for end in ends)
    return f"{low} to {high}"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(lines[0])
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])


def draw_curves(cells: Mapping[str, Sequence[Mapping]], path: Path) -> None:
    """Accuracy of each arm, mean of its seeds, against steps and against CPU seconds.

    CPU seconds are those of the machine that trained most cells.
    """
    machines = Counter(cell["machine"] for found in cells.values() for cell in found)
    common = machines.most_common(1)[0][0] if machines else ""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    steps, seconds = figure.subplots(1, 2)
    for number, (arm, found) in enumerate(cells.items()):
        curves = [cell["curve"] for cell in found]
        _draw_mean(steps, curves, "step", arm, number)
        curves = [cell["curve"] for cell in found if cell["machine"] == common]
        _draw_mean(seconds, curves, "cpu_seconds", arm, number)
    for axis, label in ((steps, "step"), (seconds, f"CPU seconds ({common})")):
        axis.set_xlabel(label)
        axis.set_ylabel("accuracy by restricted choice, %")
        axis.grid(alpha=0.3)
    if steps.lines:
        figure.legend(loc="outside right upper", fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="svg")


def _draw_mean(axis, curves: Sequence[Sequence[Mapping]], key: str, arm: str, number: int) -> None:
    """Draw the mean of an arm's curves; a label for the legend goes with the steps alone."""
    points = list(zip(*(curve for curve in curves if curve), strict=False))
    places = [statistics.mean(point[key] for point in at) for at in points]
    shares = [100 * statistics.mean(point["accuracy"] for point in at) for at in points]
    style = {"marker": "osD^v"[number // 10 % 5], "color": f"C{number % 10}", "markersize": 4}
    if points:
        axis.plot(places, shares, label=arm if key == "step" else None, **style)


def main() -> None:
    """Write the summary of a study's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", required=True, metavar="FILE.yaml", help="the study")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the study, with its cells")
    args = parser.parse_args()
    plan, folder = read_plan(args.plan), Path(args.output)
    if not any((folder / "cells").glob("*.json")):
        raise InputError(f"{folder} has no finished cells: name the folder of a study")
    print(write_summary(plan, folder))


if __name__ == "__main__":
    run_script(main)

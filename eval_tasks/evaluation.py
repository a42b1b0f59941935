"""Ask a model the questions of one benchmark: as they are, under controls of the input, and again where it must be."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..modeling.errors import InputError
from .benchmark import Benchmark
from .controls import ControlledRows
from .report.build import build_report, data_hash, question_rows, report_controls
from .sampling import Sampling
from .scores import judge
from .tasks import BENCHMARKS
from .unanswered import reason_not_asked

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

# Rows to responses; keyword arguments are further settings of `predict`.
Ask = Callable[..., list[str | None]]


@dataclass(frozen=True)
class Shown:
    """What is shown of a question.

    Attributes:
        video (`str`): One of `VIDEO_CONTROLS`.
        options (`str`): One of `OPTION_ORDERS`.
        seed (`int`): Of the other videos, the orders, and what is sampled.
    """

    video: str = "own"
    options: str = "own"
    seed: int = 0

    @property
    def name(self) -> str:
        """Such as `"video none"`; `"own"` for questions as they are."""
        parts = {"video": self.video, "options": self.options}
        return ", ".join(f"{part} {control}" for part, control in parts.items() if control != "own") or "own"


def all_controls(seed: int = 0) -> list[Shown]:
    """The controls that `--controls` runs beside the own input."""
    videos = [Shown(video=video, seed=seed) for video in ("none", "first", "shuffled")]
    return [*videos, Shown(options="shuffled", seed=seed)]


@dataclass(frozen=True)
class Evaluation:
    """The outcome on one benchmark.

    Attributes:
        report (`dict`): As of `build_report`, with `input`, `data`, and where they were asked for `controls` and
            `ask_again`.
        answers (`dict[str, list[dict]]`): The questions with their responses, for the input and for each control.
    """

    report: dict
    answers: dict[str, list[dict]]


def evaluate(
    ask: Ask,
    rows: "Dataset",
    benchmark: Benchmark | None = None,
    shown: Shown = Shown(),
    controls: Sequence[Shown] = (),
    ask_again: int = 0,
    skip_missing: bool = False,
) -> Evaluation:
    """Answer and score the questions of one benchmark.

    Args:
        ask (`Callable`): Answers rows, such as `predict` with a model; it takes further settings by keyword.
        rows (`Dataset`): The rows.
        benchmark (`Benchmark`, *optional*): Whose rows they are.
        shown ([`Shown`], *optional*): What is shown of each question.
        controls (`Sequence[Shown]`, *optional*): Controls that run beside it, on the rows whose video could be shown.
            On the others they count as not asked too, so that they compare in pairs. One that the rows do not allow is
            left out with a warning, and named under `controls_left_out`.
        ask_again (`int`, *optional*, defaults to 0): How many times a row is asked again whose response names no
            option, by sampling, until one does (DSI-Bench's habit).
        skip_missing (`bool`, *optional*, defaults to `False`): As for `score`.

    Raises:
        InputError: If there are no rows, or none of their videos can be shown.
    """
    if not len(rows):
        raise InputError("no rows to score: check the split and --limit")
    questions = question_rows(rows)
    rule = benchmark.rule if benchmark else None
    own, repeated = _answer(ask, _control(rows, shown), questions, shown, ask_again, rule)
    answers = {shown.name: own}
    places = [number for number, row in enumerate(own) if not reason_not_asked(row["response"])]
    if controls and not places:
        raise InputError("--controls: none of the videos could be shown, so there is nothing to compare")
    possible, left_out = _control_rows(rows.select(places), controls)
    for control, controlled in possible.items():
        answers[control.name] = list(own)
        part, _ = _answer(ask, controlled, [questions[number] for number in places], control, ask_again, rule)
        for number, row in zip(places, part, strict=True):
            answers[control.name][number] = row
    report = build_report(own, rule, skip_missing, benchmark.summaries if benchmark else None)
    report["input"] = {"video": shown.video, "options": shown.options, "seed": shown.seed}
    report["data"] = {"rows": len(questions), "sha256": data_hash(questions)}
    if ask_again:
        report["ask_again"] = {"times": ask_again, "rows": repeated}
    if possible:
        others = {control.name: answers[control.name] for control in possible}
        report["controls"] = report_controls(own, others, skip_missing)
    if left_out:
        report["controls_left_out"] = left_out
    return Evaluation(report, answers)


def _control(rows: "Dataset", shown: Shown) -> ControlledRows:
    return ControlledRows(rows, shown.video, shown.options, shown.seed)


def _control_rows(rows: "Dataset", controls: Sequence[Shown]) -> tuple[dict[Shown, ControlledRows], dict[str, str]]:
    """The rows under each control, and the controls that they do not allow with the reason.

    One that is not possible stops nothing: the others are worth hours of answers.
    """
    possible, left_out = {}, {}
    for control in controls:
        try:
            possible[control] = _control(rows, control)
        except InputError as error:
            left_out[control.name] = str(error)
            logger.warning("--controls: %s is left out: %s", control.name, error)
    return possible, left_out


def pool_groups(
    runs: Mapping[str, Mapping[str, Evaluation]], skip_missing: bool = False
) -> dict[str, dict[str, Evaluation]]:
    """The outcome on all questions of a group of benchmarks together, each question counted once.

    Args:
        runs (`Mapping[str, Mapping[str, Evaluation]]`): The outcome by benchmark and model.
        skip_missing (`bool`, *optional*, defaults to `False`): As for `score`.

    Returns:
        `dict[str, dict[str, Evaluation]]`: The outcome by group and model, for the groups of which all benchmarks were
        run. Ids begin with the benchmark's name, since they are unique in a benchmark alone.
    """
    members: dict[str, list[Benchmark]] = {}
    for benchmark in BENCHMARKS.values():
        if benchmark.group:
            members.setdefault(benchmark.group, []).append(benchmark)
    whole = {group: parts for group, parts in members.items() if all(part.name in runs for part in parts)}
    return {
        group: {
            model: _pool({part.name: runs[part.name][model] for part in parts}, parts[0].rule, skip_missing)
            for model in runs[parts[0].name]
        }
        for group, parts in whole.items()
    }


def _pool(evaluations: Mapping[str, Evaluation], rule: str | None, skip_missing: bool) -> Evaluation:
    first = next(iter(evaluations.values()))
    answers = {
        shown: [
            {**row, "id": f"{name}/{row['id']}"}
            for name, evaluation in evaluations.items()
            for row in evaluation.answers[shown]
        ]
        for shown in first.answers
        if all(shown in evaluation.answers for evaluation in evaluations.values())
    }
    own, *others = answers
    report = build_report(answers[own], rule, skip_missing)
    report |= {key: first.report[key] for key in ("input", "settings") if key in first.report}
    report["data"] = {"rows": len(answers[own]), "sha256": data_hash(answers[own])}
    if again := [one.report["ask_again"] for one in evaluations.values() if "ask_again" in one.report]:
        report["ask_again"] = {"times": again[0]["times"], "rows": sum(one["rows"] for one in again)}
    if others:
        report["controls"] = report_controls(answers[own], {other: answers[other] for other in others}, skip_missing)
    return Evaluation(report, answers)


def _answer(
    ask: Ask, controlled: ControlledRows, questions: Sequence[Mapping], shown: Shown, ask_again: int, rule: str | None
) -> tuple[list[dict], int]:
    """The questions as they were shown with their responses, and how many of them were asked again."""
    settings: dict[str, Any] = {"standing_still": shown.video == "first"}
    answered = [
        {**row, "response": response}
        for row, response in zip(
            ControlledRows(questions, options=shown.options, seed=shown.seed), ask(controlled, **settings), strict=True
        )
    ]
    policy = "strict" if rule else "tolerant"
    waiting = [number for number, row in enumerate(answered) if judge(row, policy, rule).unparsed] if ask_again else []
    repeated = len(waiting)
    for attempt in range(1, ask_again + 1):
        if not waiting:
            break
        part = _Part(controlled, waiting)
        responses = ask(part, sampling=Sampling(), sample=shown.seed * ask_again + attempt, **settings)
        for number, response in zip(waiting, responses, strict=True):
            answered[number]["response"] = response
        waiting = [number for number in waiting if judge(answered[number], policy, rule).unparsed]
    return answered, repeated


class _Part(Sequence):
    """Some of the rows of a sequence, read when they are needed."""

    def __init__(self, rows: ControlledRows, numbers: Sequence[int]):
        self._rows, self._numbers = rows, list(numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index):
        return self._rows[self._numbers[index]]

    def with_format(self, form: str | None) -> "_Part":
        return _Part(self._rows.with_format(form), self._numbers)

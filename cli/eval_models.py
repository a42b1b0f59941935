"""Evaluate several models, one on each device, and compare them in pairs."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from typing import TYPE_CHECKING

from ..modeling.errors import InputError
from .device import choose_device

if TYPE_CHECKING:
    from ..eval_tasks.evaluation import Evaluation

# A model and a device to the name of each task and its outcome.
Evaluate = Callable[[str, str], Iterable[tuple[str, "Evaluation"]]]


def check_models(models: Sequence[str]) -> None:
    """Check that models can be told apart.

    Raises:
        InputError: If one is named twice.
    """
    twice = next((model for model in models if models.count(model) > 1), None)
    if twice is not None:
        raise InputError(f"--models names {twice} twice: name each model once")


def choose_devices(names: str | None, models: int) -> list[str]:
    """The devices that models are spread over, at most one for each model.

    Args:
        names (`str`, *optional*): Comma-separated; by default all GPUs, or the CPU.
        models (`int`): How many models there are.

    Raises:
        InputError: If this machine has no such device.
    """
    import torch

    if names is not None:
        return [choose_device(name) for name in names.split(",")][:models]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())][:models] or [choose_device(None)]


def run_models(
    evaluate: Evaluate, models: Sequence[str], devices: Sequence[str]
) -> Iterator[tuple[str, str, "Evaluation"]]:
    """Evaluate each model, as many at a time as there are devices; a process for each of several devices.

    Args:
        evaluate (`Callable`): Evaluates one model; with several devices it must be one that can be pickled.
        models (`Sequence[str]`): The models.
        devices (`Sequence[str]`): Their devices, in turn.

    Yields:
        `tuple[str, str, Evaluation]`: Model, task and outcome, model after model.
    """
    if len(devices) == 1:
        for model in models:
            yield from ((model, task, evaluation) for task, evaluation in evaluate(model, devices[0]))
        return
    context = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU
    workers = [ProcessPoolExecutor(1, mp_context=context) for _ in devices]
    try:
        pending = [
            workers[number % len(workers)].submit(_collect, evaluate, model, devices[number % len(devices)])
            for number, model in enumerate(models)
        ]
        for model, outcome in zip(models, pending, strict=True):
            yield from ((model, task, evaluation) for task, evaluation in outcome.result())
    finally:
        for worker in workers:
            worker.shutdown(cancel_futures=True)


def _collect(evaluate: Evaluate, model: str, device: str) -> list[tuple[str, "Evaluation"]]:
    return list(evaluate(model, device))


def compare_models(runs: Mapping[str, Mapping[str, "Evaluation"]], skip_missing: bool) -> list[str]:
    """Compare every two models on each task, and note it in the report of the first of them under `against`.

    Args:
        runs (`Mapping[str, Mapping[str, Evaluation]]`): The outcome by task and model.
        skip_missing (`bool`): As for `compare_runs`.

    Returns:
        `list[str]`: A line for each pair.
    """
    from ..eval_tasks.report.build import compare_runs
    from ..eval_tasks.report.table import format_difference

    lines = []
    for task, evaluations in runs.items():
        for first, second in combinations(evaluations, 2):
            one, other = (next(iter(evaluations[model].answers.values())) for model in (first, second))
            comparison = compare_runs(one, other, skip_missing)
            evaluations[first].report.setdefault("against", {})[second] = comparison
            lines.append(f"{task}: {format_difference(comparison, first, second)}")
    return lines

"""Put scores where the Hub reads them: `.eval_results/*.yaml` of registered benchmarks, else `model-index`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, eval_result_entries_to_yaml, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from ..eval_tasks.report.table import describe_marks
from ..modeling.atomic import atomic_path
from ..modeling.errors import InputError
from .rendering import one_line

PIPELINE_TAG = "video-text-to-text"
FOLDER = ".eval_results"
# A dataset is a benchmark of the Hub if its repository has this file, which lists its tasks.
_REGISTRATION = "eval.yaml"
_UNREACHABLE = (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError)


@dataclass(frozen=True)
class Registered:
    """A task of a dataset that is registered as a benchmark.

    Attributes:
        dataset (`str`): Id of the dataset on the Hub.
        task (`str`): One of the tasks in its `eval.yaml`.
    """

    dataset: str
    task: str


def find_registered(benchmark: str, dataset: str | None) -> Registered | None:
    """The registered task that a benchmark's scores belong to; `None` where there is none, or no way to know.

    Args:
        benchmark (`str`): Its name, such as `"dsr_bench"`.
        dataset (`str`, *optional*): Id of its dataset on the Hub. Its file `eval.yaml` is read from there or from the
            local cache: the task with the benchmark's name, or the only one.
    """
    if dataset is None:
        return None
    try:
        path = hf_hub_download(dataset, _REGISTRATION, repo_type="dataset")
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (*_UNREACHABLE, yaml.YAMLError):
        return None
    listed = content.get("tasks") if isinstance(content, dict) else None
    tasks = [task["id"] for task in listed or () if isinstance(task, dict) and task.get("id")]
    if benchmark in tasks:
        return Registered(dataset, benchmark)
    return Registered(dataset, tasks[0]) if len(tasks) == 1 else None


def write_eval_results(
    folder: str | Path, reports: Mapping[str, Mapping], datasets: Mapping[str, str | None] | None = None
) -> list[Path]:
    """Write the scores of a model into its folder, for the Hub.

    Scores of a registered benchmark go to `.eval_results`, one file for the model's own input and one for each
    control, whose `notes` name it. All others go to the header of the model's card, under `model-index`.

    Args:
        folder (`str` or `Path`): A saved model with its card, `README.md`.
        reports (`Mapping[str, Mapping]`): For each benchmark what `build_report` returned.
        datasets (`Mapping[str, str]`, *optional*): Id on the Hub of each benchmark's dataset.

    Returns:
        `list[Path]`: The files that were written.

    Raises:
        InputError: If there is no card to write to.
    """
    folder = Path(folder)
    places = {name: find_registered(name, (datasets or {}).get(name)) for name in reports}
    indexed = {name: report for name, report in reports.items() if places[name] is None}
    card = _card_with(folder, indexed) if indexed else None
    written = []
    for name, report in reports.items():
        if place := places[name]:
            for variant, entry in _entries(place, report).items():
                path = folder / FOLDER / f"{_slug(name)}{_slug(variant)}.yaml"
                _write(path, yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True))
                written.append(path)
    if card is not None:
        _write(folder / "README.md", str(card))
        written.append(folder / "README.md")
    return written


def index_results(reports: Mapping[str, Mapping]) -> list[EvalResult]:
    """Entries of `model-index`: one for each benchmark as a whole, and for each of its tasks."""
    entries = []
    for benchmark, whole in reports.items():
        for task, numbers in [("", whole), *whole.get("tasks", {}).items()]:
            low, high = numbers["interval"]
            entries.append(
                EvalResult(
                    task_type=PIPELINE_TAG,
                    dataset_type=one_line(benchmark),
                    dataset_name=one_line(f"{benchmark} ({task})" if task else benchmark),
                    dataset_config=one_line(task) if task else None,
                    metric_type="accuracy",
                    metric_name="accuracy",
                    metric_value=round(numbers["accuracy"], 4),
                    metric_args={
                        "n": numbers["n"],
                        "interval_95": [round(low, 4), round(high, 4)],
                        "chance": round(numbers["chance"], 4),
                    },
                )
            )
    return entries


def _entries(place: Registered, report: Mapping) -> dict[str, EvalResultEntry]:
    """An entry for each variant: the empty name is the model's own input."""
    frames = (report.get("settings") or {}).get("frames")
    common = [f"answers read by the {report['policy']} policy", *([f"frames: {frames}"] if frames else [])]
    variants = {"": (report, describe_marks(report))}
    for name, control in (report.get("controls") or {}).items():
        variants[f"-{name}"] = (control, [f"control: {name}"])
    return {
        name: EvalResultEntry(
            dataset_id=place.dataset,
            task_id=place.task,
            value=round(100 * numbers["accuracy"], 2),
            notes=one_line("; ".join([*marks, *common])),
        )
        for name, (numbers, marks) in variants.items()
    }


def _card_with(folder: Path, reports: Mapping[str, Mapping]) -> ModelCard:
    """The folder's card with these scores in its header, in place of older ones of the same benchmarks."""
    path = folder / "README.md"
    if not path.is_file():
        raise InputError(f"{folder} has no README.md to put scores in: give a folder that a training wrote")
    card = ModelCard.load(path)
    results = index_results(reports)
    replaced = {entry.dataset_type for entry in results}
    kept = [entry for entry in card.data.eval_results or [] if entry.dataset_type not in replaced]
    card.data.eval_results = [*kept, *results]
    card.data.model_name = card.data.model_name or one_line(folder.resolve().name)
    return card


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)


def _write(path: Path, text: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

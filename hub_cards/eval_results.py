"""Put scores where the Hub reads them: `model-index` of the card, and `.eval_results/*.yaml` of its benchmarks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, ModelCard, eval_result_entries_to_yaml

from ..eval_tasks.report.table import describe_marks
from ..eval_tasks.tasks import BENCHMARKS
from ..modeling.atomic import atomic_path
from ..modeling.errors import InputError
from .model_cards import write_model_card
from .own_text import is_generated
from .rendering import one_line, short_name
from .run_facts import today
from .score_index import index_results
from .scores import OWN, slug, store_scores

FOLDER = ".eval_results"


@dataclass(frozen=True)
class Registered:
    """A task of a dataset that is registered as a benchmark.

    Attributes:
        dataset (`str`): Id of the dataset on the Hub.
        task (`str`): One of the tasks in its `eval.yaml`.
    """

    dataset: str
    task: str


def find_registered(benchmark: str) -> Registered | None:
    """The registered task that a benchmark's scores belong to, from the table of tasks; `None` where it names none.

    Args:
        benchmark (`str`): Its name, such as `"dsr_bench"`.
    """
    known = BENCHMARKS.get(benchmark)
    return Registered(*known.hub_benchmark) if known and known.hub_benchmark else None


def add_scores(
    folder: str | Path, reports: Mapping[str, Mapping], head: Mapping[str, Any], label: str = OWN
) -> list[Path]:
    """Put scores into a model's folder: as JSON below `scores/`, into its card, and where the Hub reads them.

    Args:
        folder (`str` or `Path`): A saved model with its card, `README.md`.
        reports (`Mapping[str, Mapping]`): For each benchmark what `build_report` returned.
        head (`Mapping[str, Any]`): As of [`store_scores`].
        label (`str`, *optional*): Whose they are, if not the model's own; these stand in the card's table alone.

    Returns:
        `list[Path]`: The files that were written.

    Raises:
        InputError: If there is no card to write to.
    """
    card = _find_card(Path(folder))
    reports = {short_name(name): report for name, report in reports.items()}  # own rows are named by their file
    written = store_scores(folder, reports, head, label)
    if label == OWN:
        written += write_eval_results(folder, reports, today())
    if is_generated(card.read_text(encoding="utf-8")):
        write_model_card(folder, draw=False)
        if label == OWN:  # with all scores safe: the model answers about the shipped clip
            write_model_card(folder)
    return list(dict.fromkeys([*written, card]))


def write_eval_results(folder: str | Path, reports: Mapping[str, Mapping], date: str | None = None) -> list[Path]:
    """Write a model's own scores where the Hub reads them.

    All go to the header of the model's card, under `model-index`; those of a benchmark that is registered on the Hub
    also to `.eval_results`, one file for the model's own input and one for each control, whose `notes` name it.

    Args:
        folder (`str` or `Path`): A saved model with its card, `README.md`.
        reports (`Mapping[str, Mapping]`): For each benchmark what `build_report` returned.
        date (`str`, *optional*): When they were measured.

    Returns:
        `list[Path]`: The files that were written.

    Raises:
        InputError: If there is no card to write to.
    """
    folder = Path(folder)
    path = _find_card(folder)
    card = _card_with(path, reports)
    written = []
    for name, report in reports.items():
        if place := find_registered(name):
            for variant, entry in _entries(place, report, date).items():
                file = folder / FOLDER / f"{slug(name)}{slug(variant)}.yaml"
                _write(file, yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True))
                written.append(file)
    _write(path, str(card))
    return [*written, path]


def _entries(place: Registered, report: Mapping, date: str | None) -> dict[str, EvalResultEntry]:
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
            date=date,
            notes=one_line("; ".join([*marks, *common])),
        )
        for name, (numbers, marks) in variants.items()
    }


def _find_card(folder: Path) -> Path:
    path = folder / "README.md"
    if not path.is_file():
        raise InputError(f"{folder} has no README.md to put scores in: give a folder that a training wrote")
    return path


def _card_with(path: Path, reports: Mapping[str, Mapping]) -> ModelCard:
    """A card with these scores in its header, in place of older ones of the same benchmarks."""
    card = ModelCard.load(path)
    results = index_results(reports)
    replaced = {entry.dataset_type for entry in results}
    kept = [entry for entry in card.data.eval_results or [] if entry.dataset_type not in replaced]
    card.data.eval_results = [*kept, *results]
    card.data.model_name = card.data.model_name or one_line(path.resolve().parent.name)
    return card


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

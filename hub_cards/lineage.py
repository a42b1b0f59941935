"""How a model came about: one record for each training stage, which travels with the model from stage to stage."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, ModelCard, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from ..modeling.atomic import atomic_path
from ..modeling.errors import InputError
from .licences import BASE_LICENCES, OTHER
from .rendering import is_hub_id
from .run_facts import code_commit, describe_machine, library_versions, package_version, today
from .settings import describe_settings

LINEAGE = "lineage.json"
_UNREACHABLE = (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError)
_COMMIT = re.compile(r"@([0-9a-f]{40})(?:/|$)")


@dataclass(frozen=True)
class Material:
    """What a stage started from or learned from.

    Attributes:
        name (`str`): A Hub id, or the name of a folder.
        revision (`str`, *optional*): Commit on the Hub.
        licences (`list[str]`): Hub ids, or names of licences that have none; empty if they are not known.
        configuration (`str`, *optional*): Of a data set.
        content (`str`, *optional*): SHA-256 of a data set's files, as its card has it.
        description (`str`, *optional*): A sentence.
    """

    name: str
    revision: str | None = None
    licences: list[str] = field(default_factory=list)
    configuration: str | None = None
    content: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        name (`str`): Such as `"DIFT"`.
        model ([`Material`], *optional*): What it started from; `None` from nothing.
        data (`list[Material]`): What it learned from.
        settings (`dict`): As of `describe_settings`.
        steps (`int`, *optional*): Optimizer steps.
        date (`str`): Of its end, as `2026-11-27`.
        version, commit (`str`, *optional*): Of this package.
        versions (`dict[str, str]`): Of the libraries.
        machine (`str`, *optional*): What computed.
    """

    name: str
    model: Material | None = None
    data: list[Material] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    date: str | None = None
    version: str | None = None
    commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    machine: str | None = None

    def licences(self) -> dict[str, list[str]]:
        """The licences of the start and of the data, by name."""
        return {one.name: one.licences for one in [*([self.model] if self.model else []), *self.data]}


def read_lineage(folder: str | PathLike) -> list[Stage]:
    """The stages of a model, the first one first; nothing where there is no record.

    Args:
        folder (`str` or `PathLike`): A saved model.

    Raises:
        InputError: If the record cannot be read.
    """
    path = Path(folder) / LINEAGE
    if not path.is_file():
        return []
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))["stages"]
        return [_stage(one) for one in stages]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is no record of training stages ({error}): delete it") from error


def write_lineage(folder: str | PathLike, stages: list[Stage]) -> None:
    """Write the record of a model's stages into its folder."""
    text = json.dumps({"stages": [asdict(stage) for stage in stages]}, indent=1, ensure_ascii=False) + "\n"
    with atomic_path(Path(folder) / LINEAGE) as temporary:
        temporary.write_text(text, encoding="utf-8")


def record_training(
    folder: str | PathLike,
    trainer: Any,
    model: str | None = None,
    dataset: str | None = None,
    configuration: str | None = None,
) -> None:
    """Write the record of a model that a trainer has trained, after the stages of the one that it started from.

    Args:
        folder (`str` or `PathLike`): The saved model.
        trainer ([`~transformers.Trainer`]): With its settings, its state and its rows.
        model (`str`, *optional*): Folder or Hub id that it started from; by default where its weights came from.
        dataset (`str`, *optional*): Folder, file or Hub id of its rows.
        configuration (`str`, *optional*): Of the rows.
    """
    trained = trainer.accelerator.unwrap_model(trainer.model)
    trained = trained.get_base_model() if hasattr(trained, "get_base_model") else trained
    start = model or trained.name_or_path
    commit = getattr(trained.config, "_commit_hash", None)
    rows = getattr(trainer, "train_dataset", None)
    data = [] if dataset is None else [describe_data(dataset, configuration, _rows_commit(rows))]
    new = Stage(
        name=_name_stage(trainer),
        model=describe_model(start, commit) if start else None,
        data=data,
        settings=describe_settings(trainer.args) | _rewards(trainer),
        steps=trainer.state.global_step,
        machine=describe_machine(trainer.args.world_size),
        **facts_of_today(),
    )
    write_lineage(folder, [*(_earlier_stages(start, commit) if start else []), new])


def facts_of_today() -> dict[str, Any]:
    """The fields of a [`Stage`] that say when and with which code it ran."""
    return {
        "date": today(),
        "version": package_version(),
        "commit": code_commit(),
        "versions": library_versions(),
    }


def describe_model(model: str, revision: str | None = None) -> Material:
    """Name and licence of a model by its folder or Hub id.

    Args:
        model (`str`): Folder or Hub id.
        revision (`str`, *optional*): Commit on the Hub.
    """
    if is_hub_id(model):
        known = BASE_LICENCES.get(model)
        return Material(model, revision, [known.key] if known else [])
    return Material(Path(model).resolve().name, licences=_header_licences(Path(model), ModelCard))


def describe_data(dataset: str, configuration: str | None = None, revision: str | None = None) -> Material:
    """Name, licences and content of a data set by its folder, file or Hub id.

    Args:
        dataset (`str`): Folder, file or Hub id.
        configuration (`str`, *optional*): Which of its configurations.
        revision (`str`, *optional*): Commit on the Hub.
    """
    if is_hub_id(dataset):
        return Material(dataset, revision, _hub_licences(dataset, revision), configuration)
    place = Path(dataset)
    header = _header(place, DatasetCard)
    content = next(
        (one.get("description") for one in header.get("configs") or () if one.get("config_name") == configuration),
        None,
    )
    return Material(
        place.resolve().name,
        licences=_header_licences(place, DatasetCard),
        configuration=configuration,
        content=content if isinstance(content, str) else None,
        description=header.get("pretty_name"),
    )


def _earlier_stages(model: str, revision: str | None) -> list[Stage]:
    """The stages of a folder, or of a repository whose record can be reached."""
    if not is_hub_id(model):
        return read_lineage(model)
    try:
        return read_lineage(Path(hf_hub_download(model, LINEAGE, revision=revision)).parent)
    except (*_UNREACHABLE, InputError):
        return []


def _stage(fields: Mapping[str, Any]) -> Stage:
    values = dict(fields)
    model, data = values.pop("model", None), values.pop("data", [])
    return Stage(model=Material(**model) if model else None, data=[Material(**one) for one in data], **values)


def _header(folder: Path, card: type[ModelCard] | type[DatasetCard]) -> dict[str, Any]:
    try:
        return card.load(folder / "README.md", ignore_metadata_errors=True).data.to_dict()
    except (OSError, ValueError):
        return {}


def _header_licences(folder: Path, card: type[ModelCard] | type[DatasetCard]) -> list[str]:
    header = _header(folder, card)
    named = header.get("license") or []
    licences = [named] if isinstance(named, str) else list(named)
    return [header.get("license_name") or one if one == OTHER else one for one in licences]


def _hub_licences(dataset: str, revision: str | None) -> list[str]:
    """The licences in a data set's card, if the Hub, or the cache that `load_dataset` filled, has it."""
    try:
        path = Path(hf_hub_download(dataset, "README.md", repo_type="dataset", revision=revision))
    except _UNREACHABLE:
        return []
    return _header_licences(path.parent, DatasetCard)


def _rows_commit(rows: Any) -> str | None:
    """The commit that rows of the Hub were read at."""
    checksums = getattr(getattr(rows, "info", None), "download_checksums", None) or {}
    found = {match[1] for address in checksums if (match := _COMMIT.search(address))}
    return found.pop() if len(found) == 1 else None


def _name_stage(trainer: Any) -> str:
    tags = set(trainer._tag_names)
    return next((name for name in ("4DRL", "DIFT") if name.lower() in tags), type(trainer).__name__)


def _rewards(trainer: Any) -> dict[str, list[str]]:
    names = getattr(trainer, "reward_func_names", None)
    return {"reward_funcs": list(names)} if names else {}

"""The verdict of `fourdthinker diagnose` in a model's folder, for its card."""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ..modeling.atomic import atomic_path
from ..modeling.errors import InputError
from .rendering import short_name
from .run_facts import today

DIAGNOSIS = "diagnosis.json"


def store_diagnosis(folder: str | PathLike, tasks: Mapping[str, Mapping], settings: Mapping[str, Any]) -> Path:
    """Put diagnoses into the folder of the model that they are of, in place of earlier ones.

    Args:
        folder (`str` or `PathLike`): The model.
        tasks (`Mapping[str, Mapping]`): For each task what `diagnose` returned.
        settings (`Mapping[str, Any]`): Of the run.
    """
    path = Path(folder) / DIAGNOSIS
    with atomic_path(path) as temporary:
        found = {
            "date": today(),
            "settings": dict(settings),
            "tasks": {short_name(name): one for name, one in tasks.items()},
        }
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return path


def describe_diagnosis(folder: str | PathLike) -> list[str]:
    """The verdicts in a model's folder as sentences, one a task; nothing where it was not diagnosed.

    Raises:
        InputError: If the file is none that `fourdthinker diagnose` writes.
    """
    path = Path(folder) / DIAGNOSIS
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        when = f", {found['date']}" if found.get("date") else ""
        return [
            f"{task} ({one['n']} questions, {len(one['controls'])} controls{_read_by(one)}{when}): "
            f"{one['verdict']['sentence']} ({one['verdict']['reason']})."
            for task, one in found["tasks"].items()
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} holds no result of `fourdthinker diagnose` ({error}): delete it") from error


def _read_by(diagnosis: Mapping[str, Any]) -> str:
    return ", answers by restricted choice" if diagnosis.get("reading") == "choice" else ""

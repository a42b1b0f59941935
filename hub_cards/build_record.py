"""How a data set was built: a record in its folder, from which its card says how to build it again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..modeling.atomic import atomic_path
from ..modeling.errors import InputError
from .run_facts import code_commit, package_version

BUILD = "build.json"


@dataclass(frozen=True)
class BuildRecord:
    """What a build was made from, and how.

    Attributes:
        command (`str`, *optional*): The command that builds it again, without paths.
        seed (`int`, *optional*): Its random seed.
        sources (`dict[str, list[str]]`): What rows were made from, each with its licences.
        description (`str`, *optional*): A paragraph for the card.
        version, commit (`str`, *optional*): Of this package.
    """

    command: str | None = None
    seed: int | None = None
    sources: dict[str, list[str]] = field(default_factory=dict)
    description: str | None = None
    version: str | None = None
    commit: str | None = None


def record_build(
    folder: Path,
    command: Sequence[str],
    seed: int | None,
    sources: Mapping[str, Sequence[str]],
    description: str | None = None,
) -> None:
    """Write the record of a build into its folder.

    Args:
        folder (`Path`): The data set.
        command (`Sequence[str]`): Words of the command that builds it again, without paths of this machine.
        seed (`int`, *optional*): Its random seed.
        sources (`Mapping[str, Sequence[str]]`): What rows were made from, each with its licences.
        description (`str`, *optional*): A paragraph for the card.
    """
    import shlex

    named = {name: list(licences) for name, licences in sources.items()}
    record = BuildRecord(shlex.join(command), seed, named, description, package_version(), code_commit())
    with atomic_path(folder / BUILD) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_build(folder: Path) -> BuildRecord:
    """The record of a build; an empty one where there is none.

    Raises:
        InputError: If it cannot be read.
    """
    path = folder / BUILD
    if not path.is_file():
        return BuildRecord()
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return BuildRecord(**found)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is no record of a build ({error}): delete it, or build the data set again"
        ) from error

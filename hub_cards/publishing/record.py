"""`publish.json` beside a folder: where it was published, and as which commit."""

import datetime
import json
from pathlib import Path
from typing import Any

from ...modeling.atomic import atomic_path

RECORD = "publish.json"


def record_path(folder: Path) -> Path:
    """Where the record of a folder is; it holds one entry for each folder beside it."""
    return folder.resolve().parent / RECORD  # not of `folder/..`, which is in it


def write_record(folder: Path, repository: str, kind: str, commit: str, tag: str | None, url: str) -> Path:
    """Note a publication, in the place of the folder's last one.

    Returns:
        `Path`: The record.

    Raises:
        InputError: If nothing can be written there.
    """
    path = record_path(folder)
    entries = read_records(path)
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"repository": repository, "kind": kind, "commit": commit, "tag": tag, "date": date, "url": url}
    with atomic_path(path) as temporary:
        text = json.dumps({**entries, folder.resolve().name: entry}, indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def read_records(path: Path) -> dict[str, Any]:
    """The entries of a record by folder name; none where there is no such file."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}

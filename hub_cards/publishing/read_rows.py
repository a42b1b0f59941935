"""Print what a dataset holds, for comparison: `read_rows.py FOLDER_OR_NAME [REVISION]`.

For each configuration and split the number of rows, and a hash of the first row as a plain and as a streamed dataset
gives it. It runs as a script, without this package.
"""

import hashlib
import json
import sys
from typing import Any

from datasets import get_dataset_config_names, load_dataset


def read_rows(place: str, revision: str | None = None) -> dict[str, Any]:
    """Counts and first rows of every configuration and split.

    Args:
        place (`str`): A folder, or a name on the Hub.
        revision (`str`, *optional*): A commit or tag.
    """
    found: dict[str, Any] = {}
    for config in get_dataset_config_names(place, revision=revision):
        plain = load_dataset(place, config, revision=revision)
        streamed = load_dataset(place, config, revision=revision, streaming=True)
        found[config] = {
            split: {"rows": len(rows), "first": _hash_first(rows), "streamed": _hash_first(streamed[split])}
            for split, rows in plain.items()
        }
    return found


def _hash_first(rows: Any) -> str | None:
    """A hash of the first row as it is stored, images undecoded."""
    first = next(iter(rows.with_format("arrow").iter(batch_size=1)), None)
    if first is None:
        return None
    return hashlib.sha256(repr(first.to_pylist()).encode()).hexdigest()


if __name__ == "__main__":
    print(json.dumps(read_rows(*sys.argv[1:])))

"""Terms of the data sets that come in a layout."""

import re
from pathlib import Path

_CARD = "README.md"
_HEADER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_LICENCE = re.compile(r"^license:\s*['\"]?([a-z0-9][a-z0-9.-]*)['\"]?\s*$", re.MULTILINE)
_MAX_HEADER = 65536  # letters of a card
# Sets that are published in ViPE's layout, by the name of their repository; the layout itself is also what the tool
# writes of anybody's videos.
NAMED_SETS = {
    "vipe-dynpose-100kpp": "cc-by-nc-4.0",
    "vipe-wild-sdg-1m": "cc-by-nc-4.0",
    "vipe-web360": "cc-by-4.0",
}
LAYOUT_LICENCES = {"spatialvid": "cc-by-nc-sa-4.0"}


def find_licence(root: Path, layout: str) -> str | None:
    """Hub id of the terms of a folder in a layout: by the set's name, its card, or its layout; `None` if unknown.

    Args:
        root (`Path`): The folder of the layout.
        layout (`str`): What it is called.
    """
    if layout == "vipe":
        for folder in root.resolve().parts[::-1]:
            for name, licence in NAMED_SETS.items():
                if name in folder.lower():
                    return licence
    return _card_licence(root) or LAYOUT_LICENCES.get(layout)


def _card_licence(root: Path) -> str | None:
    try:
        with (root / _CARD).open(encoding="utf-8") as file:
            header = _HEADER.match(file.read(_MAX_HEADER))
    except (OSError, ValueError):
        return None
    found = _LICENCE.search(header[1]) if header else None
    return found[1] if found else None

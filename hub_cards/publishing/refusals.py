"""Everything for which a folder is not published, found before anything is sent."""

from collections.abc import Collection
from pathlib import Path

from .card_header import find_header_faults
from .code_files import find_code_faults
from .findings import Finding, find_file_faults
from .folder import LocalFolder
from .media_names import find_media_faults
from .source_licences import find_licence_faults
from .weights import find_weight_faults


def find_faults(folder: LocalFolder, kind: str) -> list[Finding]:
    """Everything in a folder that must not be published, in the order of its files.

    Args:
        folder ([`LocalFolder`]): As it is to be sent; hashes are not needed.
        kind (`str`): One of `"model"`, `"dataset"`, `"space"`.
    """
    found = [Finding(name, "is a link", "put the file itself in its place, e.g. by `cp -rL`") for name in folder.links]
    found += [Finding(name, "is neither a file nor a folder", f"delete {folder.path / name}") for name in folder.odd]
    for name, file in folder.files.items():
        found += find_file_faults(name, file, folder.path)
    if kind == "model":
        found += find_weight_faults(folder)
    elif "config.json" in folder.files and any(name.endswith(".safetensors") for name in folder.files):
        found.append(
            Finding("config.json", f"belongs to a model, and this is to be a {kind}", "publish it as a model")
        )
    if kind == "dataset":
        found += find_media_faults(folder)
    found += find_code_faults(folder, kind)
    headers = find_header_faults(folder, kind)
    return found + headers + ([] if headers else find_licence_faults(folder, kind))


def describe_faults(folder: Path, faults: Collection[Finding]) -> str:
    """One line for everything that was found: the first faults whole, then how many more there are."""
    shown = list(faults)[:3]
    more = len(faults) - len(shown)
    rest = f"; and {more} more" if more else ""
    return f"{folder} cannot be published: {'; '.join(map(str, shown))}{rest} (or let NAME pass by --allow NAME)"

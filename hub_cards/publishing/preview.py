"""Show what would be published: files and sizes, what changes, the licence, and the beginning of the card."""

import re
from collections.abc import Iterator

from .folder import LocalFolder
from .hub_access import RemoteState
from .preparation import CARD
from .source_licences import describe_licences

_FIRST_SCREEN = 24  # lines
_LISTED = 30  # files of one state


def describe_plan(
    folder: LocalFolder, repository: str, kind: str, before: RemoteState | None, private: bool
) -> Iterator[str]:
    """Lines that show a publication before it begins.

    Args:
        folder ([`LocalFolder`]): As it is to be sent.
        repository (`str`): Where.
        kind (`str`): `"model"`, `"dataset"` or `"space"`.
        before ([`RemoteState`], *optional*): What is there; `None` where the Hub was not asked.
        private (`bool`): Of a repository that is created.
    """
    count = len(folder.files)
    files = f"{count} file" if count == 1 else f"{count} files"
    yield f"{repository} ({kind}, {_visibility(before, private)}): {files}, {format_bytes(folder.size)}"
    yield from _describe_files(folder, before)
    if folder.left_out:
        yield f"left out: {', '.join(folder.left_out)}"
    yield describe_licences(folder)
    yield from _first_screen(folder.text(CARD))


def _visibility(before: RemoteState | None, private: bool) -> str:
    asked = "private" if private else "public"
    if before is None:
        return f"not compared with the Hub; {asked} if it is new"
    if before.head is None:
        return f"new and {asked}"
    return f"{'private' if before.private else 'public'}, at {before.head[:7]}"


def _describe_files(folder: LocalFolder, before: RemoteState | None) -> Iterator[str]:
    there = before.files if before else {}
    differing = before.differing(folder) if before else list(folder.files)
    states = {
        "new": [name for name in differing if name not in there],
        "changed": [name for name in differing if name in there],
        "deleted": before.stale(folder) if before else [],
    }
    width = max((len(name) for names in states.values() for name in names[:_LISTED]), default=0)
    for state, names in states.items():
        for name in names[:_LISTED]:
            size = format_bytes(folder.files[name].size) if name in folder.files else ""
            yield f"  {state:<8} {name:<{width}} {size:>9}".rstrip()
        if len(names) > _LISTED:
            yield f"  {state:<8} and {len(names) - _LISTED} more"
    same = len(folder.files) - len(differing)
    if same:
        yield f"  {same} unchanged"


def _first_screen(card: str | None) -> Iterator[str]:
    """The first lines of a card without its header."""
    if card is None:
        return
    body = re.sub(r"\A\ufeff?---\r?\n.*?\r?\n---[ \t]*\r?\n", "", card, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL).strip("\n")
    yield f"--- {CARD} ---"
    lines = body.splitlines()
    yield from lines[:_FIRST_SCREEN]
    if len(lines) > _FIRST_SCREEN:
        yield f"--- {len(lines) - _FIRST_SCREEN} more lines ---"


def format_bytes(size: int) -> str:
    """A size with its unit: `950 B`, `4.3 MB`."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, _ = value / 1000, units.pop(0)
    return f"{size} B" if units[0] == "B" else f"{value:.1f} {units[0]}"

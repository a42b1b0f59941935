"""What gates found: the table that commands print, and the section of a dataset's card."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...modeling.atomic import atomic_path

Outcome = Literal["pass", "FAIL", "not tested"]

# The last line of a card that this package writes; what stands below it is somebody's own.
CARD_END = "<!-- end of the generated card -->"
_WIDTH = 80
_HEADER = ("gate", "rows", "chance", "found", "95 % interval", "outcome")
_SECTION = re.compile(r"\n*<!-- gates -->.*?<!-- end of gates -->\n*", re.DOTALL)


@dataclass(frozen=True)
class Gate:
    """One test of a dataset.

    Attributes:
        group (`str`): The task that was tested, or what the rows have in common.
        name (`str`): What was tested.
        outcome (`str`): `"pass"`, `"FAIL"` or `"not tested"`.
        rows (`int`): Over how many rows.
        chance (`float`, *optional*): What a share should be.
        found (`float` or `int`): A share, or a count of faults.
        interval (`str`): Of a share, for the table.
        reason (`str`): A sentence on what failed, or why nothing was tested.
    """

    group: str
    name: str
    outcome: Outcome
    rows: int
    chance: float | None = None
    found: float | int | None = None
    interval: str = ""
    reason: str = ""


@dataclass(frozen=True)
class GateReport:
    """Every gate of a dataset.

    Attributes:
        gates (`tuple[Gate, ...]`): In the order of the table.
        notes (`tuple[str, ...]`): Sentences on how they were tested.
    """

    gates: tuple[Gate, ...]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> list[Gate]:
        """The gates that failed."""
        return [gate for gate in self.gates if gate.outcome == "FAIL"]

    def __str__(self) -> str:
        is_tested = any(gate.outcome != "not tested" for gate in self.gates)
        lines = _table(self.gates) if is_tested else []
        reasons = [f"{gate.name}, {gate.group}: {gate.reason}" for gate in self.failed]
        reasons += dict.fromkeys(gate.reason for gate in self.gates if gate.outcome == "not tested")
        for reason in (*reasons, *self.notes):
            lines += ["", *textwrap.wrap(reason, _WIDTH, break_long_words=False)]
        return "\n".join([*lines, "", self.verdict]).lstrip()

    @property
    def verdict(self) -> str:
        """The outcome in a line."""
        if self.failed:
            return f"{len(self.failed)} of {len(self.gates)} gates failed"
        untested = sum(gate.outcome == "not tested" for gate in self.gates)
        return f"no gate failed; {untested} could not be tested" if untested else "all gates passed"


def write_section(folder: Path, report: GateReport) -> None:
    """Put a report into the card of a dataset folder, in place of an earlier one.

    Args:
        folder (`Path`): With a `README.md`.
        report ([`GateReport`]): What to write.

    Raises:
        InputError: If the card cannot be written.
    """
    card = folder / "README.md"
    text, end, own = _SECTION.sub("\n\n", card.read_text(encoding="utf-8")).partition(CARD_END)
    note = "**These rows fail a gate: see the table before training or scoring on them.**\n\n" if report.failed else ""
    section = f"<!-- gates -->\n## Gates\n\n{note}```text\n{report}\n```\n<!-- end of gates -->\n"
    with atomic_path(card) as temporary:
        tail = f"\n{end}{own}" if end else ""
        temporary.write_text(f"{text.rstrip()}\n\n{section}{tail}", encoding="utf-8")


def keep_section(card: str, before: str) -> str:
    """A card with the section of gates of the one before it, if that had one.

    Args:
        card (`str`): The new one, with its last line.
        before (`str`): The one that it replaces.
    """
    found = _SECTION.search(before)
    return card if found is None else card.replace(CARD_END, f"{found[0].strip()}\n\n{CARD_END}")


def _table(gates: Sequence[Gate]) -> list[str]:
    cells = [(f"  {gate.name}", *_numbers(gate)) for gate in gates]
    widths = [max(map(len, column)) for column in zip(_HEADER, *cells, strict=True)]
    lines = [_line(_HEADER, widths), "  ".join("-" * width for width in widths)]
    group = None
    for gate, row in zip(gates, cells, strict=True):
        if gate.group != group:
            lines.append(gate.group)
            group = gate.group
        lines.append(_line(row, widths))
    return lines


def _numbers(gate: Gate) -> tuple[str, ...]:
    chance = "" if gate.chance is None else f"{100 * gate.chance:.1f} %"
    found = "" if gate.found is None else str(gate.found)
    if isinstance(gate.found, float):
        found = f"{100 * gate.found:.1f} %"
    return str(gate.rows), chance, found, gate.interval, gate.outcome


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *middle, last = zip(cells, widths, strict=True)
    columns = (first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in middle), last[0])
    return "  ".join(columns).rstrip()

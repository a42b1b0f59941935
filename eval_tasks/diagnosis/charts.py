"""Charts of a diagnosis as inline SVG, legible at the width of a phone."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .controls import OWN

INK, BAR, FAINT, MARK = "#1c2126", "#0072b2", "#8cc0df", "#d55e00"  # told apart by colour-blind readers
_WIDTH, _NAMES, _RIGHT, _ROW, _FOOT, _BARS = 360, 118, 20, 20, 24, 110
_MOST_BINS = 20


def draw_changes(diagnosis: Mapping[str, Any]) -> str:
    """The change of accuracy under each control, with its interval, the margin shaded, what could be shown marked."""
    controls = diagnosis["controls"]
    ends = [end for numbers in controls.values() for end in numbers["change_interval"]]
    margin = diagnosis["margin"]
    axis = _Axis(100 * min([-2 * margin, *ends]), 100 * max([2 * margin, *ends]), len(controls))
    (left, right), bottom = (axis.place(-100 * margin), axis.place(100 * margin)), axis.bottom
    parts = [f'<rect class="band" x="{left:.1f}" y="0" width="{right - left:.1f}" height="{bottom}"/>', *axis.grid()]
    for row, (name, numbers) in enumerate(controls.items()):
        low, high = (axis.place(100 * end) for end in numbers["change_interval"])
        middle, y = axis.place(100 * numbers["change"]), _middle(row)
        if numbers["smallest_change"] is not None:
            x = axis.place(-100 * numbers["smallest_change"])
            if x >= _NAMES:
                parts.append(f'<path stroke="{MARK}" stroke-width="2" d="M{x:.1f} {y - 6}v12"/>')
        parts.append(f'<path stroke="{BAR}" stroke-width="2" d="M{low:.1f} {y}H{high:.1f}"/>')
        parts.append(f'<circle cx="{middle:.1f}" cy="{y}" r="4" fill="{BAR}"/>')
        parts.append(_name(row, name))
    return axis.svg(parts, "change of accuracy under each control, in points")


def draw_accuracies(diagnosis: Mapping[str, Any]) -> str:
    """Accuracies as bars with intervals, and the chance level."""
    entries = [(OWN, diagnosis["own"]), *diagnosis["controls"].items()]
    axis = _Axis(0, 100, len(entries))
    parts = axis.grid(" %")
    for row, (label, numbers) in enumerate(entries):
        parts += _bar(axis, row, label, 100 * numbers["accuracy"], BAR if row == 0 else FAINT)
        low, high = (axis.place(100 * end) for end in numbers["interval"])
        parts.append(f'<path stroke="{INK}" stroke-width="1.5" d="M{low:.1f} {_middle(row)}H{high:.1f}"/>')
    x = axis.place(100 * diagnosis["own"]["chance"])
    parts.append(f'<path stroke="{MARK}" stroke-dasharray="4 3" d="M{x:.1f} 0V{axis.bottom}"/>')
    return axis.svg(parts, "accuracy of the model's own answers and under each control")


def draw_shares(shares: Mapping[str, float], description: str) -> str:
    """Shares of one as bars, each with its name."""
    axis = _Axis(0, 100, len(shares))
    parts = axis.grid(" %")
    for row, (label, share) in enumerate(shares.items()):
        parts += _bar(axis, row, label, 100 * share, BAR)
    return axis.svg(parts, description)


def draw_cosines(cosines: Mapping[str, float], description: str) -> str:
    """Cosines as bars from zero, each with its name."""
    axis = _Axis(min(0.0, *cosines.values()) - 0.02, 1, len(cosines))
    parts = axis.grid()
    for row, (label, value) in enumerate(cosines.items()):
        parts += _bar(axis, row, label, value, BAR)
    return axis.svg(parts, description)


def draw_histogram(
    values: Sequence[float], span: tuple[float, float], description: str, mark: float | None = None
) -> str:
    """How often values fall into each of equal bins.

    Args:
        values (`Sequence[float]`): The values, within `span`.
        span (`tuple[float, float]`): From where to where.
        description (`str`): What is drawn, for readers who cannot see it.
        mark (`float`, *optional*): A value to mark by a dashed line.
    """
    low, high = span
    counts = [0] * _MOST_BINS
    for value in values:
        counts[min(_MOST_BINS - 1, int((value - low) / (high - low) * _MOST_BINS))] += 1
    axis = _Axis(low, high, 0, left=_RIGHT, height=_BARS)
    width = (high - low) / _MOST_BINS
    parts = []
    for number, count in enumerate(counts):
        left, right = axis.place(low + number * width), axis.place(low + (number + 1) * width)
        tall = (axis.bottom - 8) * count / max(counts)
        place = f'x="{left:.1f}" y="{axis.bottom - tall:.1f}" width="{right - left - 1:.1f}" height="{tall:.1f}"'
        parts.append(f'<rect {place} fill="{BAR}"/>')
    parts += axis.grid()
    if mark is not None and low <= mark <= high:
        x = axis.place(mark)
        parts.append(f'<path stroke="{MARK}" stroke-width="2" stroke-dasharray="4 3" d="M{x:.1f} 0V{axis.bottom}"/>')
    return axis.svg(parts, description)


class _Axis:
    """A horizontal axis below rows of a chart."""

    def __init__(self, low: float, high: float, rows: int, left: int = _NAMES, height: int = 0):
        self._low, self._high, self._left = low, high, left
        self.bottom = height or rows * _ROW

    def place(self, value: float) -> float:
        width = _WIDTH - _RIGHT - self._left
        return self._left + (value - self._low) / (self._high - self._low) * width

    def grid(self, unit: str = "") -> list[str]:
        """Lines at round values, which stand below."""
        parts = []
        for value in _find_ticks(self._low, self._high):
            x = self.place(value)
            parts.append(f'<path class="{"zero" if value == 0 else "grid"}" d="M{x:.1f} 0V{self.bottom}"/>')
            parts.append(f'<text x="{x:.1f}" y="{self.bottom + 16}" text-anchor="middle">{value:g}{unit}</text>')
        return parts

    def svg(self, parts: Sequence[str], description: str) -> str:
        head = f'<svg viewBox="0 0 {_WIDTH} {self.bottom + _FOOT}" role="img" aria-label="{escape(description)}">'
        return head + "".join(parts) + "</svg>"


def _bar(axis: _Axis, row: int, label: str, value: float, colour: str) -> list[str]:
    start, end = sorted((axis.place(0), axis.place(value)))
    top, height = row * _ROW + 4, _ROW - 8
    rectangle = f'<rect x="{start:.1f}" y="{top}" width="{end - start:.1f}" height="{height}" fill="{colour}"/>'
    return [rectangle, _name(row, label)]


def _name(row: int, label: str) -> str:
    return f'<text class="name" x="{_NAMES - 8}" y="{_middle(row) + 4}" text-anchor="end">{escape(label)}</text>'


def _middle(row: int) -> int:
    return row * _ROW + _ROW // 2


def _find_ticks(low: float, high: float) -> list[float]:
    """Three to six round values within a range."""
    span = high - low
    step = next(base * 10.0**power for power in range(-6, 9) for base in (1, 2, 5) if span / (base * 10.0**power) < 6)
    first = int(low // step)
    values = (round(number * step, 9) + 0.0 for number in range(first, first + 9))
    return [value for value in values if low <= value <= high]

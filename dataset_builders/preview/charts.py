"""Small line charts as inline SVG, legible at the width of a phone."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup, escape

from .curves import Curve

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a8327d", "#b07d00", "#3b9ede")  # told apart by colour-blind readers
_WIDTH, _HEIGHT = 360, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 24
_LABEL_HEIGHT = 28
_MIN_SPAN = 1e-6


def time_chart(curves: Sequence[Curve], unit: str, span: tuple[float, float] | None = None, least: float = 1.0) -> str:
    """Curves over seconds, with a span of time shaded.

    Args:
        curves (`Sequence[Curve]`): Drawn in the order of `COLOURS`.
        unit (`str`): Of the values.
        span (`tuple[float, float]`, *optional*): Seconds to shade.
        least (`float`, *optional*, defaults to 1.0): The smallest range of values to draw: noise must not look large.

    Returns:
        `str`: SVG text, safe in a page; empty where there is nothing to draw.
    """
    values = [value for curve in curves for value in curve.values if math.isfinite(value)]
    if not values:
        return Markup("")
    seconds = [second for curve in curves for second in curve.seconds]
    frame = _Frame((min(seconds), max(seconds)), _widen(min(values), max(values), least))
    parts = [frame.shade(*span)] if span else []
    parts += [*frame.grid_up(), *frame.grid_across(" s"), frame.note(unit)]
    parts += [
        frame.line(zip(curve.seconds, curve.values, strict=True), COLOURS[number % len(COLOURS)])
        for number, curve in enumerate(curves)
    ]
    return _svg(parts, ", ".join(curve.name for curve in curves) + " over time")


def path_chart(path: np.ndarray, unit: str) -> str:
    """A camera's path from above, right to the right and forward up, at one scale; a ring marks its start.

    Args:
        path (`np.ndarray` of shape `(T, 3)`): Right, down, forward.
        unit (`str`): Of the path.
    """
    if len(path) < 2:
        return Markup("")
    right, forward = path[:, 0], path[:, 2]
    shape = (_WIDTH - _LEFT - _RIGHT) / (_HEIGHT - _TOP - _BOTTOM)
    tall = max(np.ptp(forward), np.ptp(right) / shape, 0.05) * 1.15
    middle = (right.max() + right.min()) / 2, (forward.max() + forward.min()) / 2
    half = tall * shape / 2, tall / 2
    frame = _Frame((middle[0] - half[0], middle[0] + half[0]), (middle[1] - half[1], middle[1] + half[1]))
    parts = [*frame.grid_up(), *frame.grid_across(), frame.note("forward"), frame.note("right", at_end=True)]
    parts.append(frame.line(zip(right, forward, strict=True), COLOURS[0], dots=True))
    x, y = frame.place(float(right[0]), float(forward[0]))
    parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="none" stroke="{COLOURS[1]}" stroke-width="2"/>')
    return _svg(parts, f"the camera's path from above, in {unit}")


def label_chart(labels: Sequence[tuple[str, float, float]], seconds: tuple[float, float]) -> str:
    """Labels over the time that they hold for, one below the other.

    Args:
        labels (`Sequence[tuple[str, float, float]]`): Text, start and end.
        seconds (`tuple[float, float]`): What the chart spans.
    """
    if not labels:
        return Markup("")
    height = _TOP + _LABEL_HEIGHT * len(labels) + _BOTTOM
    frame = _Frame(seconds, (len(labels), 0), height, left=_RIGHT)
    parts = frame.grid_across(" s")
    for number, (text, start, end) in enumerate(labels):
        (x, y), (stop, _) = frame.place(max(start, seconds[0]), number), frame.place(min(end, seconds[1]), number)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<text class="label" x="{_RIGHT}" y="{y + 12:.1f}">{escape(text)}</text>')
        parts.append(f'<rect x="{x:.1f}" y="{y + 17:.1f}" width="{max(stop - x, 2):.1f}" height="6" fill="{colour}"/>')
    return _svg(parts, "labels over time", height)


class _Frame:
    """The axes of a chart: where values lie in its picture."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float], height: int = _HEIGHT, left: int = _LEFT):
        self._across, self._up, self._height, self._left = across, up, height, left

    def place(self, x: float, y: float) -> tuple[float, float]:
        (left, right), (low, high) = self._across, self._up
        return (
            self._left + (x - left) / ((right - left) or 1.0) * (_WIDTH - self._left - _RIGHT),
            self._height - _BOTTOM - (y - low) / ((high - low) or 1.0) * (self._height - _TOP - _BOTTOM),
        )

    def shade(self, start: float, end: float) -> str:
        x, y = self.place(max(start, self._across[0]), self._up[1])
        stop, bottom = self.place(min(end, self._across[1]), self._up[0])
        return f'<rect class="span" x="{x:.1f}" y="{y:.1f}" width="{max(stop - x, 0):.1f}" height="{bottom - y:.1f}"/>'

    def grid_up(self) -> list[str]:
        """Levels with their values."""
        lines = []
        for value in _ticks(*self._up):
            x, y = self.place(self._across[0], value)
            lines.append(f'<path class="{"zero" if value == 0 else "grid"}" d="M{x} {y:.1f}H{_WIDTH - _RIGHT}"/>')
            lines.append(f'<text x="{x - 5}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        return lines

    def grid_across(self, unit: str = "") -> list[str]:
        """Values under the chart."""
        placed = [(self.place(value, self._up[0]), value) for value in _ticks(*self._across)]
        return [
            f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{value:g}{unit}</text>'
            for (x, y), value in placed
        ]

    def note(self, text: str, at_end: bool = False) -> str:
        """What an axis means, inside the chart: at the top for the upright one, at the end for the other."""
        x, y = (_WIDTH - _RIGHT - 4, self._height - _BOTTOM - 6) if at_end else (self._left + 4, _TOP + 10)
        return f'<text x="{x}" y="{y}" text-anchor="{"end" if at_end else "start"}">{escape(text)}</text>'

    def line(self, points: Iterable[tuple[float, float]], colour: str, dots: bool = False) -> str:
        """A line that is broken where a value is unknown."""
        placed = [self.place(x, y) if math.isfinite(y) else None for x, y in points]
        path, pen = "", "M"
        for point in placed:
            path += "" if point is None else f"{pen}{point[0]:.1f} {point[1]:.1f}"
            pen = "M" if point is None else "L"
        rings = "".join(f'<circle cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="2"/>' for p in placed if p) if dots else ""
        return f'<path class="line" stroke="{colour}" d="{path}"/><g fill="{colour}">{rings}</g>'


def _widen(low: float, high: float, least: float) -> tuple[float, float]:
    margin = max((least - (high - low)) / 2, 0.06 * (high - low))
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range, about five."""
    rough = max(high - low, _MIN_SPAN) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) + 0.0 for number in range(first, last + 1)]


def _svg(parts: Iterable[str], description: str, height: int = _HEIGHT) -> str:
    head = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(description)}">'
    return Markup(head + "".join(parts) + "</svg>")

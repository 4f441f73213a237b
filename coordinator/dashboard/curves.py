"""Curves and intervals as SVG without a style, a script or a colour of its own: classes that the page's sheet colours.

So a picture is dark where the page is dark, and a strict content security policy lets it be. Lines differ by dash and
mark as well as by colour. So narrow, a picture on a phone has letters of 11 CSS pixels or more.
"""

import math
from collections.abc import Callable, Sequence
from html import escape

from msgspec import Struct

WIDTH, HEIGHT = 360.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 10.0, 12.0, 34.0
ROW = 36.0
TICKS = 4
MARKED_MAX = 40
"""Points up to which each is marked."""
Scale = Callable[[float], float]


class Line(Struct, frozen=True, kw_only=True):
    """One curve."""

    name: str
    points: tuple[tuple[float, float], ...]
    """(x, y); a point that is no number is a gap."""
    limit: bool = False
    """Drawn as what must not be crossed."""


class Chart(Struct, frozen=True, kw_only=True):
    """Curves over one axis."""

    title: str
    x: str
    y: str
    """What the axes are, with units."""
    lines: tuple[Line, ...]
    whole_x: bool = False
    """Ticks at whole numbers only, such as rounds."""


class Interval(Struct, frozen=True, kw_only=True):
    """A value and what it surely lies between."""

    name: str
    low: float
    value: float
    high: float


def told(value: float) -> str:
    """A number as a person reads it: four digits, no exponent below a billion."""
    if not math.isfinite(value):
        return "–"
    if value == 0.0 or abs(value) >= 1e9:
        return f"{value:.4g}"
    text = f"{value:,.{max(0, 3 - math.floor(math.log10(abs(value))))}f}" if abs(value) < 1_000 else f"{value:,.0f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Round numbers within [low, high], about `TICKS` of them; at least one. Steps are 1, 2 or 5 times a power of ten.

    Args:
        low, high: finite, low <= high.
        whole: whole numbers only.
    """
    span = high - low
    if span <= 0.0:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= TICKS)
    if whole:
        step = max(1.0, round(step))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)] or [low]


def is_empty(chart: Chart) -> bool:
    """Whether there is nothing to draw but limits."""
    return not any(_finite(line) for line in chart.lines if not line.limit)


def svg(chart: Chart) -> str:
    """The chart as an `svg` element; the numbers have to stand beside it as a table."""
    points = [point for line in chart.lines for point in _finite(line)]
    xs, ys = [x for x, _ in points] or [0.0], [y for _, y in points] or [0.0]
    low_x, high_x = _room(min(xs), max(xs), 0.5 if chart.whole_x else 0.0)
    low_y, high_y = _room(min(0.0, *ys), max(ys), 0.0)
    at_x = _scale(low_x, high_x, LEFT, WIDTH - RIGHT)
    at_y = _scale(low_y, high_y, HEIGHT - BOTTOM, TOP)
    parts = [_grid_y(low_y, high_y, at_y), _ticks_x(low_x, high_x, at_x, HEIGHT, whole=chart.whole_x)]
    number = 0
    for line in chart.lines:
        parts.append(_curve(line, "limit" if line.limit else f"c{number % 4}", at_x, at_y))
        number += not line.limit
    parts.append(
        f'<text class="axis" x="{WIDTH - RIGHT:g}" y="{HEIGHT - 4:g}" text-anchor="end">{_said(chart.x)}</text>'
    )
    names = ", ".join(line.name for line in chart.lines)
    return _picture(f"{chart.title}: {names}, by {chart.x}", HEIGHT, parts)


def intervals(title: str, x: str, found: Sequence[Interval], *, zero: bool = True) -> str:
    """Intervals one under another over one axis, with a line at zero, as an `svg` element."""
    ends = [end for one in found for end in (one.low, one.high, one.value) if math.isfinite(end)] or [0.0]
    low, high = _room(min([*ends, 0.0] if zero else ends), max([*ends, 0.0] if zero else ends), 0.0)
    at_x = _scale(low, high, 12.0, WIDTH - 12.0)
    height = ROW * len(found) + BOTTOM
    parts = [_ticks_x(low, high, at_x, height, grid_from=0.0)]
    if zero:
        parts.append(f'<line class="zero" x1="{at_x(0):.1f}" x2="{at_x(0):.1f}" y1="0" y2="{height - BOTTOM:g}"/>')
    for place, one in enumerate(found):
        y = ROW * place + 25.0
        left, right = (at_x(min(max(end, low), high)) for end in (one.low, one.high))
        parts.append(f'<text class="axis strong" x="18" y="{y - 10:g}">{_said(one.name)}</text>')
        parts.append(f'<line class="bar" x1="{left:.1f}" x2="{right:.1f}" y1="{y:g}" y2="{y:g}"/>')
        parts += [f'<line class="bar" x1="{e:.1f}" x2="{e:.1f}" y1="{y - 4:g}" y2="{y + 4:g}"/>' for e in (left, right)]
        if math.isfinite(one.value):
            parts.append(f'<circle class="dot" cx="{at_x(one.value):.1f}" cy="{y:g}" r="4"/>')
    parts.append(f'<text class="axis" x="{WIDTH - 12:g}" y="{height - 4:g}" text-anchor="end">{_said(x)}</text>')
    said = "; ".join(f"{one.name} {told(one.value)}, {told(one.low)} to {told(one.high)}" for one in found)
    return _picture(f"{title}: {said}", height, parts)


def legend(chart: Chart) -> list[tuple[str, str]]:
    """(class, name) of each line, in order."""
    found, number = [], 0
    for line in chart.lines:
        found.append(("limit" if line.limit else f"c{number % 4}", line.name))
        number += not line.limit
    return found


def rows(chart: Chart) -> list[tuple[float, ...]]:
    """The chart as a table: x, then each line's value there; what is not there is no number."""
    held = [dict(line.points) for line in chart.lines]
    xs = sorted({x for line in chart.lines for x, _ in line.points})
    return [(x, *(one.get(x, math.nan) for one in held)) for x in xs]


def _picture(said: str, height: float, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {WIDTH:g} {height:g}"'
    return f'<svg class="chart" {size} role="img" aria-label="{escape(said)}" focusable="false">{"".join(parts)}</svg>'


def _said(text: str) -> str:
    return escape(text)


def _finite(line: Line) -> list[tuple[float, float]]:
    return [(x, y) for x, y in line.points if math.isfinite(x) and math.isfinite(y)]


def _room(low: float, high: float, margin: float) -> tuple[float, float]:
    """An interval that is not empty, with some air above."""
    if low == high == 0.0:
        return (-margin, margin) if margin else (0.0, 1.0)
    if high - low <= 1e-12 * max(1.0, abs(high)):
        return low - max(margin, abs(low) * 0.1, 0.5), high + max(margin, abs(high) * 0.1, 0.5)
    return low - margin, high + margin


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _grid_y(low: float, high: float, at_y: Scale) -> str:
    parts = []
    for tick in ticks(low, high):
        y = at_y(tick)
        parts.append(f'<line class="grid" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        label = told(tick)
        parts.append(f'<text class="axis" x="{LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    return "".join(parts)


def _ticks_x(
    low: float, high: float, at_x: Scale, height: float, *, whole: bool = False, grid_from: float | None = None
) -> str:
    parts = []
    for tick in ticks(low, high, whole=whole):
        x, y = at_x(tick), height - BOTTOM
        start = y if grid_from is None else grid_from
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{start:g}" y2="{y + 4:g}"/>')
        parts.append(f'<text class="axis" x="{x:.1f}" y="{y + 16:g}" text-anchor="middle">{told(tick)}</text>')
    return "".join(parts)


def _curve(line: Line, kind: str, at_x: Scale, at_y: Scale) -> str:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in line.points:
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append((at_x(x), at_y(y)))
        elif runs[-1]:
            runs.append([])
    drawn = [" ".join(f"{x:.1f},{y:.1f}" for x, y in run) for run in runs if len(run) > 1]
    parts = [f'<polyline class="curve {kind}" points="{points}"/>' for points in drawn]
    marked = [] if line.limit else [point for run in runs for point in run]
    if len(marked) <= MARKED_MAX or not drawn:
        parts += [f'<circle class="mark {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in marked]
    return "".join(parts)

"""Line charts as inline SVG. Colours and dashes are classes of the page's style sheet, so they follow its scheme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

#: Line styles that the style sheet has (classes s0, s1, ...).
STYLES = 8
_WIDTH, _HEIGHT = 420, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 34

Point = tuple[float, float]


class _Scale:
    """From values to places of the picture, linearly."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.start, self.step = low, start, (end - start) / (high - low)

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) * self.step


@dataclass(frozen=True)
class Line:
    """A run's line: its name, its style and its points, one list for each stage."""

    name: str
    style: int
    segments: Sequence[Sequence[Point]]


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        name: its id in the page.
        title: what the vertical axis shows, with its unit.
        lines: of at least one point.
        marks: every point has a mark (few points), not only the first of a later stage.
    """

    name: str
    title: str
    lines: Sequence[Line]
    marks: bool = False

    @property
    def summary(self) -> str:
        """The chart in words: the first, the last, the lowest and the highest value of each line."""
        said = []
        for line in self.lines:
            values = [y for segment in line.segments for _, y in segment]
            said.append(f"{line.name}: from {values[0]:.3g} to {values[-1]:.3g}, lowest {min(values):.3g}, highest "
                        f"{max(values):.3g}")  # fmt: skip
        return f"{self.title} over the iterations. {'; '.join(said)}."

    def svg(self) -> Markup:
        """The chart as an ``svg`` element."""
        points = [point for line in self.lines for segment in line.segments for point in segment]
        across = ticks(0, max(x for x, _ in points), 5)
        up = ticks(min(0.0, *(y for _, y in points)), max(y for _, y in points), 5)
        to_x = _Scale(across[0], across[-1], _LEFT, _WIDTH - _RIGHT)
        to_y = _Scale(up[0], up[-1], _HEIGHT - _BOTTOM, _TOP)
        parts = [Markup('<svg role="img" viewBox="0 0 {} {}" aria-labelledby="{}-t" aria-describedby="{}-d">').format(
            _WIDTH, _HEIGHT, self.name, self.name)]  # fmt: skip
        parts.append(Markup('<title id="{}-t">{}</title><desc id="{}-d">{}</desc>').format(
            self.name, self.title, self.name, self.summary))  # fmt: skip
        for value in up:
            y = _number(to_y(value))
            parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(_LEFT, y, _WIDTH - _RIGHT))
            parts.append(Markup('<text x="{}" y="{}" dy="4" text-anchor="end">{}</text>').format(
                _LEFT - 6, y, f"{value:,g}"))  # fmt: skip
        for value in across:
            parts.append(Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
                _number(to_x(value)), _HEIGHT - _BOTTOM + 16, "end" if value == across[-1] else "middle",
                f"{value:,.0f}"))  # fmt: skip
        parts.append(Markup('<text x="{}" y="{}" text-anchor="middle">iteration</text>').format(
            (_LEFT + _WIDTH) // 2, _HEIGHT - 3))  # fmt: skip
        parts += [self._line(line, to_x, to_y) for line in self.lines]
        return Markup("").join([*parts, Markup("</svg>")])

    def _line(self, line: Line, to_x: _Scale, to_y: _Scale) -> Markup:
        drawn = []
        for number, segment in enumerate(line.segments):
            places = [f"{_number(to_x(x))} {_number(to_y(y))}" for x, y in segment]
            drawn.append(Markup('<path class="line s{}" d="M{}"/>').format(line.style, "L".join(places)))
            marked = places if self.marks or len(places) == 1 else places[:1] if number else []
            for place in marked:
                x, y = place.split()
                drawn.append(Markup('<circle class="s{}" cx="{}" cy="{}" r="3"/>').format(line.style, x, y))
        return Markup("").join(drawn)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values, evenly spaced, from at most ``low`` to at least ``high``; about ``most`` of them.

    >>> ticks(0, 0.87, 5), ticks(0, 280, 5)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 100.0, 200.0, 300.0])
    """
    if not high > low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(number * step, digits) for number in range(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")

"""A drawing as a list of primitives. One geometry, two writers: ``svg.py`` and ``png.py``.

Lengths are units of the drawing, from its top left corner; an SVG shows a unit as a pixel, a PNG as two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

from PIL import Image

from .text import LINE, shortened, width_of

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2."""


@dataclass(frozen=True)
class Photo:
    """A picture scaled to a place."""

    box: Box
    image: Image.Image
    title: str = ""


@dataclass(frozen=True)
class Rect:
    """A rectangle; no ``fill``: one sees through it. ``dashed``: its line."""

    box: Box
    stroke: str = ""
    fill: str = ""
    width: float = 1.0
    radius: float = 0.0
    dashed: bool = False
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A line through points, or with ``curved`` cubic Bézier curves (3k + 1 points); with or without an arrow head."""

    points: tuple[tuple[float, float], ...]
    stroke: str = "#555555"
    width: float = 1.5
    curved: bool = False
    arrow: bool = False


@dataclass(frozen=True)
class Text:
    """One line of text; its top left corner is (x, y), its width the measured one."""

    x: float
    y: float
    text: str
    size: float = 13.0
    bold: bool = False
    colour: str = "#111111"
    width: float = 0.0

    @property
    def box(self) -> Box:
        """The place that it takes."""
        return self.x, self.y, self.x + self.width, self.y + LINE * self.size


Item = Union[Photo, Rect, Line, Text]


def text(
    x: float, y: float, content: str, size: float = 13.0, *, bold: bool = False, colour: str = "#111111",
    longest: int = 200,
) -> Text:  # fmt: skip
    """A measured text, in one line of at most ``longest`` characters."""
    content = shortened(content, longest)
    return Text(x, y, content, size, bold, colour, width_of(content, size, bold))


def centred(box: Box, content: str, size: float = 13.0, *, bold: bool = False, colour: str = "#111111") -> Text:
    """A measured text in the middle of ``box``; it is not cut."""
    width = width_of(content, size, bold)
    x, y = (box[0] + box[2] - width) / 2, (box[1] + box[3] - LINE * size) / 2
    return Text(x, y, content, size, bold, colour, width)


@dataclass(frozen=True)
class Drawing:
    """What is drawn, from back to front.

    Attributes:
        width: in units. height: likewise.
        title: one sentence that names the drawing, for screen readers.
        description: all that it says, in words, one statement a line.
    """

    width: float
    height: float
    items: tuple[Item, ...] = field(repr=False)
    title: str
    description: str = field(default="", repr=False)

    def svg(self) -> str:
        """The drawing as an ``<svg>`` element that needs no other file; equal drawings give equal text."""
        from .svg import svg_text

        return svg_text(self)

    def png(self, path: str | Path) -> None:
        """Write the drawing as a PNG file; equal drawings give equal bytes.

        Raises:
            HMLError: the place cannot be written.
        """
        from .png import write_png

        write_png(self, path)


def moved(item: Item, dx: float, dy: float) -> Item:
    """The same primitive elsewhere."""
    from dataclasses import replace

    if isinstance(item, Text):
        return replace(item, x=item.x + dx, y=item.y + dy)
    if isinstance(item, Line):
        return replace(item, points=tuple((x + dx, y + dy) for x, y in item.points))
    x1, y1, x2, y2 = item.box
    return replace(item, box=(x1 + dx, y1 + dy, x2 + dx, y2 + dy))


def extent(items: tuple[Item, ...] | list[Item]) -> tuple[float, float]:
    """Right and lower end of primitives; 0 for none."""
    ends = [item.box[2:] for item in items if not isinstance(item, Line)]
    ends += [point for item in items if isinstance(item, Line) for point in item.points]
    return max((x for x, _ in ends), default=0.0), max((y for _, y in ends), default=0.0)


def arrow_head(line: Line) -> tuple[tuple[float, float], ...]:
    """The three corners of an arrow head at the line's end."""
    (x, y), before = line.points[-1], next((p for p in reversed(line.points[:-1]) if p != line.points[-1]), None)
    if before is None:
        return ()
    dx, dy = x - before[0], y - before[1]
    length = (dx * dx + dy * dy) ** 0.5
    dx, dy = 7 * dx / length, 7 * dy / length
    return (x, y), (x - dx - dy * 0.45, y - dy + dx * 0.45), (x - dx + dy * 0.45, y - dy - dx * 0.45)

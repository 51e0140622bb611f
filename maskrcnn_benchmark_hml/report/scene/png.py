"""Writes a drawing as PNG with pillow, two pixels a unit; lines are drawn larger and scaled down, text is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ...files import written_aside
from .primitives import Drawing, Line, Photo, Rect, Text, arrow_head
from .text import BASELINE, PIXELS, font_runs

_STEPS = 16
"""Straight pieces of one Bézier curve."""


def write_png(drawing: Drawing, path: str | Path) -> None:
    """Write the file aside, then move it into place.

    Raises:
        HMLError: the place cannot be written.
    """
    image = render(drawing)
    with written_aside(path, "picture") as aside:
        image.save(aside, "PNG")


def render(drawing: Drawing) -> Image.Image:
    """The drawing as a picture (RGB)."""
    size = round(drawing.width * PIXELS), round(drawing.height * PIXELS)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for item in drawing.items:
        if isinstance(item, Photo):
            x1, y1, x2, y2 = (round(v * PIXELS) for v in item.box)
            fitted = item.image.convert("RGB").resize((max(1, x2 - x1), max(1, y2 - y1)), Image.Resampling.BICUBIC)
            image.paste(fitted, (x1, y1))
        elif isinstance(item, Rect):
            _rect(draw, item)
        elif isinstance(item, Line):
            _line(draw, item)
        else:
            _text(draw, item)
    return image


def _rect(draw: ImageDraw.ImageDraw, item: Rect) -> None:
    box = [v * PIXELS for v in item.box]
    width = max(1, round(item.width * PIXELS))
    # SVG centres a border on the edge, pillow draws it inside.
    grown = [box[0] - width / 2, box[1] - width / 2, box[2] + width / 2, box[3] + width / 2] if item.stroke else box
    outline = item.stroke or None
    draw.rounded_rectangle(grown, item.radius * PIXELS, fill=item.fill or None, width=width,
                           outline=None if item.dashed else outline)  # fmt: skip
    if item.dashed and outline:
        x1, y1, x2, y2 = box
        for start, end in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))):
            _dashes(draw, start, end, outline, width)


def _dashes(
    draw: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], colour: str, width: int
) -> None:
    length = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
    at = 0.0
    while at < length:
        one, two = at / length, min(1.0, (at + 5 * PIXELS) / length)
        draw.line([_between(start, end, one), _between(start, end, two)], colour, width)
        at += 8 * PIXELS


def _between(start: tuple[float, float], end: tuple[float, float], share: float) -> tuple[float, float]:
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _line(draw: ImageDraw.ImageDraw, item: Line) -> None:
    points = _bezier(item.points) if item.curved else item.points
    draw.line([(x * PIXELS, y * PIXELS) for x, y in points], item.stroke, max(1, round(item.width * PIXELS)), "curve")
    if item.arrow and (head := arrow_head(item)):
        draw.polygon([(x * PIXELS, y * PIXELS) for x, y in head], item.stroke)


def _bezier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found = [points[0]]
    for k in range(0, len(points) - 3, 3):
        curve = points[k : k + 4]
        for step in range(1, _STEPS + 1):
            t = step / _STEPS
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            found.append((sum(w * p[0] for w, p in zip(weights, curve)), sum(w * p[1] for w, p in zip(weights, curve))))
    return found


def _text(draw: ImageDraw.ImageDraw, item: Text) -> None:
    x, y = item.x * PIXELS, (item.y + BASELINE * item.size) * PIXELS
    for part, font in font_runs(item.text, item.size, item.bold):
        draw.text((x, y), part, fill=item.colour, font=font, anchor="ls")
        x += font.getlength(part)

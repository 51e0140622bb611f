"""Writes a drawing as SVG, by hand: the photo as JPEG in a data URI, shapes, text of the measured width."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from html import escape

from PIL import Image

from .primitives import Drawing, Item, Line, Photo, Rect, arrow_head
from .text import BASELINE

QUALITY = 85
LARGEST = 1600
"""Longer side of an embedded photo in pixels; larger ones are scaled down."""
_FONTS = "DejaVu Sans, Verdana, sans-serif"


def svg_text(drawing: Drawing) -> str:
    """The drawing as one ``<svg>`` element; its ids are of its own content, so several fit into one HTML page."""
    body = "\n".join(part for item in drawing.items for part in _parts(item))
    name = "s" + hashlib.sha256((drawing.title + drawing.description + body).encode()).hexdigest()[:12]
    width, height = _number(drawing.width), _number(drawing.height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-labelledby="{name}-title" aria-describedby="{name}-desc" font-family="{_FONTS}">\n'
        f'<title id="{name}-title">{escaped(drawing.title)}</title>\n'
        f'<desc id="{name}-desc">{escaped(drawing.description)}</desc>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def escaped(text: str) -> str:
    """Text for XML: markup escaped, characters that XML does not allow left out."""
    return escape("".join(c for c in text if c in "\t\n" or (c >= " " and c not in "\ufffe\uffff" and
                          not "\ud800" <= c <= "\udfff")))  # fmt: skip


def data_uri(image: Image.Image) -> str:
    """The picture as JPEG, at most LARGEST pixels a side."""
    image = image.convert("RGB")
    image.thumbnail((LARGEST, LARGEST))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _parts(item: Item) -> Iterator[str]:
    if isinstance(item, Photo):
        yield _element("image", item, f' preserveAspectRatio="none" href="{data_uri(item.image)}"')
    elif isinstance(item, Rect):
        look = f' fill="{item.fill or "none"}"'
        look += f' stroke="{item.stroke}" stroke-width="{_number(item.width)}"' if item.stroke else ""
        look += f' rx="{_number(item.radius)}"' if item.radius else ""
        yield _element("rect", item, look + (' stroke-dasharray="5 3"' if item.dashed else ""))
    elif isinstance(item, Line):
        yield from _line(item)
    else:
        weight = ' font-weight="bold"' if item.bold else ""
        yield (
            f'<text x="{_number(item.x)}" y="{_number(item.y + BASELINE * item.size)}" '
            f'font-size="{_number(item.size)}" fill="{item.colour}"{weight} '
            f'textLength="{_number(item.width)}" lengthAdjust="spacingAndGlyphs">{escaped(item.text)}</text>'
        )


def _element(name: str, item: Photo | Rect, look: str) -> str:
    x1, y1, x2, y2 = item.box
    place = f'x="{_number(x1)}" y="{_number(y1)}" width="{_number(x2 - x1)}" height="{_number(y2 - y1)}"'
    title = f"<title>{escaped(item.title)}</title>" if item.title else ""
    return f"<{name} {place}{look}>{title}</{name}>" if title else f"<{name} {place}{look}/>"


def _line(line: Line) -> Iterator[str]:
    points = [f"{_number(x)} {_number(y)}" for x, y in line.points]
    path = f"M{points[0]} {'C' if line.curved else 'L'}{' '.join(points[1:])}"
    yield f'<path d="{path}" fill="none" stroke="{line.stroke}" stroke-width="{_number(line.width)}"/>'
    if line.arrow and (head := arrow_head(line)):
        corners = " ".join(f"{_number(x)},{_number(y)}" for x, y in head)
        yield f'<polygon points="{corners}" fill="{line.stroke}"/>'

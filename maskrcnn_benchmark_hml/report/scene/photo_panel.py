"""The photo with its boxes as primitives: names at the boxes, or numbers there and the names in a list."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from ...scene_graph import SceneGraph
from .labels import place_labels
from .primitives import Box, Item, Line, Photo, Rect, centred, text
from .text import LINE, shortened, width_of

WIDE, HIGH = 600.0, 640.0
"""Largest size of the photo, in units."""
NUMBERED = 12
"""From so many boxes on there are numbers on the photo."""
COLOURS = ("#1d4ed8", "#b45309", "#15803d", "#be185d", "#6d28d9", "#0f766e", "#b91c1c", "#0369a1", "#713f12", "#374151")
_SIZE = 12.0
_ROW = 18.0


def display_names(graph: SceneGraph, shown: Sequence[int]) -> tuple[list[str], bool]:
    """What each object is called in the drawing, and whether the photo has numbers instead of names.

    A name that several of the shown objects have gets a number: man 1, man 2.
    """
    names = [o.name for o in graph.objects]
    if len(shown) >= NUMBERED:
        number = {object_: at + 1 for at, object_ in enumerate(shown)}
        return [f"{number[at]} {name}" if at in number else name for at, name in enumerate(names)], True
    counts = [names[at] for at in shown]
    seen: dict[str, int] = {}
    for at in shown:
        name = names[at]
        if counts.count(name) > 1:
            seen[name] = seen.get(name, 0) + 1
            names[at] = f"{name} {seen[name]}"
    return names, False


def photo_items(
    graph: SceneGraph, shown: Sequence[int], names: Sequence[str], numbered: bool, colours: Sequence[str],
    photo: Image.Image | None,
) -> list[Item]:  # fmt: skip
    """The photo from (0, 0) to the right and down, the boxes of the ``shown`` objects, their labels, and the list."""
    width, height = max(1, graph.width), max(1, graph.height)
    scale = min(WIDE / width, HIGH / height)
    area = (0.0, 0.0, max(40.0, scale * width), max(40.0, scale * height))
    scales = area[2] / width, area[3] / height
    boxes = [_on_the_photo(graph.objects[at].box, scales, area) for at in shown]
    items: list[Item] = [Rect(area, "#9ca3af", "#e5e7eb")]
    if photo is not None:
        items = [Photo(area, photo)]
    # The largest first, so that a small box is never below.
    for at in sorted(range(len(shown)), key=lambda k: -_size(boxes[k])):
        items.append(Rect(boxes[at], "#ffffff", width=3.5))
        items.append(Rect(boxes[at], colours[shown[at]], width=1.8, title=names[shown[at]]))
    labels = [str(at + 1) if numbered else shortened(names[object_], 24) for at, object_ in enumerate(shown)]
    sizes = [(width_of(label, _SIZE, bold=True) + 6, LINE * _SIZE + 1) for label in labels]
    for at, place in enumerate(place_labels(boxes, sizes, area)):
        if place is not None:
            items += _label(labels[at], place, sizes[at], boxes[at], colours[shown[at]])
    return items + (_list_of_names([(names[at], colours[at]) for at in shown], area[2], area[3]) if numbered else [])


def _on_the_photo(box: Box, scales: tuple[float, float], area: Box) -> Box:
    x1, y1, x2, y2 = box[0] * scales[0], box[1] * scales[1], box[2] * scales[0], box[3] * scales[1]
    x1, x2 = (min(max(v, area[0]), area[2]) for v in (min(x1, x2), max(x1, x2)))
    y1, y2 = (min(max(v, area[1]), area[3]) for v in (min(y1, y2), max(y1, y2)))
    return x1, y1, x2, y2


def _size(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _label(
    label: str, place: tuple[float, float], size: tuple[float, float], box: Box, colour: str
) -> list[Item]:  # fmt: skip
    """A label at its place; a line leads from it to a box that it does not touch."""
    at = (place[0], place[1], place[0] + size[0], place[1] + size[1])
    items: list[Item] = []
    start = _nearest(((at[0] + at[2]) / 2, (at[1] + at[3]) / 2), box)
    end = _nearest(start, at)
    if max(abs(start[0] - end[0]), abs(start[1] - end[1])) > 2:
        items += [Line((start, end), "#ffffff", 3), Line((start, end), colour, 1.4)]
    return [*items, Rect(at, fill=colour, radius=2), centred(at, label, _SIZE, bold=True, colour="#ffffff")]


def _nearest(point: tuple[float, float], box: Box) -> tuple[float, float]:
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])


def _list_of_names(entries: Sequence[tuple[str, str]], width: float, top: float) -> list[Item]:
    """The numbers with their names, in columns below the photo."""
    cells = [text(0, 0, name, _SIZE, longest=32) for name, _ in entries]
    column = max(cell.width for cell in cells) + 26
    columns = max(1, int((width + 12) // column))
    rows = -(-len(cells) // columns)
    items: list[Item] = []
    for at, (cell, (_, colour)) in enumerate(zip(cells, entries)):
        x, y = (at // rows) * column, top + 10 + (at % rows) * _ROW
        items += [Rect((x, y + 3, x + 6, y + 12), fill=colour), text(x + 12, y, cell.text, _SIZE)]
    return items

"""Places for labels at boxes so that no two labels overlap: greedy, the smallest box first, repeatable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .primitives import Box

_GAP = 1.0
_STEP = 7.0
"""Units between two places further out."""


def place_labels(
    boxes: Sequence[Box], sizes: Sequence[tuple[float, float]], area: Box
) -> list[tuple[float, float] | None]:
    """The top left corner of each box's label, inside ``area``; None where there is no room left.

    First the eight places at the box, outside and inside its corners: of the free ones that which hides least of the
    smaller boxes. Then places further and further out.

    Args:
        sizes: (width, height) of each label.
    """
    found: list[tuple[float, float] | None] = [None] * len(boxes)
    taken: list[Box] = []
    for at in sorted(range(len(boxes)), key=lambda i: (_area(boxes[i]), i)):
        width, height = sizes[at]
        smaller = [other for i, other in enumerate(boxes) if i != at and _area(other) <= _area(boxes[at])]

        def free(place: tuple[float, float], width: float = width, height: float = height) -> bool:
            label = (place[0], place[1], place[0] + width, place[1] + height)
            return inside(label, area) and not any(overlap(label, other) > 0 for other in taken)

        near = [place for place in _at_the_box(boxes[at], width, height) if free(place)]
        if near:
            hidden = [sum(overlap((x, y, x + width, y + height), box) for box in smaller) for x, y in near]
            place: tuple[float, float] | None = near[hidden.index(min(hidden))]
        else:
            place = next((p for p in _further_out(boxes[at], width, height, area) if free(p)), None)
        if place is not None:
            taken.append((place[0] - _GAP, place[1] - _GAP, place[0] + width + _GAP, place[1] + height + _GAP))
        found[at] = place
    return found


def inside(box: Box, area: Box) -> bool:
    """Whether a box lies in an area."""
    return box[0] >= area[0] and box[1] >= area[1] and box[2] <= area[2] and box[3] <= area[3]


def overlap(one: Box, two: Box) -> float:
    """Area that two boxes share."""
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    return max(0.0, width) * max(0.0, height)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _at_the_box(box: Box, width: float, height: float) -> Iterator[tuple[float, float]]:
    x1, y1, x2, y2 = box
    for y in (y1 - height, y2):  # outside, above and below
        yield x1, y
        yield x2 - width, y
    for y in (y1, y2 - height):  # inside
        yield x1, y
        yield x2 - width, y


def _further_out(box: Box, width: float, height: float, area: Box) -> Iterator[tuple[float, float]]:
    """Rings around the box, until they leave the area."""
    x1, y1, x2, y2 = box[0] - width, box[1] - height, box[2], box[3]
    ring = 1
    while ring * _STEP <= max(area[2] - area[0], area[3] - area[1]):
        left, top, right, bottom = x1 - ring * _STEP, y1 - ring * _STEP, x2 + ring * _STEP, y2 + ring * _STEP
        across, down = int((right - left) / _STEP), int((bottom - top) / _STEP)
        for y in (top, bottom):
            yield from ((left + k * _STEP, y) for k in range(across + 1))
        for x in (left, right):
            yield from ((x, top + k * _STEP) for k in range(down + 1))
        ring += 1

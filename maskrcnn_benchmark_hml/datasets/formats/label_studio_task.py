"""One picture of a Label Studio task: its regions as boxes in pixels, and its arrows as relations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import HMLError
from .tally import Tally

NO_PREDICATE = "they have no label, that is no predicate"
NO_REGION = "their subject or object is no region of the annotation"
TWO_PICTURES = "they join regions of two pictures of a task"
OTHER_SHAPE = "they are neither rectangles nor polygons"

_SHAPES = ("rectangle", "polygon")
_OTHER_SHAPES = ("brush", "ellipse", "keypoint", "bitmask", "vector")
_DIRECTIONS = ("right", "left", "bi")


@dataclass
class Region:
    """A region: where it is, what it is called, what else is said about it."""

    id: str
    item: int
    box: tuple[float, float, float, float] | None = None
    size: tuple[int, int] = (0, 0)
    classes: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    shape: str = ""


@dataclass
class Picture:
    """The annotation of one picture by names."""

    task: str
    item: int
    value: str
    size: tuple[int, int] = (0, 0)
    regions: list[Region] = field(default_factory=list)
    relations: list[tuple[int, int, str]] = field(default_factory=list)


def read_result(task: str, values: list[str], result: Any, tally: Tally) -> list[Picture]:
    """The pictures of a task with what one annotation says about them.

    Args:
        task: its id, for messages. values: what the task's data says about each of its pictures.
        result: the annotation's list ``result``.

    Raises:
        HMLError: a region has no class, or an entry is not what the format says.
    """
    if not isinstance(result, list) or not all(isinstance(entry, dict) for entry in result):
        raise HMLError(f"task {task} has the result {str(result)[:60]!r}; an annotation holds a list of objects")
    regions = _regions(task, result, tally)
    pictures = [Picture(task, item, value) for item, value in enumerate(values)]
    for region in regions.values():
        if not 0 <= region.item < len(pictures):
            raise HMLError(f"task {task}: region {region.id} is of picture {region.item}, the task has {len(pictures)}")
        own = pictures[region.item]
        own.regions.append(region)
        own.size = own.size if own.size[0] else region.size
    for entry in result:
        if entry.get("type") == "relation":
            _add_relation(task, entry, regions, pictures, tally)
    return pictures


def _regions(task: str, result: list[dict], tally: Tally) -> dict[str, Region]:
    """The regions of an annotation; entries with one id are parts of one region."""
    regions: dict[str, Region] = {}
    for entry in result:
        value, kind = entry.get("value"), str(entry.get("type", ""))
        if kind == "relation" or not isinstance(value, dict) or not isinstance(entry.get("id"), (str, int)):
            continue
        region = regions.setdefault(str(entry["id"]), Region(str(entry["id"]), int(entry.get("item_index") or 0)))
        shape = next((s for s in (*_SHAPES, *_OTHER_SHAPES) if kind.startswith(s)), "")
        if shape:
            region.shape = shape
            region.size = _size(task, entry)
            region.box = _BOXES[shape](task, region, value, tally) if shape in _SHAPES else None
        if shape or kind == "labels":
            region.classes += [str(n) for n in value.get(f"{shape}labels" if shape else kind) or []]
        elif kind == "choices":
            region.attributes += [str(n) for n in value.get("choices") or []]
        else:
            tally.note("further answers about regions (text, numbers), which are left out", example=f"task {task}")
    drawn = {name: region for name, region in regions.items() if region.shape}
    for region in drawn.values():
        region.classes = list(dict.fromkeys(region.classes))
        if region.box is not None and not region.classes:
            raise HMLError(f"task {task}: the region {region.id} has no class; label it in Label Studio, or delete it")
        tally.find("objects")
        if region.classes[1:]:
            tally.note("objects with several classes: the first counts, the others become attributes",
                       example=f"{', '.join(region.classes)} in task {task}")  # fmt: skip
    return drawn


def _size(task: str, entry: dict) -> tuple[int, int]:
    sides = entry.get("original_width"), entry.get("original_height")
    if not all(isinstance(side, (int, float)) and side >= 1 for side in sides):
        raise HMLError(f"task {task}: the region {entry['id']} has no original_width and original_height, "
                       "so its size is not known; export as JSON again")  # fmt: skip
    return int(sides[0]), int(sides[1])  # type: ignore[arg-type]


def _numbers(task: str, region: Region, value: dict, *keys: str) -> list[float]:
    found = [value.get(key) for key in keys]
    if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in found):
        raise HMLError(f"task {task}: the region {region.id} has {', '.join(keys)} = {found}; they must be numbers")
    return [float(n) for n in found]  # type: ignore[arg-type]


def _rectangle(task: str, region: Region, value: dict, tally: Tally) -> tuple[float, float, float, float]:
    """The box in pixels, of a turned one the envelope: it is turned clockwise about its upper left corner."""
    x, y, width, height = _numbers(task, region, value, "x", "y", "width", "height")
    angle = value.get("rotation") or 0
    scale = np.array(region.size) / 100
    (x, y), (width, height) = scale * (x, y), scale * (width, height)
    if not angle:
        return x, y, x + width, y + height
    tally.note("turned rectangles, which became the box around them", example=f"task {task}")
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    across, down = np.array([cos, sin]) * width, np.array([-sin, cos]) * height
    corners = np.round([x, y] + np.array([0 * across, across, down, across + down]), 6)
    return (*corners.min(0).tolist(), *corners.max(0).tolist())


def _polygon(task: str, region: Region, value: dict, tally: Tally) -> tuple[float, float, float, float]:
    points = value.get("points")
    try:
        corners = np.array(points, dtype=np.float64).reshape(-1, 2) * (np.array(region.size) / 100)
        box = (*corners.min(0).tolist(), *corners.max(0).tolist())
    except (TypeError, ValueError):
        raise HMLError(f"task {task}: the polygon {region.id} has the points {points!r}; they must be pairs") from None
    tally.note("polygons, which became the box around them", example=f"task {task}")
    return box


_BOXES = {"rectangle": _rectangle, "polygon": _polygon}


def _add_relation(task: str, entry: dict, regions: dict[str, Region], pictures: list[Picture], tally: Tally) -> None:
    where, direction = f"task {task}", entry.get("direction") or "right"
    if direction not in _DIRECTIONS:
        raise HMLError(f"{where}: a relation has the direction {direction!r}; known are {', '.join(_DIRECTIONS)}")
    labels = [str(label) for label in entry.get("labels") or []]
    number = max(len(labels), 1) * (2 if direction == "bi" else 1)
    tally.find("relations", number)
    ends = [regions.get(str(entry.get(key))) for key in ("from_id", "to_id")]
    if not labels:
        tally.drop("relations", NO_PREDICATE, number, where)
        return
    if ends[0] is None or ends[1] is None:
        tally.drop("relations", NO_REGION, number, where)
        return
    if ends[0].item != ends[1].item:
        tally.drop("relations", TWO_PICTURES, number, where)
        return
    own = pictures[ends[0].item]
    tally.note(f"arrows '{direction}', {_MEANING[direction]}",
               example=f"{_named(ends, labels[0], direction)} in {where}")  # fmt: skip
    for subject, obj in _pairs(ends[0], ends[1], direction):
        own.relations += [(own.regions.index(subject), own.regions.index(obj), label) for label in labels]


_MEANING = {"right": "read as from predicate to", "left": "read as to predicate from", "bi": "read as both"}


def _pairs(start: Region, end: Region, direction: str) -> Iterator[tuple[Region, Region]]:
    if direction != "left":
        yield start, end
    if direction != "right":
        yield end, start


def _named(ends: list[Region | None], label: str, direction: str) -> str:
    names = [", ".join(end.classes[:1]) or end.shape for end in ends if end is not None]
    return " ".join((names[1], label, names[0]) if direction == "left" else (names[0], label, names[1]))

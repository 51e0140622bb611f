"""Readers of ``--boxes FILE``: our own JSON, and annotations in COCO's JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..files import read_json
from .boxes import StatedBox

FORM = '{"a.jpg": [{"box": [x1, y1, x2, y2], "name": "dog"}, ...], ...}'


@dataclass(frozen=True)
class BoxFile:
    """The boxes of many pictures.

    Attributes:
        said: what holds them, for errors: the file.
        pictures: name of the picture as the file states it -> its boxes.
        notes: what was left out, in words.
    """

    said: str
    pictures: dict[str, list[StatedBox]]
    notes: list[str] = field(default_factory=list)


def read_boxes(source: str | Path | Mapping[str, Any]) -> BoxFile:
    """Boxes from a file, or from what ``json.load`` gives of one. COCO is recognised by its ``images``.

    Raises:
        HMLError: the file cannot be read, or a part of it is wrong; the picture and the box are named.
    """
    said = "the boxes" if isinstance(source, Mapping) else str(source)
    content = source if isinstance(source, Mapping) else read_json(source)
    if not isinstance(content, Mapping):
        raise HMLError(f"{said} holds a JSON {type(content).__name__}; it must be {FORM}, or COCO's annotations")
    if isinstance(content.get("images"), list) and isinstance(content.get("annotations"), list):
        return _coco(content, said)
    return BoxFile(said, {name: _own(name, rows, said) for name, rows in content.items()})


def _own(name: str, rows: Any, said: str) -> list[StatedBox]:
    if not isinstance(rows, list):
        raise HMLError(f"{said}: {name!r} has no list of boxes; the file must be {FORM}, or COCO's annotations")
    found = []
    for number, row in enumerate(rows):
        called = f"{said}: box {number} of {name}"
        if not isinstance(row, Mapping) or "box" not in row:
            raise HMLError(f'{called} is {_short(row)}; it must be {{"box": [x1, y1, x2, y2], "name": "dog"}}')
        found.append(StatedBox(called, _numbers(row["box"], called, "x1, y1, x2, y2"), *_class(row, called)))
    return found


def _class(row: Mapping[str, Any], called: str) -> tuple[str | None, int | None]:
    name, index = row.get("name"), row.get("index")
    if name is not None and index is not None:
        raise HMLError(f'{called} has both "name" and "index"; give one')
    if name is not None and not (isinstance(name, str) and name):
        raise HMLError(f'{called} has the name {_short(name)}; a name is a text, and a number belongs into "index"')
    if index is not None and (not isinstance(index, int) or isinstance(index, bool) or index < 1):
        raise HMLError(f"{called} has the index {_short(index)}; classes count from 1, and 0 is the background")
    return name, index


def _numbers(given: Any, called: str, form: str) -> tuple[float, float, float, float]:
    fits = isinstance(given, list) and len(given) == 4
    if not fits or not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in given):
        raise HMLError(f"{called} is {_short(given)}; a box is 4 numbers {form}, in pixels")
    if not all(map(math.isfinite, given)):
        raise HMLError(f"{called} is {_short(given)}, with a number that is NaN or infinite; correct it")
    a, b, c, d = map(float, given)
    return a, b, c, d


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _coco(content: Mapping[str, Any], said: str) -> BoxFile:
    """COCO's annotations: ``bbox`` x, y, width, height; a crowd is no single object and is left out."""
    files = {i: name for i, name in _rows(content["images"], "images", "id", "file_name", said)}
    categories = dict(_rows(content.get("categories", []), "categories", "id", "name", said))
    pictures: dict[str, list[StatedBox]] = {str(name): [] for name in files.values()}
    if len(pictures) < len(files):
        raise HMLError(f"{said}: two entries of 'images' have the same file_name; remove one")
    crowds = 0
    for number, row in enumerate(content["annotations"]):
        if not isinstance(row, Mapping) or "bbox" not in row:
            raise HMLError(f"{said}: annotation {number} has no bbox; boxes are needed, not only masks")
        if not _listed(row.get("image_id"), files):
            wrong = _short(row.get("image_id"))
            raise HMLError(f"{said}: annotation {number} has the image_id {wrong}, which 'images' does not list; "
                           "correct it")  # fmt: skip
        name = str(files[row["image_id"]])
        called = f"{said}: annotation {row.get('id', number)} (of {name})"
        if row.get("iscrowd"):
            crowds += 1
            continue
        x, y, width, height = _numbers(row["bbox"], called, "x, y, width, height")
        if width <= 0 or height <= 0:
            raise HMLError(f"{called} has the bbox {row['bbox']}, of which width and height must be above 0")
        pictures[name].append(StatedBox(called, (x, y, x + width, y + height), _category(row, categories, called)))
    notes = [f"{said}: {crowds} crowds (iscrowd) are left out, since a crowd is no single object"] if crowds else []
    return BoxFile(said, pictures, notes)


def _rows(rows: Any, what: str, key: str, value: str, said: str) -> list[tuple[Any, Any]]:
    found = []
    for number, row in enumerate(rows if isinstance(rows, Sequence) else [rows]):
        if not isinstance(row, Mapping) or not isinstance(row.get(key), (int, str)) or value not in row:
            raise HMLError(f"{said}: entry {number} of {what!r} needs {key!r} and {value!r}; it is {_short(row)}")
        found.append((row[key], row[value]))
    return found


def _listed(key: Any, table: Mapping[Any, Any]) -> bool:
    return isinstance(key, (int, str)) and key in table


def _category(row: Mapping[str, Any], categories: Mapping[Any, Any], called: str) -> str | None:
    number = row.get("category_id")
    if number is None:
        return None
    if not _listed(number, categories):
        raise HMLError(f"{called} has the category_id {_short(number)}, which 'categories' does not list; correct it")
    return str(categories[number])

"""GQA's scene graphs, read image by image.

``train_sceneGraphs.json`` and ``val_sceneGraphs.json`` are {image id: {width, height, objects: {object id: {name, x, y,
w, h, attributes: [name], relations: [{name, object}]}}}}. Boxes are in pixels, the object that holds a relation is its
subject, and ``object`` is the other end's id within the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import HMLError
from .names import NONE
from .raw import Found, RawImage, box_of, relation_table
from .stream import members

LEFT_RIGHT = ("to the left of", "to the right of")
"""Predicates that GQA's authors computed from the boxes; they are about half of all relations."""


def read_graphs(path: Path, found: Found, keep_left_right: bool) -> Iterator[RawImage]:
    """The images of a file in its order.

    Raises:
        HMLError: the file is missing or has another layout, or an image occurs twice or has no size.
    """
    seen: set[str] = set()
    for key, graph in members(path, progress=f"reading {path.name}"):
        if not isinstance(graph, dict) or not isinstance(graph.get("objects"), dict):
            raise HMLError(f"{path}: image {key} has no objects; the file must be one of GQA's scene graph files, "
                           "image id -> {width, height, objects}")  # fmt: skip
        if key in seen:
            raise HMLError(f"{path} lists image {key} twice; remove one entry")
        seen.add(key)
        width, height = graph.get("width"), graph.get("height")
        if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
            raise HMLError(f"{path}: image {key} has the size {width!r} x {height!r}; it must be two whole numbers of "
                           "pixels")  # fmt: skip
        yield _image(key, width, height, graph["objects"], found, keep_left_right)
    if not seen:  # another layout, e.g. a list
        raise HMLError(f"{path} holds no image; it must be one of GQA's scene graph files, image id -> {{width, "
                       "height, objects}")  # fmt: skip


def _image(key: str, width: int, height: int, objects: dict, found: Found, keep_left_right: bool) -> RawImage:
    rows: dict[str, int] = {}
    corners: list[tuple[float, ...]] = []
    names: list[tuple[int, ...]] = []
    attributes: list[tuple[int, ...]] = []
    found.tally.find("images")
    found.tally.find("objects", len(objects))
    for object_id, entry in objects.items():
        entry = entry if isinstance(entry, dict) else {}
        box, name = box_of(entry), found.objects.indices((entry.get("name"),))
        if box is None or not name:
            found.tally.drop("objects", "without a box" if name else "without a name", example=f"image {key}")
            continue
        rows[object_id] = len(corners)
        corners.append(box)
        names.append(name)
        attributes.append(found.attributes.indices(_list(entry, "attributes")))
    relations = []
    for object_id, entry in objects.items():
        for relation in _list(entry, "relations"):
            found.tally.find("relations")
            kept = _relation(object_id, relation, objects, rows, found, keep_left_right)
            relations += [kept] if kept else []
    table = np.array(corners, dtype=np.float64).reshape(-1, 4)
    return RawImage(key, f"{key}.jpg", width, height, table, names, relation_table(relations), attributes)


def _relation(
    subject: str, relation: Any, objects: dict, rows: dict[str, int], found: Found, keep_left_right: bool
) -> tuple[int, int, int] | None:
    """Rows and predicate, or None: the reason is counted."""
    relation = relation if isinstance(relation, dict) else {}
    name, target = relation.get("name"), str(relation.get("object"))
    if name in LEFT_RIGHT:
        if not keep_left_right:
            found.tally.drop("relations", "to the left or right of, computed from the boxes (--keep-left-right)")
            return None
        found.tally.note("relations to the left or right of, computed from the boxes")
    predicate = found.predicates.index(name)
    if predicate == NONE:
        found.tally.drop("relations", "without a predicate")
    elif target not in objects:
        found.tally.drop("relations", "the image does not have their object", example=f"object id {target}")
    elif subject not in rows or target not in rows:
        found.tally.drop("relations", "an end has no name or no box")
    else:
        return rows[subject], rows[target], predicate
    return None


def _list(entry: Any, key: str) -> list[Any]:
    """The list under ``key``; a missing one and GQA's printed example (a mapping by id) are read too."""
    value = entry.get(key) if isinstance(entry, dict) else None
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []

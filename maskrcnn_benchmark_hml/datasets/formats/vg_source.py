"""The raw JSON files of Visual Genome, read image by image.

``objects.json`` is a list of {image_id, objects: [{object_id, names, x, y, w, h, merged_object_ids?}]},
``relationships.json`` a list of {image_id, relationships: [{predicate, subject, object}]} whose two ends repeat the
object, with ``name`` or ``names``. Boxes are in pixels. An object may have another box in each of its relations: the
one of objects.json counts, and for an object that only relationships.json knows the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ...errors import HMLError
from ..layout import UNREADABLE_VG_IMAGES
from .names import NONE
from .raw import Found, RawImage, box_of, relation_table
from .stream import is_list, items
from .tally import Tally

OBJECTS_NAME, RELATIONS_NAME, SIZES_NAME = "objects.json", "relationships.json", "image_data.json"

_BROKEN = "of Visual Genome's four broken pictures"

_End = tuple[str, Optional[tuple[float, ...]], tuple[int, ...]]
"""Id of an object ("" = none), x1, y1, x2, y2 (None: not four numbers), indices of its names."""


def read_sizes(src: Path) -> dict[str, tuple[int, int, str]]:
    """Image id as text -> width, height, file name (that of its url), in the order of image_data.json.

    Raises:
        HMLError: an entry has no id or no size, or an id occurs twice.
    """
    sizes: dict[str, tuple[int, int, str]] = {}
    for i, entry in enumerate(_listed(src / SIZES_NAME)):
        key = _image_id(entry, src / SIZES_NAME, i)
        width, height = entry.get("width"), entry.get("height")
        if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
            raise HMLError(f"{src / SIZES_NAME}: image {key} has the size {width!r} x {height!r}; it must be two whole "
                           "numbers of pixels")  # fmt: skip
        if key in sizes:
            raise HMLError(f"{src / SIZES_NAME} lists image {key} twice; remove one entry")
        url = entry.get("url")
        sizes[key] = width, height, url.rpartition("/")[2] if isinstance(url, str) else f"{key}.jpg"
    return sizes


def read_images(src: Path, sizes: dict[str, tuple[int, int, str]], found: Found) -> Iterator[RawImage]:
    """The images of objects.json and relationships.json, joined by their ids.

    The two files may list them in any order and need not have the same ones. What is waiting for its other half is
    held in memory; with the published files, which run in parallel, that is one image at most. Images without a size
    and the four broken pictures are left out with all they have, and counted.

    Args:
        sizes: those of :func:`read_sizes`.

    Raises:
        HMLError: a file is missing or no such list, or an image occurs twice in it.
    """
    halves = (
        (key, _read_objects(entry, found)) for key, entry in _entries(src / OBJECTS_NAME, "objects")
    ), (
        (key, _read_relations(entry, found)) for key, entry in _entries(src / RELATIONS_NAME, "relationships")
    )
    found.tally.find("images", len(sizes))
    broken = sum(map(is_broken, sizes))
    found.tally.drop("images", _BROKEN, broken)
    for key, listed, relations in _joined(*halves, found.tally):
        why = f"of images that {SIZES_NAME} does not list" if key not in sizes else _BROKEN if is_broken(key) else ""
        if not why:
            yield _image(key, sizes[key], listed or [], relations or [], found)
            continue
        if key not in sizes:
            found.tally.find("images")
            found.tally.drop("images", f"{SIZES_NAME} does not list them", example=key)
        found.tally.drop("objects", why, len(listed or []), f"image {key}")
        found.tally.drop("relations", why, len(relations or []), f"image {key}")


def _listed(path: Path) -> Iterator[Any]:
    """The entries of one of the files, which must hold a list."""
    if not is_list(path):
        raise HMLError(f"{path} holds no JSON list; is this Visual Genome's file of that name?")
    return items(path, progress=f"reading {path.name}")


def _entries(path: Path, key: str) -> Iterator[tuple[str, list[Any]]]:
    """Image id and the list under ``key`` of every entry of a file."""
    seen: set[str] = set()
    for i, entry in enumerate(_listed(path)):
        image_id = _image_id(entry, path, i)
        if image_id in seen:
            raise HMLError(f"{path} lists image {image_id} twice; remove one entry")
        seen.add(image_id)
        if not isinstance(entry.get(key), list):
            raise HMLError(f"{path}: image {image_id} has no list {key!r}; is this Visual Genome's file of that name?")
        yield image_id, entry[key]


def _image_id(entry: Any, path: Path, i: int) -> str:
    image_id = entry.get("image_id") if isinstance(entry, dict) else None
    if isinstance(image_id, bool) or not isinstance(image_id, (int, str)) or image_id == "":
        raise HMLError(f"{path}: entry {i} has no image_id; is this Visual Genome's file of that name?")
    return str(image_id)


def _joined(first: Iterator, second: Iterator, tally: Tally) -> Iterator[tuple[str, Any, Any]]:
    """Halves with the same id; at the end those without a partner, whose other half is None."""
    waiting: tuple[dict, dict] = {}, {}
    streams = [(0, first), (1, second)]
    while streams:
        for side, stream in tuple(streams):
            entry = next(stream, None)
            if entry is None:
                streams.remove((side, stream))
                continue
            key, half = entry
            if key in waiting[1 - side]:
                other = waiting[1 - side].pop(key)
                yield (key, half, other) if side == 0 else (key, other, half)
            else:
                waiting[side][key] = half
    for missing, keys in ((RELATIONS_NAME, waiting[0]), (OBJECTS_NAME, waiting[1])):
        tally.note(f"images that {missing} does not list", len(keys), next(iter(keys), ""))
    yield from ((key, half, None) for key, half in waiting[0].items())
    yield from ((key, None, half) for key, half in waiting[1].items())


def _read_objects(listed: list[Any], found: Found) -> list[tuple[_End, list[Any]]]:
    """The objects of an image, each with the ids of those that were merged into it."""
    found.tally.find("objects", len(listed))
    read = []
    for entry in listed:
        end = _end(entry, found)
        if end[0]:
            merged = entry.get("merged_object_ids")
            read.append((end, merged if isinstance(merged, list) else []))
        else:
            found.tally.drop("objects", "without an object_id")
    return read


def _read_relations(listed: list[Any], found: Found) -> list[tuple[_End, _End, int]]:
    found.tally.find("relations", len(listed))
    read = []
    for entry in listed:
        if not isinstance(entry, dict):
            entry = {}
        subject, object_ = (_end(entry.get(key), found) for key in ("subject", "object"))
        predicate = found.predicates.index(entry.get("predicate"))
        if predicate == NONE:
            found.tally.drop("relations", "without a predicate")
        elif not subject[0] or not object_[0]:
            found.tally.drop("relations", "an end has no object_id")
        else:
            read.append((subject, object_, predicate))
    return read


def _end(entry: Any, found: Found) -> _End:
    if not isinstance(entry, dict):
        return "", None, ()
    given = entry.get("names")
    names = found.objects.indices(given if isinstance(given, list) else (entry.get("name"),))
    object_id = entry.get("object_id")
    return "" if object_id is None else str(object_id), box_of(entry), names


class _Rows:
    """The objects of one image, each with its row, and the ids of objects that have no name or no box."""

    def __init__(self) -> None:
        self.of_id: dict[str, int] = {}
        self.corners: list[tuple[float, ...]] = []
        self.names: list[tuple[int, ...]] = []
        self.unusable: dict[str, str] = {}
        self._merged_into: dict[str, int] = {}

    def take(self, end: _End, merged: list[Any]) -> None:
        """Add an object of objects.json, or note why it is unusable."""
        if end[1] is None or not end[2]:
            self.unusable[end[0]] = "without a name" if not end[2] else "without a box"
            return
        self._merged_into.update({str(other): len(self.corners) for other in merged})
        self.add(end[0], end[1], end[2])

    def add(self, object_id: str, box: tuple[float, ...], names: tuple[int, ...]) -> int:
        row = self.of_id[object_id] = len(self.corners)
        self.corners.append(box)
        self.names.append(names)
        return row

    def row(self, object_id: str) -> int | None:
        """Row of an object, or of that into which it was merged."""
        return self.of_id.get(object_id, self._merged_into.get(object_id))


def _image(key: str, size: tuple[int, int, str], listed: list, relations: list, found: Found) -> RawImage:
    """Give every object a row, those of objects.json first; relations follow their ends' ids."""
    rows = _Rows()
    for end, merged in listed:
        if end[0] in rows.of_id or end[0] in rows.unusable:
            found.tally.drop("objects", "an earlier object of the image has the same object_id", example=f"image {key}")
        else:
            rows.take(end, merged)
    kept = []
    for subject, object_, predicate in relations:
        pair: list[int] = []
        for end in (subject, object_):
            row = rows.row(end[0])
            if row is None and end[1] is not None and end[2]:
                row = rows.add(end[0], end[1], end[2])
                found.tally.find("objects")
                found.tally.note(f"objects that only {RELATIONS_NAME} has", int(end[0] not in rows.unusable))
            elif row is not None and end[1] is not None and end[1] != rows.corners[row]:
                found.tally.note("ends of relations with another box than their object, whose box counts")
            pair += [] if row is None else [row]
        if len(pair) == 2:
            kept.append((pair[0], pair[1], predicate))
        else:
            found.tally.drop("relations", "an end has no name or no box", example=f"image {key}")
    for end_id, why in rows.unusable.items():
        if end_id in rows.of_id:  # found once more, in relationships.json
            why = f"{why} in {OBJECTS_NAME}, taken from {RELATIONS_NAME}"
            found.tally.merge("objects", why, example=f"image {key}")
        else:
            found.tally.drop("objects", why, example=f"image {key}")
    width, height, file_name = size
    table = np.array(rows.corners, dtype=np.float64).reshape(-1, 4)
    return RawImage(key, file_name, width, height, table, rows.names, relation_table(kept))


def is_broken(source_id: str) -> bool:
    """Whether this is one of Visual Genome's four broken pictures."""
    return source_id.isdecimal() and int(source_id) in UNREADABLE_VG_IMAGES

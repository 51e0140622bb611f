"""One COCO file with relations as arrays, and what ties its annotations, images and relations together."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import HMLError
from . import stream
from .ids import IdCodes, rows_of
from .masks import mask_box
from .source import id_text
from .tally import Tally

NO_BOX = "they have neither a bbox of four numbers nor a segmentation"
NO_IMAGE = "their image_id is no image of the file"
NO_END = "their subject or object is no annotation of their image"
TWO_IMAGES = "they join annotations of two images"
NAME_LISTS = ("categories", "rel_categories", "attribute_categories")
_ANNOTATION = ("id", "image_id", "category_id")
_RELATION = ("image_id", "subject_id", "object_id", "predicate_id")
_PLAIN, _NUMBERS = {int}, {int, float}
CROWD = "objects marked as a crowd (iscrowd), which stay"


@dataclass
class CocoFile:
    """The content of one file; codes are those of one :class:`IdCodes` for all files.

    Attributes:
        name: for messages. split: of all its images.
        images: entries without id, file_name, width and height; the four are in ``main``.
        ids, image, category: of each annotation; boxes: (n, 4) x1, y1, x2, y2, NaN without a box.
        attributes: row -> attribute ids, where there are any.
        relations: (r, 4) image, subject, object, predicate: their ids, after :func:`tie_by_id` rows but the last.
        names: the lists of ``NAME_LISTS`` that the file has.
    """

    name: str
    split: int
    main: list[tuple[str, str, int, int]] = field(default_factory=list)
    images: list[dict] = field(default_factory=list)
    image_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    image: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    category: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    attributes: dict[int, tuple] = field(default_factory=dict)
    relations: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    names: dict[str, list] = field(default_factory=dict)


def read_coco(path: Path, split: int, codes: IdCodes, tally: Tally) -> CocoFile:
    """The content of a file, read once.

    Raises:
        HMLError: the file is not JSON, has no images, or an image lacks its id or file name or occurs twice.
    """
    file = CocoFile(f"{path.parent.name}/{path.name}", split)
    image_ids, annotations, boxes, relations = array("q"), array("q"), array("d"), array("q")
    place = str(path)
    at: Counter = Counter()
    for key, entry in stream.sections(path, f"reading {file.name}"):
        i = at[key]
        at[key] = i + 1
        if key == "rel_annotations":
            relations.extend(_codes(entry, _RELATION, codes, key, i, place))
        elif key == "annotations":
            annotations.extend(_codes(entry, _ANNOTATION, codes, key, i, place))
            boxes.extend(_box(entry))
            _read_further(entry, i, file, codes, tally)
        elif key == "images":
            image_ids.append(_read_image(entry, file, codes, f"entry {i} of 'images' in {place}"))
        elif key in NAME_LISTS:
            file.names.setdefault(key, []).append(entry)
    if not len(image_ids):
        raise HMLError(f"{path} has no list 'images'; it must be a COCO file (images, annotations, categories)")
    file.image_ids = np.array(image_ids, dtype=np.int64)
    _, first, count = np.unique(file.image_ids, return_index=True, return_counts=True)
    if (count > 1).any():
        raise HMLError(f"{path} lists an image id twice, first that of {file.main[first[np.argmax(count > 1)]][1]}")
    file.ids, file.image, file.category = np.array(annotations, dtype=np.int64).reshape(-1, 3).T.copy()
    file.boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    file.boxes[:, 2:] += file.boxes[:, :2]
    file.relations = np.array(relations, dtype=np.int64).reshape(-1, 4)
    for kind, rows in (("images", image_ids), ("objects", file.ids), ("relations", file.relations)):
        tally.find(kind, len(rows))
    return file


def _read_image(entry: Any, file: CocoFile, codes: IdCodes, what: str) -> int:
    if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str) or "id" not in entry:
        raise HMLError(f"{what} has no id or no file_name; an image needs both")
    code = codes.code(entry["id"], what)
    sides = (_side(entry.pop(key, 0), what) for key in ("width", "height"))
    file.main.append((id_text(entry.pop("id"), what), entry.pop("file_name"), *sides))
    file.images.append(entry)
    return code


def _side(value: Any, what: str) -> int:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()):
        return int(value or 0)
    raise HMLError(f"{what} has the side {value!r}; give a whole number of pixels")


def _read_further(entry: dict, i: int, file: CocoFile, codes: IdCodes, tally: Tally) -> None:
    if entry.get("iscrowd"):
        tally.note(CROWD, example=f"annotation {entry.get('id')} of {file.name}")
    if entry.get("attribute_ids"):
        file.attributes[i] = tuple(codes.code(a, f"an attribute of annotation {i}") for a in entry["attribute_ids"])


def _codes(entry: Any, keys: tuple[str, ...], codes: IdCodes, kind: str, i: int, place: str) -> Iterable[int]:
    """The ids at some keys; millions of entries are read, so that plain numbers take the short way."""
    try:
        values = tuple(map(entry.__getitem__, keys))
    except (KeyError, TypeError, AttributeError):
        if not isinstance(entry, dict):
            raise HMLError(f"entry {i} of {kind!r} in {place} is {entry!r}; it must be an object") from None
        values = tuple(map(entry.get, keys))
    if set(map(type, values)) == _PLAIN and min(values) >= 0 and max(values) < 1 << 62:
        return values
    return [codes.none() if value is None else codes.code(value, f"{key!r} of entry {i} of {kind!r} in {place}")
            for key, value in zip(keys, values)]  # fmt: skip


def _box(entry: dict) -> Iterable[float]:
    """x, y, width, height; NaN without a box."""
    box = entry.get("bbox")
    if type(box) is list and len(box) == 4 and _NUMBERS.issuperset(map(type, box)):
        return box
    corners = mask_box(entry.get("segmentation")) if box is None else None
    if corners is None:
        return (math.nan,) * 4
    return (*corners[:2], corners[2] - corners[0], corners[3] - corners[1])


def read_positions(
    relations: Iterable[tuple[Any, Any]], path: Path, file: CocoFile, codes: IdCodes, tally: Tally
) -> None:
    """RelTR's relations of a file: image id -> [[subject, object, predicate], ...], by position in the image.

    Args:
        relations: the pairs of the file's split in rel.json, whose ``path`` is for messages.
    """
    rows = array("q")
    for image_id, triplets in relations:
        code = codes.code(image_id, f"an image in {path}")
        for triplet in triplets if isinstance(triplets, list) else [triplets]:
            if not isinstance(triplet, list) or len(triplet) != 3 or any(type(n) is not int for n in triplet):
                raise HMLError(f"{path} has the relation {triplet!r} of image {image_id}; give three whole numbers")
            rows.extend((code, *triplet))
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    tally.find("relations", len(table) - len(file.relations))
    order, start = _by_image(file)
    image = rows_of(table[:, 0], file.image_ids)
    tally.drop("relations", NO_IMAGE, int((image < 0).sum()), path.name)
    table, image = table[image >= 0], image[image >= 0]
    inside = np.all((table[:, 1:3] >= 0) & (table[:, 1:3] < (start[image + 1] - start[image])[:, None]), axis=1)
    tally.drop("relations", NO_END, int((~inside).sum()), path.name)
    table, image = table[inside], image[inside]
    file.relations = np.column_stack([image, order[start[image][:, None] + table[:, 1:3]], table[:, 3]])


def tie_by_id(file: CocoFile, path: Path, tally: Tally) -> None:
    """Replace the codes of images and annotations in ``relations`` by rows; drop and count what has none.

    Annotation ids are unique in the file; where a file has them unique in each image alone, the image decides.
    """
    own = rows_of(file.image, file.image_ids)
    image, subject, obj, predicate = file.relations.T
    stated = rows_of(image, file.image_ids)
    distinct, rank = np.unique(file.ids, return_inverse=True)
    if len(distinct) == len(file.ids):
        ends = np.stack([rows_of(subject, file.ids), rows_of(obj, file.ids)], axis=1)
    else:
        keys = own * len(distinct) + rank
        if len(np.unique(keys[own >= 0])) < int((own >= 0).sum()):
            raise HMLError(f"{path} has two annotations with the same id in one image; ids must be unique")
        known = np.flatnonzero(own >= 0)
        tied = [np.where(stated >= 0, stated * len(distinct) + rows_of(end, distinct), -1) for end in (subject, obj)]
        unknown = [rows_of(end, distinct) < 0 for end in (subject, obj)]
        found = [np.where(lost, -1, rows_of(key, keys[known])) for key, lost in zip(tied, unknown)]
        ends = np.stack([np.where(at >= 0, known[at], -1) for at in found], axis=1)
    missing = np.any(ends < 0, axis=1)
    between = ~missing & (own[ends[:, 0]] != own[ends[:, 1]]) if len(own) else np.zeros_like(missing)
    home = own[ends[:, 0]] if len(own) else stated
    missing |= ~between & (stated >= 0) & (stated != home)
    tally.drop("relations", NO_END, int(missing.sum()), _first(missing, file))
    tally.drop("relations", TWO_IMAGES, int(between.sum()), _first(between, file))
    kept = ~missing & ~between
    file.relations = np.column_stack([home[kept], ends[kept], predicate[kept]])


def _first(mask: np.ndarray, file: CocoFile) -> str:
    return f"entry {int(np.argmax(mask))} of {file.name}"


def _by_image(file: CocoFile) -> tuple[np.ndarray, np.ndarray]:
    """The annotations in the order of the images, and where each image's begin; those of no image are left out."""
    own = rows_of(file.image, file.image_ids)
    order = np.argsort(own, kind="stable")
    order = order[int((own < 0).sum()) :]
    return order, np.searchsorted(own[order], np.arange(len(file.image_ids) + 1))


class ByImage:
    """The annotations and relations of a file in the order of its images.

    Attributes:
        rows: (n,) the annotations. start: (images + 1,) where those of each image begin among them.
        relations: (r, 3) subject and object as positions in their image, and predicate.
        rel_start: (images + 1,) where those of each image begin.
    """

    def __init__(self, file: CocoFile, tally: Tally) -> None:
        """Sort them; what is tied to no image of the file is counted as dropped."""
        self.rows, self.start = _by_image(file)
        tally.drop("objects", NO_IMAGE, len(file.ids) - len(self.rows), file.name)
        homeless = file.relations[:, 0] < 0
        tally.drop("relations", NO_IMAGE, int(homeless.sum()), file.name)
        relations = file.relations[~homeless]
        relations = relations[np.argsort(relations[:, 0], kind="stable")]
        place = np.full(len(file.ids), -1, dtype=np.int64)
        place[self.rows] = np.arange(len(self.rows))
        place = place[relations[:, 1:3]] - self.start[relations[:, 0]][:, None]
        self.relations = np.column_stack([place, relations[:, 3]])
        self.rel_start = np.searchsorted(relations[:, 0], np.arange(len(file.image_ids) + 1))

"""Open Images' csv files of visual relationships (challenge 2018 and 2019, V6).

A row is a relation: ImageID, LabelName1, LabelName2, XMin1, XMax1, YMin1, YMax1, XMin2, XMax2, YMin2, YMax2,
RelationshipLabel. Coordinates are shares of the picture's width and height. Objects have no id: an object is a distinct
(image, label, box). Rows "is" give an attribute of the first object: LabelName2 is the attribute, box 2 repeats box 1.
"""

from __future__ import annotations

import csv
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import HMLError
from ...files import why_unreadable
from .csv_stream import csv_rows
from .names import NONE
from .raw import Found, relation_table
from .tally import Tally

SAME_TO = 1e6
"""Coordinates that are equal when rounded to one over this, of the picture's side, are the same."""
IS = "is"
NEARLY_SAME = 0.95
"""Intersection over union above which two objects of one label are counted as probably the same."""

_RELATION_COLUMNS = ("ImageID", "LabelName1", "LabelName2", "XMin1", "XMax1", "YMin1", "YMax1",
                     "XMin2", "XMax2", "YMin2", "YMax2", "RelationshipLabel")  # fmt: skip
_BOX_COLUMNS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
_GROUP = "IsGroupOf"
_KEY = struct.Struct("<5i")


class _Image:
    """The objects, relations and attributes of one image while rows come in."""

    __slots__ = ("attributes", "relations", "rows")

    def __init__(self) -> None:
        self.rows: dict[bytes, int] = {}
        """Label and box as one key -> row."""
        self.relations: list[tuple[int, int, int]] | None = None
        self.attributes: dict[int, list[int]] | None = None

    def row(self, key: bytes) -> int:
        return self.rows.setdefault(key, len(self.rows))


def read_relations(path: Path, found: Found) -> dict[str, _Image]:
    """The images of a file of relations, whatever the order of its rows.

    Raises:
        HMLError: the file is missing or has other columns, or coordinates that are no shares.
    """
    images: dict[str, _Image] = {}
    for image_id, label1, label2, *numbers, relation in csv_rows(path, _RELATION_COLUMNS):
        image = images.get(image_id)
        if image is None:
            image = images.setdefault(image_id, _Image())
        subject = _key(label1, numbers[:4], found, path, image_id)
        if relation.strip() == IS:
            _add_attribute(image, subject, numbers, label2, found)
            continue
        found.tally.find("relations")
        object_ = _key(label2, numbers[4:], found, path, image_id)
        predicate = found.predicates.index(relation)
        if predicate == NONE or subject is None or object_ is None:
            reason = "without a RelationshipLabel" if predicate == NONE else "an end has no label or not four numbers"
            found.tally.drop("relations", reason, example=f"image {image_id}")
        rows = [image.row(key) for key in (subject, object_) if key is not None]
        if len(rows) == 2 and predicate != NONE:
            image.relations = image.relations or []
            image.relations.append((rows[0], rows[1], predicate))
    return images


def _add_attribute(image: _Image, key: bytes | None, numbers: list[str], name: str, found: Found) -> None:
    found.tally.note('rows "is" (attributes of objects, not relations)')
    attribute = found.attributes.index(name)
    if key is None or attribute == NONE:
        found.tally.note('rows "is" left out: no label or not four numbers')
        return
    if numbers[:4] != numbers[4:] and _numbers(numbers[:4]) != _numbers(numbers[4:]):
        found.tally.note('rows "is" with another second box; the first counts')
    image.attributes = image.attributes or {}
    given = image.attributes.setdefault(image.row(key), [])
    if attribute in given:
        found.tally.note('rows "is" that repeat another')
    else:
        given.append(attribute)


def add_boxes(path: Path, images: dict[str, _Image], found: Found, group_of: bool) -> None:
    """Add the objects that are in no relation, from a file of boxes; of the images that have relations only.

    Args:
        group_of: take boxes around a group of objects (IsGroupOf 1) too. Those that are in a relation stay anyway.

    Raises:
        HMLError: as for :func:`read_relations`.
    """
    for image_id, label, *numbers, group in csv_rows(path, _BOX_COLUMNS, (_GROUP,)):
        image = images.get(image_id)
        if image is None:
            found.tally.note(f"rows of {path.name} of images without relations, left out")
            continue
        key = _key(label, numbers, found, path, image_id)
        if key in image.rows:
            found.tally.note(f"rows of {path.name} that are objects found before")
            continue
        if key is not None and (group_of or group.strip() != "1"):
            found.tally.note(f"objects that only {path.name} has")
            image.row(key)  # found is counted with its image
            continue
        found.tally.find("objects")
        reason = "boxes around a group, in no relation (--group-of keeps them)" if key else (
            "without a label or not four numbers")
        found.tally.drop("objects", reason, example=f"image {image_id}")


def _key(label: str, numbers: list[str], found: Found, path: Path, image_id: str) -> bytes | None:
    """A label and XMin, XMax, YMin, YMax as a key that is equal for the same object; None if something is missing."""
    index, values = found.objects.index(label), _numbers(numbers)
    if index == NONE or values is None:
        return None
    if max(values) > 2 * SAME_TO or min(values) < -SAME_TO:
        raise HMLError(f"{path}: image {image_id} has the box {', '.join(numbers)}; Open Images gives shares of the "
                       "picture's width and height, from 0 to 1")  # fmt: skip
    return _KEY.pack(index, *values)


def _numbers(texts: list[str]) -> list[int] | None:
    try:
        return [round(float(text) * SAME_TO) for text in texts]
    except (ValueError, OverflowError):  # no number, NaN, infinite
        return None


def finished(images: dict[str, _Image], attribute_images: bool, tally: Tally) -> Iterator[tuple[str, Objects]]:
    """The images in the order of the file.

    Args:
        attribute_images: keep images that have no relation, only attributes.
    """
    for image_id, image in images.items():
        rows = np.array([_KEY.unpack(key) for key in image.rows], dtype=np.int64).reshape(-1, 5)
        tally.find("images")
        tally.find("objects", len(rows))
        if not image.relations and not attribute_images:
            tally.drop("images", "without a relation, with attributes only (--attribute-images keeps them)")
            tally.drop("objects", "of images without a relation", len(rows))
            continue
        shares, labels = rows[:, [1, 3, 2, 4]] / SAME_TO, rows[:, 0]
        tally.note(f"pairs of objects of one label that overlap by over {NEARLY_SAME} (kept apart)",
                   _nearly_same(shares, labels), f"image {image_id}")  # fmt: skip
        attributes = [tuple((image.attributes or {}).get(row, ())) for row in range(len(labels))]
        yield image_id, Objects(shares, labels, relation_table(image.relations or []), attributes)


@dataclass
class Objects:
    """An image's objects: boxes as shares of the sides, labels and attributes as indices of names, relations by row."""

    shares: np.ndarray
    labels: np.ndarray
    relations: np.ndarray
    attributes: list[tuple[int, ...]]


def _nearly_same(boxes: np.ndarray, labels: np.ndarray) -> int:
    if len(np.unique(labels)) == len(labels):
        return 0
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    share = both / np.maximum(area[:, None] + area[None, :] - both, 1e-12)
    close = (share > NEARLY_SAME) & (labels[:, None] == labels[None, :])
    return int(np.triu(close, 1).sum())


def read_descriptions(paths: list[Path]) -> dict[str, str]:
    """Id -> name of files with two columns, with a header line (V6) or without; of an id that occurs twice the first.

    A name that two ids share gets the id behind it, so that they stay two classes.

    Raises:
        HMLError: a file cannot be read, or a line has no second column.
    """
    found: dict[str, str] = {}
    for path in paths:
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                for number, row in enumerate(csv.reader(file), 1):
                    if len(row) == 1:
                        raise HMLError(f"line {number} of {path} has one column; it must have an id and a name")
                    if row and row[0].strip() not in ("LabelName", "RelationshipLabel"):
                        found.setdefault(row[0].strip(), row[1].strip())
        except (OSError, UnicodeError, csv.Error) as error:
            raise HMLError(why_unreadable(path, error, "a text file")) from error
    first: dict[str, str] = {}
    for label, name in found.items():
        if first.setdefault(name, label) != label:
            found[label] = f"{name} ({label})"
    return found


def read_sizes(path: Path) -> dict[str, tuple[int, int]]:
    """ImageID -> width, height in pixels, of a csv file with the columns ImageID, Width, Height.

    Raises:
        HMLError: the file cannot be read or a size is no whole number above 0.
    """
    sizes = {}
    for image_id, width, height in csv_rows(path, ("ImageID", "Width", "Height")):
        if not (width.strip().isdecimal() and height.strip().isdecimal() and int(width) and int(height)):
            raise HMLError(f"{path}: image {image_id} has the size {width} x {height}; give whole numbers of pixels")
        sizes[image_id] = int(width), int(height)
    return sizes


def find_files(src: Path) -> tuple[dict[str, Path], dict[str, Path], list[Path]]:
    """The files of a folder, by their names: relations and boxes by split (train, validation, test), descriptions.

    Raises:
        HMLError: there is no folder or no file of training relations, or two files are the relations of one split.
    """
    if not src.is_dir():
        raise HMLError(f"{src} is not a folder; name the one that holds Open Images' csv files")
    relations: dict[str, Path] = {}
    boxes: dict[str, Path] = {}
    descriptions = []
    for path in sorted(src.glob("*.csv")):
        name = path.name.lower()
        split = next((split for split in ("train", "validation", "test") if split in name), None)
        if "description" in name or "classes" in name:
            descriptions.append(path)
        elif split and ("bbox" in name or "vrd" in name) and "labels" not in name:
            kind, what = (boxes, "boxes") if "bbox" in name else (relations, "relations")
            if split in kind:
                raise HMLError(f"{src} has two files with the {split} {what}, {kind[split].name} and {path.name}; "
                               "leave one")  # fmt: skip
            kind[split] = path
    if "train" not in relations:
        raise HMLError(f"{src} has no csv file with 'train' and 'vrd' in its name, e.g. "
                       "oidv6-train-annotations-vrd.csv; name the folder that holds it")  # fmt: skip
    return relations, boxes, descriptions

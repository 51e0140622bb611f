"""What is wrong with the records that a dataset folder is to be written from, before a file is written."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import HMLError
from .layout import MAX_ATTRIBUTES, TEST, TRAIN, UNREADABLE_VG_IMAGES, VALIDATION, ImageRecord, Vocabulary

_SPLITS = {TRAIN: "training", VALIDATION: "validation", TEST: "test"}
_FEWEST = 10
"""Fewer boxes than this do not show that they are fractions."""


class RecordCheck:
    """Refuses what ``check_vg`` would refuse once it is written, one record after another.

    Attributes:
        images: records so far. usable: training images with relations among them.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.images = self.usable = 0
        self._vocabulary = vocabulary
        self._seen: set[int] = set()
        self._boxes, self._reach = 0, 0.0

    def add(self, record: ImageRecord) -> None:
        """Check the next record; HMLError: it does not fit the format, or its image id occurs twice."""
        _require_valid(record, self._vocabulary)
        if record.image_id in self._seen:
            raise HMLError(f"image id {record.image_id} occurs twice; every image needs its own id")
        self._seen.add(record.image_id)
        self.images += 1
        self.usable += int(record.split == TRAIN and np.asarray(record.relations).size > 0)
        boxes = np.asarray(record.boxes)
        if min(record.width, record.height) > 2 and boxes.size:
            self._boxes += len(boxes)
            self._reach = max(self._reach, float(boxes.max()))

    def finish(self, num_val_images: int | None) -> None:
        """Check the records as a whole.

        Raises:
            HMLError: there is none, all boxes are within the first pixel, or too few images have relations.
        """
        if not self.images:
            raise HMLError("there is no image to write; the list of records is empty")
        if self._boxes >= _FEWEST and self._reach <= 1:
            raise HMLError("all boxes lie between 0 and 1; give pixels: multiply by the picture's width and height")
        if num_val_images is not None and not (_is_whole(num_val_images) and 0 <= num_val_images <= self.usable):
            raise HMLError(
                f"num_val_images is {num_val_images!r}, but {self.usable} training images have relations; give a whole"
                f" number from 0 to {self.usable}"
            )


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _require_valid(record: ImageRecord, vocabulary: Vocabulary) -> None:
    where = f"image {record.image_id}"
    if not _is_whole(record.image_id):
        raise HMLError(
            f"the image id {record.image_id!r} is no whole number; give the image a number and keep its own name in"
            " ImageRecord.extra"
        )
    if record.image_id in UNREADABLE_VG_IMAGES:
        raise HMLError(f"{where}: readers skip this id, which is one of Visual Genome's broken pictures; use another")
    if not (_is_whole(record.width) and _is_whole(record.height) and record.width >= 1 and record.height >= 1):
        raise HMLError(
            f"{where} has size {record.width}x{record.height}; both sides must be whole numbers of pixels, at least 1"
        )
    if record.split not in _SPLITS:
        raise HMLError(f"{where} has split {record.split}; use 0 for training, 1 for validation and 2 for test")
    taken = sorted({"image_id", "width", "height"} & set(record.extra))
    if taken:
        raise HMLError(f"'extra' of {where} has {taken[0]!r}, which the record itself gives; name it otherwise")
    boxes = _table(record.boxes, 4, f"the boxes of {where}", "(n, 4): x1, y1, x2, y2 in pixels")
    relations = _table(record.relations, 3, f"the relations of {where}", "(r, 3): subject, object, predicate")
    labels = np.asarray(record.labels)
    for values, what in ((labels, "labels"), (relations, "relations")):
        if values.size and values.dtype.kind not in "iu":
            raise HMLError(f"the {what} of {where} are {values.dtype}; give whole numbers")
    if len(labels) != len(boxes):
        raise HMLError(f"{where} has {len(boxes)} boxes but {len(labels)} labels; they must pair up")
    _require_boxes(boxes, record, where)
    _require_range(labels, len(vocabulary.objects), f"the object class of object {{}} of {where}")
    _require_attributes(record, len(boxes), len(vocabulary.attributes), where)
    _require_relations(relations, len(boxes), len(vocabulary.predicates), where)


def _table(values: Any, columns: int, what: str, shape: str) -> np.ndarray:
    """As an array with so many columns; an empty one of any shape is a table without rows."""
    table = np.asarray(values)
    if not table.size:
        return np.zeros((0, columns))
    if table.ndim != 2 or table.shape[1] != columns:
        raise HMLError(f"{what} have the shape {table.shape}; it must be {shape}")
    return table


def _require_boxes(boxes: np.ndarray, record: ImageRecord, where: str) -> None:
    boxes = boxes.astype(np.float64)
    clipped = np.clip(boxes, 0, [record.width, record.height] * 2)
    wrong = ~np.isfinite(boxes).all(1) | ~(clipped[:, 2:] > clipped[:, :2]).all(1)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise HMLError(
            f"object {i} of {where} has the box {boxes[i].tolist()}, which covers nothing of the picture"
            f" ({record.width}x{record.height}); give x1, y1, x2, y2 in pixels"
        )


def _require_attributes(record: ImageRecord, objects: int, largest: int, where: str) -> None:
    if record.attributes and len(record.attributes) != objects:
        raise HMLError(f"{where} has {objects} boxes but {len(record.attributes)} attribute lists")
    for i, indices in enumerate(record.attributes):
        if len(indices) > MAX_ATTRIBUTES:
            raise HMLError(f"object {i} of {where} has {len(indices)} attributes; the format holds {MAX_ATTRIBUTES}")
        for index in indices:
            if not _is_whole(index) or not 1 <= index <= largest:
                raise HMLError(f"an attribute of object {i} of {where} is {index!r}; it must lie in 1..{largest}")


def _require_relations(relations: np.ndarray, objects: int, largest: int, where: str) -> None:
    _require_range(relations[:, 2], largest, f"the predicate of relation {{}} of {where}")
    outside = ((relations[:, :2] < 0) | (relations[:, :2] >= objects)).any(1)
    if outside.any():
        raise HMLError(f"relation {int(np.argmax(outside))} of {where} names an object that the image does not have")
    itself = relations[:, 0] == relations[:, 1]
    if itself.any():
        raise HMLError(f"relation {int(np.argmax(itself))} of {where} joins an object with itself")


def _require_range(values: np.ndarray, largest: int, what: str) -> None:
    wrong = (values < 1) | (values > largest)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise HMLError(f"{what.format(i)} is {int(values[i])}; it must lie in 1..{largest}")

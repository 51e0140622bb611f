"""Reads Visual Genome's scene graph files: boxes, classes and relations (HDF5), vocabulary and image list (JSON).

Everything is read into one flat array per quantity, and what belongs to one image is a view into it: loading takes
no Python loop over relations, and forked loader workers share the memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from maskrcnn_benchmark_hml.datasets.layout import BACKGROUND, BOX_SCALE, check_file
from maskrcnn_benchmark_hml.datasets.pictures import locate_pictures
from maskrcnn_benchmark_hml.datasets.reader import listed_images, no_attributes, open_annotations, read_names
from maskrcnn_benchmark_hml.datasets.splits import split_images
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.files import read_json

_PER_IMAGE = ("split", "img_to_first_box", "img_to_last_box", "img_to_first_rel", "img_to_last_rel")
_PER_BOX = ("labels", f"boxes_{BOX_SCALE}")
_ATTRIBUTES = "attributes"  # per box too, but a file may lack it
_PER_RELATION = ("relationships", "predicates")


@dataclass
class Annotations:
    """Annotations of one split.

    Attributes:
        split_mask: (images in the file,) bool, the images of this split.
        boxes: (B, 4) x1, y1, x2, y2 at scale 1024, of the file's images from the first to the last of the split.
        labels, attributes: (B,) and (B, 10) class and attribute indices, 0 = none.
        first_box, end_box: (n,) rows of ``boxes`` of each image of the split.
        relations: (R, 3) subject, object (counted within the image) and predicate, of the split only.
        first_rel, end_rel: (n,) rows of ``relations`` of each image.
        num_val_im: how many images at the front of the training split are the validation split; None when it was not
            given and the split is test, or the file itself marks validation images by split 1.
    """

    split_mask: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    attributes: np.ndarray
    first_box: np.ndarray
    end_box: np.ndarray
    relations: np.ndarray
    first_rel: np.ndarray
    end_rel: np.ndarray
    num_val_im: int | None


def per_image(values: np.ndarray, first: np.ndarray, end: np.ndarray) -> list[np.ndarray]:
    """Views ``values[first:end]``, one per image."""
    return [values[a:b] for a, b in zip(first.tolist(), end.tolist())]


def read_annotations(
    roidb_file: str | Path,
    split: str,
    num_im: int = -1,
    num_val_im: int | None = None,
    filter_empty_rels: bool = True,
    filter_non_overlap: bool = False,
) -> Annotations:
    """The annotations of ``split`` = train, val or test.

    Args:
        num_im, num_val_im: see :func:`split_images`.
        filter_empty_rels: leave out images without a relation.
        filter_non_overlap: leave out relations whose boxes do not touch, then images without a relation left.

    Raises:
        HMLError: the file is missing, damaged, or its indices do not fit together; the first wrong one is named.
    """
    path = Path(roidb_file)
    with _opened(path) as file:
        per_image_arrays = {name: file[name][:] for name in _PER_IMAGE}
        num_boxes, num_rels = len(file["labels"]), len(file["relationships"])
        image_index, num_val_im = split_images(file, split, num_im, num_val_im, filter_empty_rels)
        first, last = (per_image_arrays[f"img_to_{end}_box"][image_index].astype(np.int64) for end in ("first", "last"))
        first_box, end_box = first, last + 1
        first_rel = per_image_arrays["img_to_first_rel"][image_index].astype(np.int64)
        count = np.where(first_rel >= 0, per_image_arrays["img_to_last_rel"][image_index] + 1 - first_rel, 0)
        _check_ranges(first_box, end_box, num_boxes, image_index, "box", path)
        start, end = np.where(count != 0, first_rel, 0), np.where(count != 0, first_rel + count, 0)
        _check_ranges(start, end, num_rels, image_index, "relation", path)
        # Only the rows between the split's first and last image are read.
        low, high = int(first_box.min(initial=num_boxes)), int(end_box.max(initial=0))
        labels, boxes = (_signed(file[name][low : max(low, high)]) for name in _PER_BOX)
        if _ATTRIBUTES in file:
            attributes = _signed(file[_ATTRIBUTES][low : max(low, high)])
        else:
            logging.getLogger(__name__).warning("%s has no attributes; every object is read as having none", path)
            attributes = no_attributes(len(labels))
        low_rel, high_rel = int(start[count > 0].min(initial=num_rels)), int(end.max(initial=0))
        relationships, predicates = (_signed(file[name][low_rel : max(low_rel, high_rel)]) for name in _PER_RELATION)
    first_box, end_box = first_box - low, end_box - low
    boxes = _corners(boxes, low, path)

    rows, image = _rows(first_rel - low_rel, count)
    subject, target = relationships[rows, 0] - low, relationships[rows, 1] - low
    wrong = (np.minimum(subject, target) < first_box[image]) | (np.maximum(subject, target) >= end_box[image])
    if wrong.any():
        bad = int(np.argmax(wrong))
        of = int(image[bad])
        raise HMLError(
            f"{path}: relation {low_rel + int(rows[bad])} joins the objects {relationships[rows[bad]].tolist()}, but "
            f"image {int(image_index[of])} has {int(first_box[of]) + low} to {int(end_box[of]) + low - 1}; "
            "write the file again"
        )
    if filter_non_overlap:
        touching = _touch(boxes, subject, target)
        rows, image, subject, target = rows[touching], image[touching], subject[touching], target[touching]
        count = np.bincount(image, minlength=len(image_index))
        kept = count > 0
        image = np.cumsum(kept)[image] - 1
        image_index, first_box, end_box, count = (a[kept] for a in (image_index, first_box, end_box, count))
    offset = first_box[image]
    relations = np.column_stack((subject - offset, target - offset, predicates[rows, 0]))
    end_rel = np.cumsum(count)
    split_mask = np.zeros(len(per_image_arrays["split"]), dtype=bool)
    split_mask[image_index] = True
    return Annotations(
        split_mask, boxes, labels[:, 0], attributes, first_box, end_box, relations, end_rel - count, end_rel, num_val_im
    )


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The open annotation file, with every array that a split needs; HMLError when it cannot be read."""
    with open_annotations(path) as file:
        for names in (_PER_IMAGE, _PER_BOX, _PER_RELATION):
            names = (*names, _ATTRIBUTES) if names == _PER_BOX and _ATTRIBUTES in file else names
            sizes = {name: len(file[name]) for name in names}
            if len(set(sizes.values())) > 1:
                raise HMLError(f"{path} has arrays of different lengths, {sizes}; write the file again")
        yield file


def _signed(values: np.ndarray) -> np.ndarray:
    """Unsigned integers would wrap below 0, and torch does not know them all."""
    return values.astype(np.int64) if values.dtype.kind == "u" else values


def _corners(boxes: np.ndarray, low: int, path: Path) -> np.ndarray:
    """Centre, width and height to corners, in place; halves of integers are cut off towards zero.

    Column by column: numpy is slow along an axis of length two or four.
    """
    wrong = (boxes[:, 0] < 0) | (boxes[:, 1] < 0) | (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)
    if wrong.any():
        bad = int(np.argmax(wrong))
        raise HMLError(
            f"{path}: box {low + bad} is {boxes[bad].tolist()} (centre, width, height); widths and heights must be "
            "positive and centres inside the image"
        )
    for axis in (0, 1):
        size = boxes[:, axis + 2]
        if np.issubdtype(boxes.dtype, np.integer):
            doubled = 2 * boxes[:, axis] - size
            boxes[:, axis] = (doubled + (doubled < 0)) >> 1
        else:
            boxes[:, axis] -= size / 2
        boxes[:, axis + 2] += boxes[:, axis]
    return boxes


def _check_ranges(
    first: np.ndarray, end: np.ndarray, size: int, image_index: np.ndarray, what: str, path: str | Path
) -> None:
    wrong = (first < 0) | (end > size) | (end < first)
    if wrong.any():
        bad = int(np.argmax(wrong))
        raise HMLError(
            f"{path}: image {int(image_index[bad])} has {what} rows {int(first[bad])} to {int(end[bad]) - 1}, "
            f"but the file has {size}; write the file again"
        )


def _rows(first: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Concatenation of ``first[i] .. first[i] + count[i] - 1`` and, for each entry, its i."""
    image = np.repeat(np.arange(len(count)), count)
    offset = np.cumsum(count) - count
    return np.arange(int(count.sum())) + (first - offset)[image], image


def _touch(boxes: np.ndarray, subject: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(R,) whether the two boxes, ends included, share a pixel."""
    one, two = boxes[subject], boxes[target]
    touching = np.ones(len(subject), dtype=bool)
    for axis in (0, 1):
        low = np.maximum(one[:, axis], two[:, axis])
        touching &= np.minimum(one[:, axis + 2], two[:, axis + 2]) - low + 1 > 0
    return touching


def read_vocabulary(dict_file: str | Path) -> tuple[list[str], list[str], list[str]]:
    """Object classes, predicates and attributes in index order, ``__background__`` first."""
    classes, predicates, attributes = ([BACKGROUND, *names] for names in read_names(
        dict_file, "label", "predicate", "attribute"
    ))
    return classes, predicates, attributes


def read_images(img_dir: str | Path, image_file: str | Path, split_mask: np.ndarray) -> tuple[list[str], list[dict]]:
    """File names and entries (``image_id``, ``width``, ``height``, ...) of the images in ``split_mask``.

    Raises:
        HMLError: the list does not fit the annotation file, or a picture is missing; the first one is named.
    """
    entries = listed_images(read_json(check_file(image_file)), len(split_mask))
    if len(entries) != len(split_mask):
        raise HMLError(
            f"{image_file} lists {len(entries)} images but the annotation file has {len(split_mask)}; "
            "use the image list that belongs to it"
        )
    img_info = [entries[i] for i in np.flatnonzero(split_mask)]
    return locate_pictures(img_dir, [entry["image_id"] for entry in img_info], str(image_file)), img_info

"""Reads Visual Genome's scene graph files: boxes, classes and relations (HDF5), vocabulary and image list (JSON).

Everything is read into one flat array per quantity, and what belongs to one image is a view into it: loading takes
no Python loop over relations, and forked loader workers share the memory.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from maskrcnn_benchmark_hml.datasets.format import validation_size
from maskrcnn_benchmark_hml.errors import HMLError

BOX_SCALE = 1024
"""Boxes are stored as if the longer image side had this many pixels."""

BACKGROUND = "__background__"

_BROKEN_IMAGES = frozenset({1592, 1722, 4616, 4617})
"""Image ids that Visual Genome lists but that the annotation file leaves out: the pictures are damaged."""

_ARRAYS = (
    "split", "img_to_first_box", "img_to_last_box", "img_to_first_rel", "img_to_last_rel",
    "labels", "attributes", f"boxes_{BOX_SCALE}", "relationships", "predicates",
)  # fmt: skip


@dataclass
class Annotations:
    """Annotations of one split.

    Attributes:
        split_mask: (images in the file,) bool, the images of this split.
        boxes: (B, 4) x1, y1, x2, y2 at scale 1024, every box of the file.
        labels, attributes: (B,) and (B, 10) class and attribute indices, 0 = none.
        first_box, end_box: (n,) rows of ``boxes`` of each image of the split.
        relations: (R, 3) subject, object (counted within the image) and predicate, of the split only.
        first_rel, end_rel: (n,) rows of ``relations`` of each image.
        num_val_im: how many images at the front of the training split are the validation split; None for the test
            split when it was not given.
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

    Validation images are the first ``num_val_im`` of the file's training split.

    Args:
        num_im: use only the first images of the split in the file; -1: all.
        num_val_im: None: as the file says, else by its size (``validation_size``).
        filter_empty_rels: leave out images without a relation.
        filter_non_overlap: leave out relations whose boxes do not touch, then images without a relation left.

    Raises:
        HMLError: the file is missing, damaged, or its indices do not fit together; the first wrong one is named.
    """
    stored, arrays = _read_arrays(Path(roidb_file))
    selected = arrays["split"] == (2 if split == "test" else 0)
    selected &= arrays["img_to_first_box"] >= 0
    if filter_empty_rels:
        selected &= arrays["img_to_first_rel"] >= 0
    image_index = np.flatnonzero(selected)
    if num_im > -1:
        image_index = image_index[:num_im]
    if split != "test":
        if num_val_im is None:
            num_val_im = validation_size(len(image_index), stored)
        if num_val_im > 0:
            image_index = image_index[:num_val_im] if split == "val" else image_index[num_val_im:]

    boxes = _corners(arrays[f"boxes_{BOX_SCALE}"], roidb_file)
    first_box = arrays["img_to_first_box"][image_index].astype(np.int64)
    end_box = arrays["img_to_last_box"][image_index].astype(np.int64) + 1
    first_rel = arrays["img_to_first_rel"][image_index].astype(np.int64)
    count = np.where(first_rel >= 0, arrays["img_to_last_rel"][image_index] + 1 - first_rel, 0)
    _check_ranges(first_box, end_box, len(boxes), image_index, "box", roidb_file)
    _check_ranges(np.where(count > 0, first_rel, 0), np.where(count > 0, first_rel + count, 0),
                  len(arrays["relationships"]), image_index, "relation", roidb_file)  # fmt: skip

    rows, image = _rows(first_rel, count)
    pairs = arrays["relationships"][rows]
    wrong = ((pairs < first_box[image, None]) | (pairs >= end_box[image, None])).any(axis=1)
    if wrong.any():
        bad = int(np.argmax(wrong))
        raise HMLError(
            f"{roidb_file}: relation {int(rows[bad])} names object {pairs[bad].tolist()}, but image "
            f"{int(image_index[image[bad]])} has the objects {int(first_box[image[bad]])} to "
            f"{int(end_box[image[bad]]) - 1}; write the file again"
        )
    if filter_non_overlap:
        touching = _touch(boxes, pairs)
        rows, image, pairs = rows[touching], image[touching], pairs[touching]
        count = np.bincount(image, minlength=len(image_index))
        kept = count > 0
        image = np.cumsum(kept)[image] - 1
        image_index, first_box, end_box, count = (a[kept] for a in (image_index, first_box, end_box, count))
    relations = np.column_stack((pairs - first_box[image, None], arrays["predicates"][rows, 0]))
    end_rel = np.cumsum(count)
    split_mask = np.zeros(len(selected), dtype=bool)
    split_mask[image_index] = True
    return Annotations(
        split_mask, boxes, arrays["labels"][:, 0], arrays["attributes"], first_box, end_box,
        relations, end_rel - count, end_rel, num_val_im,
    )  # fmt: skip


def _read_arrays(path: Path) -> tuple[int | None, dict[str, np.ndarray]]:
    """The stored validation size, if any, and every array that a split needs."""
    if not path.is_file():
        raise HMLError(f"there is no annotation file {path}; set HML_DATA (or hml run --data) to the dataset's folder")
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in _ARRAYS if name not in file]
            if missing:
                raise HMLError(f"{path} lacks the array {missing[0]!r}; check it with: hml data check {path.parent}")
            stored = file.attrs.get("num_val_images")
            arrays = {name: file[name][:] for name in _ARRAYS}
    except (OSError, RuntimeError) as error:  # what h5py raises for a file that is cut short or no HDF5
        raise HMLError(f"{path} is damaged or no HDF5 file; download or write it again ({error})") from error
    if len(arrays["relationships"]) != len(arrays["predicates"]):
        raise HMLError(f"{path} has {len(arrays['relationships'])} relationships but {len(arrays['predicates'])} "
                       "predicates; write the file again")  # fmt: skip
    return None if stored is None else int(stored), arrays


def _corners(boxes: np.ndarray, path: str | Path) -> np.ndarray:
    """Centre, width and height to corners, in place; integers are cut off towards zero."""
    wrong = (boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] <= 0).any(axis=1)
    if wrong.any():
        bad = int(np.argmax(wrong))
        raise HMLError(f"{path}: box {bad} is {boxes[bad].tolist()} (centre, width, height); widths and heights must "
                       "be positive and centres inside the image")  # fmt: skip
    boxes[:, :2] = boxes[:, :2] - boxes[:, 2:] / 2
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _check_ranges(
    first: np.ndarray, end: np.ndarray, size: int, image_index: np.ndarray, what: str, path: str | Path
) -> None:
    wrong = (first < 0) | (end > size) | (end < first)
    if wrong.any():
        bad = int(np.argmax(wrong))
        raise HMLError(f"{path}: image {int(image_index[bad])} has {what} rows {int(first[bad])} to "
                       f"{int(end[bad]) - 1}, but the file has {size}; write the file again")  # fmt: skip


def _rows(first: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Concatenation of ``first[i] .. first[i] + count[i] - 1`` and, for each entry, its i."""
    image = np.repeat(np.arange(len(count)), count)
    offset = np.cumsum(count) - count
    return np.arange(int(count.sum())) + (first - offset)[image], image


def _touch(boxes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(R,) whether the two boxes, ends included, share a pixel."""
    one, two = boxes[pairs[:, 0]], boxes[pairs[:, 1]]
    return (np.minimum(one[:, 2:], two[:, 2:]) - np.maximum(one[:, :2], two[:, :2]) + 1 > 0).all(axis=1)


def read_vocabulary(dict_file: str | Path) -> tuple[list[str], list[str], list[str]]:
    """Object classes, predicates and attributes in index order, ``__background__`` first."""
    content = read_json(dict_file)
    names = []
    for key in ("label_to_idx", "predicate_to_idx", "attribute_to_idx"):
        if not isinstance(content, dict) or key not in content:
            raise HMLError(f"{dict_file} lacks {key!r}; it must be a vocabulary file of a Visual Genome split")
        index = {**content[key], BACKGROUND: 0}
        ordered = sorted(index, key=index.__getitem__)
        if [index[name] for name in ordered] != list(range(len(ordered))):
            raise HMLError(f"{dict_file}: the indices of {key} are not 1 to {len(ordered) - 1}; close the gaps")
        names.append(ordered)
    return names[0], names[1], names[2]


def read_images(img_dir: str | Path, image_file: str | Path, split_mask: np.ndarray) -> tuple[list[str], list[dict]]:
    """File names and entries (``image_id``, ``width``, ``height``, ...) of the images in ``split_mask``.

    Raises:
        HMLError: the list does not fit the annotation file, or a picture is missing; the first one is named.
    """
    entries = [entry for entry in read_json(image_file) if entry["image_id"] not in _BROKEN_IMAGES]
    if len(entries) != len(split_mask):
        raise HMLError(
            f"{image_file} lists {len(entries)} images but the annotation file has {len(split_mask)}; "
            "use the image list that belongs to it"
        )
    img_info = [entries[i] for i in np.flatnonzero(split_mask)]
    names = [f"{entry['image_id']}.jpg" for entry in img_info]
    try:
        present = set(os.listdir(img_dir))
    except OSError as error:
        raise HMLError(f"there is no image folder {img_dir}; put the pictures there, or link it") from error
    missing = [name for name in names if name not in present]
    if missing:
        raise HMLError(
            f"{len(missing)} of {len(names)} images are missing in {img_dir}, the first is {missing[0]}; "
            "add them (Visual Genome's two picture archives belong into this one folder)"
        )
    return [os.path.join(img_dir, name) for name in names], img_info


def read_json(path: str | Path) -> Any:
    """Content of a JSON file; HMLError when it is missing or damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError as error:
        raise HMLError(f"there is no file {path}; set HML_DATA (or hml run --data) to the dataset's folder") from error
    except ValueError as error:
        raise HMLError(f"{path} is damaged or no JSON file; download or write it again ({error})") from error

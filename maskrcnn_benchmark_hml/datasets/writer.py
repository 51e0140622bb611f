"""Write a dataset folder: the h5 file, the vocabulary file and image_data.json (not the pictures)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from ..errors import HMLError
from ..files import write_json, written_aside
from .layout import BOX_SCALE, DICTS_NAME, H5_NAME, IMAGES_NAME, MAX_ATTRIBUTES, TRAIN, ImageRecord, Vocabulary
from .records import require_writable
from .stored_rows import stored_corners


def write_vg(
    folder: Path | str,
    records: Sequence[ImageRecord],
    vocabulary: Vocabulary,
    *,
    num_val_images: int | None = None,
    about: str = "",
    source: dict | None = None,
) -> None:
    """Write the three annotation files of a dataset folder.

    Args:
        folder: existing folder; each file in it is written aside and renamed.
        records: all images in the order of the file. Image ids must be unique.
        num_val_images: how many images *with relations*, counted from the front of the training split, are the
            validation split; stored as a root attribute of the h5 file when given.
        about: a sentence on where the data comes from, stored as a root attribute.
        source: what a converter found in its source and had to drop, stored as JSON in a root attribute; its
            "lines", a list of sentences, are shown by ``hml data check``.

    Raises:
        HMLError: a record does not fit the format; the message names the image and the object or relation, and no file
            has been written.
    """
    folder, records = Path(folder), list(records)
    require_writable(records, vocabulary, num_val_images)
    entries = [_image_entry(record) for record in records]
    story = _json(source, "source") if source else ""
    arrays = _arrays(records)
    # earliest..v110 keeps the file readable by every HDF5 >= 1.10 and its bytes independent of the time.
    with written_aside(folder / H5_NAME) as aside, h5py.File(aside, "w", libver=("earliest", "v110")) as h5:
        for name in sorted(arrays):
            h5.create_dataset(name, data=arrays[name])
        if num_val_images is not None:
            h5.attrs["num_val_images"] = int(num_val_images)
        if about:
            h5.attrs["about"] = about
        if source:
            h5.attrs["source"] = story
    write_json(folder / DICTS_NAME, _dicts(records, vocabulary))
    write_json(folder / IMAGES_NAME, entries)


def to_stored_boxes(boxes: np.ndarray, width: int, height: int, scale: int = BOX_SCALE) -> np.ndarray:
    """Pixels x1, y1, x2, y2 to the file's integer xc, yc, w, h with the longer side at ``scale``.

    The benchmark reads x1 as the integer part of xc - w/2, so an odd w needs its centre rounded *up* for x1 to
    come back exactly; w and h are at least 1.
    """
    pixels = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    corners = np.rint(pixels * (scale / max(width, height))).astype(np.int64)
    size = np.maximum(corners[:, 2:] - corners[:, :2], 1)
    return np.concatenate([corners[:, :2] + (size + 1) // 2, size], axis=1).astype(np.int32)


def _arrays(records: Sequence[ImageRecord]) -> dict[str, np.ndarray]:
    n_boxes = np.array([len(r.labels) for r in records], dtype=np.int64)
    n_rels = np.array([len(np.asarray(r.relations).reshape(-1, 3)) for r in records], dtype=np.int64)
    first_box, last_box = _bounds(n_boxes)
    first_rel, last_rel = _bounds(n_rels)
    box_start = np.cumsum(n_boxes) - n_boxes
    relations = _stack([np.asarray(r.relations).reshape(-1, 3) for r in records], 3)
    pairs = relations[:, :2] + np.repeat(box_start, n_rels)[:, None]
    attributes = np.zeros((int(n_boxes.sum()), MAX_ATTRIBUTES), dtype=np.int64)
    for start, record in zip(box_start, records):
        for i, indices in enumerate(record.attributes):
            attributes[start + i, : len(indices)] = indices
    boxes = _stack([to_stored_boxes(r.boxes, r.width, r.height) for r in records], 4).astype(np.int32)
    active = np.zeros((len(attributes), 1), dtype=bool)
    active[pairs.reshape(-1)] = True
    return {
        "labels": _stack([np.asarray(r.labels).reshape(-1, 1) for r in records], 1),
        "boxes_1024": boxes,
        # From the rounded boxes, so that reading and writing again changes nothing.
        "boxes_512": to_stored_boxes(stored_corners(boxes), BOX_SCALE, BOX_SCALE, 512),
        "attributes": attributes,
        "active_object_mask": active,
        "img_to_first_box": first_box,
        "img_to_last_box": last_box,
        "img_to_first_rel": first_rel,
        "img_to_last_rel": last_rel,
        "relationships": pairs.astype(np.int32),
        "predicates": relations[:, 2:],
        "split": np.array([r.split for r in records], dtype=np.int32),
    }


def _bounds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last (inclusive) row of each image; -1, -1 for an image without rows."""
    end = np.cumsum(counts)
    none = counts == 0
    return np.where(none, -1, end - counts).astype(np.int32), np.where(none, -1, end - 1).astype(np.int32)


def _stack(parts: list[np.ndarray], columns: int) -> np.ndarray:
    return np.concatenate([np.zeros((0, columns), dtype=np.int64), *parts]).astype(np.int64)


def _dicts(records: Sequence[ImageRecord], vocabulary: Vocabulary) -> dict:
    """The vocabulary file; its counts are over the training split."""
    objects: Counter = Counter()
    predicates: Counter = Counter()
    attributes: Counter = Counter()
    for record in records:
        if record.split == TRAIN:
            objects.update(np.asarray(record.labels).tolist())
            predicates.update(np.asarray(record.relations).reshape(-1, 3)[:, 2].tolist())
            attributes.update(index for indices in record.attributes for index in indices)
    out: dict = {}
    for names, plural, singular, counts in (
        (vocabulary.objects, "label", "object", objects),
        (vocabulary.predicates, "predicate", "predicate", predicates),
        (vocabulary.attributes, "attribute", "attribute", attributes),
    ):
        out[f"idx_to_{plural}"] = {str(i): name for i, name in enumerate(names, 1)}
        out[f"{plural}_to_idx"] = {name: i for i, name in enumerate(names, 1)}
        out[f"{singular}_count"] = {name: counts[i] for i, name in enumerate(names, 1)}
    return out


def _image_entry(record: ImageRecord) -> dict:
    entry = {"image_id": int(record.image_id), "width": int(record.width), "height": int(record.height), **record.extra}
    _json(entry, f"'extra' of image {record.image_id}")
    return entry


def _json(value: dict, what: str) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise HMLError(f"{what} cannot be written as JSON ({error}); give plain numbers, texts and lists") from error

"""Write a dataset folder: the h5 file, the vocabulary file and image_data.json (not the pictures)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np

from ..errors import HMLError
from ..files import write_json, write_text, written_aside
from .layout import BOX_SCALE, DICTS_NAME, H5_NAME, IMAGES_NAME, MAX_ATTRIBUTES, TRAIN, ImageRecord, Vocabulary
from .records import RecordCheck
from .stored_rows import rows_to_images, stored_corners

_BLOCK = 1024
"""Images whose rows are put together at a time."""


def write_vg(
    folder: Path | str,
    records: Iterable[ImageRecord],
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
    writer = VGWriter(folder, vocabulary)
    for record in records:
        writer.add(record)
    writer.finish(num_val_images=num_val_images, about=about, source=source)


class VGWriter:
    """:func:`write_vg` for images that come one after another: a record is not needed once it has been added.

    100,000 images with 2 M relations take 0.5 GB until they are written.
    """

    def __init__(self, folder: Path | str, vocabulary: Vocabulary) -> None:
        self._folder, self._vocabulary = Path(folder), vocabulary
        self._check = RecordCheck(vocabulary)
        self._waiting: list[ImageRecord] = []
        self._blocks: list[dict[str, np.ndarray]] = []
        self._entries: list[str] = []

    @property
    def usable(self) -> int:
        """How many of the training images so far have relations."""
        return self._check.usable

    def add(self, record: ImageRecord) -> None:
        """The next image in the file's order; HMLError: it does not fit the format."""
        self._check.add(record)
        self._entries.append(_image_entry(record))
        self._waiting.append(record)
        if len(self._waiting) == _BLOCK:
            self._pack()

    def finish(self, *, num_val_images: int | None = None, about: str = "", source: dict | None = None) -> None:
        """Write the files; arguments and errors are those of :func:`write_vg`."""
        self._check.finish(num_val_images)
        story = _json(source, "source") if source else ""
        self._pack()
        arrays = _arrays({name: np.concatenate([b[name] for b in self._blocks]) for name in self._blocks[0]})
        folder = self._folder
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
        write_json(folder / DICTS_NAME, _dicts(arrays, self._vocabulary))
        write_text(folder / IMAGES_NAME, f"[{', '.join(self._entries)}]\n")

    def _pack(self) -> None:
        if self._waiting:
            self._blocks.append(_block(self._waiting))
            self._waiting = []


def to_stored_boxes(boxes: np.ndarray, width: int, height: int, scale: int = BOX_SCALE) -> np.ndarray:
    """Pixels x1, y1, x2, y2 to the file's integer xc, yc, w, h with the longer side at ``scale``.

    The benchmark reads x1 as the integer part of xc - w/2, so an odd w needs its centre rounded *up* for x1 to
    come back exactly; w and h are at least 1.
    """
    pixels = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    corners = np.rint(pixels * (scale / max(width, height))).astype(np.int64)
    size = np.maximum(corners[:, 2:] - corners[:, :2], 1)
    return np.concatenate([corners[:, :2] + (size + 1) // 2, size], axis=1).astype(np.int32)


def _block(records: Sequence[ImageRecord]) -> dict[str, np.ndarray]:
    """The rows of some images, with the numbers of rows of each; relations join rows of the image."""
    relations = [np.asarray(r.relations).reshape(-1, 3) for r in records]
    boxes = np.array([len(r.labels) for r in records], dtype=np.int64)
    attributes = np.zeros((int(boxes.sum()), MAX_ATTRIBUTES), dtype=np.int32)
    for start, record in zip(np.cumsum(boxes) - boxes, records):
        for i, indices in enumerate(record.attributes):
            attributes[start + i, : len(indices)] = indices
    return {
        "labels": _stack([np.asarray(r.labels).reshape(-1, 1) for r in records], 1),
        "boxes_1024": _stack([to_stored_boxes(r.boxes, r.width, r.height) for r in records], 4),
        "attributes": attributes,
        "relations": _stack(relations, 3),
        "boxes": boxes,
        "rels": np.array([len(part) for part in relations], dtype=np.int64),
        "split": np.array([r.split for r in records], dtype=np.int32),
    }


def _arrays(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of the h5 file from those of :func:`_block`."""
    first_box, last_box = _bounds(rows["boxes"])
    first_rel, last_rel = _bounds(rows["rels"])
    start = np.repeat(np.cumsum(rows["boxes"]) - rows["boxes"], rows["rels"])
    pairs = rows["relations"][:, :2] + start[:, None]
    boxes = rows["boxes_1024"]
    active = np.zeros((len(boxes), 1), dtype=bool)
    active[pairs.reshape(-1)] = True
    return {
        "labels": rows["labels"].astype(np.int64),
        "boxes_1024": boxes,
        # From the rounded boxes, so that reading and writing again changes nothing.
        "boxes_512": to_stored_boxes(stored_corners(boxes), BOX_SCALE, BOX_SCALE, 512),
        "attributes": rows["attributes"].astype(np.int64),
        "active_object_mask": active,
        "img_to_first_box": first_box,
        "img_to_last_box": last_box,
        "img_to_first_rel": first_rel,
        "img_to_last_rel": last_rel,
        "relationships": pairs.astype(np.int32),
        "predicates": rows["relations"][:, 2:].astype(np.int64),
        "split": rows["split"],
    }


def _bounds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last (inclusive) row of each image; -1, -1 for an image without rows."""
    end = np.cumsum(counts)
    none = counts == 0
    return np.where(none, -1, end - counts).astype(np.int32), np.where(none, -1, end - 1).astype(np.int32)


def _stack(parts: list[np.ndarray], columns: int) -> np.ndarray:
    """(n, columns) int32: half the memory of the file's int64 while the images are collected."""
    return np.concatenate([np.zeros((0, columns), dtype=np.int64), *parts]).astype(np.int32)


def _dicts(arrays: dict[str, np.ndarray], vocabulary: Vocabulary) -> dict:
    """The vocabulary file; its counts are over the training split."""
    training = np.flatnonzero(arrays["split"] == TRAIN)

    def counts(name: str, kind: str, classes: int) -> np.ndarray:
        image = rows_to_images(arrays[f"img_to_first_{kind}"], arrays[f"img_to_last_{kind}"], len(arrays[name]))
        return np.bincount(arrays[name][np.isin(image, training)].reshape(-1), minlength=classes + 1)

    out: dict = {}
    for names, plural, singular, array, kind in (
        (vocabulary.objects, "label", "object", "labels", "box"),
        (vocabulary.predicates, "predicate", "predicate", "predicates", "rel"),
        (vocabulary.attributes, "attribute", "attribute", "attributes", "box"),
    ):
        count = counts(array, kind, len(names))
        out[f"idx_to_{plural}"] = {str(i): name for i, name in enumerate(names, 1)}
        out[f"{plural}_to_idx"] = {name: i for i, name in enumerate(names, 1)}
        out[f"{singular}_count"] = {name: int(count[i]) for i, name in enumerate(names, 1)}
    return out


def _image_entry(record: ImageRecord) -> str:
    entry = {"image_id": int(record.image_id), "width": int(record.width), "height": int(record.height), **record.extra}
    return _json(entry, f"'extra' of image {record.image_id}")


def _json(value: dict, what: str) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise HMLError(f"{what} cannot be written as JSON ({error}); give plain numbers, texts and lists") from error

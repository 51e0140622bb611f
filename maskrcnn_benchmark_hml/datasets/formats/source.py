"""From a foreign format to a dataset folder: what a format yields, and the one way in which it is written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...errors import HMLError
from ..layout import (
    BOX_SCALE,
    MAX_ATTRIBUTES,
    PHOTOS_NAME,
    TEST,
    TRAIN,
    UNREADABLE_VG_IMAGES,
    ImageRecord,
    Vocabulary,
    new_dataset_folder,
)
from ..writer import VGWriter
from .photos import PhotoFolder, measure_photo, take_photo
from .tally import Tally

SOURCE_ID, FILE_NAME = "source_id", "file_name"
"""Keys of an image's entry in image_data.json (``ImageRecord.extra``): its id in the source, as text, and its file."""
FIRST_NEW_ID = 10_000_001
"""Where images are numbered from whose own id is no number."""

NOTHING_LEFT = "the box covers nothing of the picture"
END_DROPPED = "the subject or object was dropped"
SELF_PAIR = "subject and object are the same object"
REPEATED = "exact repetitions"
CLIPPED = "boxes that reach over the picture's edge and are clipped"
NO_PICTURE = "their picture is missing"


@dataclass
class SourceImage:
    """One image as a format yields it, boxes not yet cut to the picture.

    Args:
        source_id: the source's id of it, as text (:func:`id_text`).
        file_name: its picture's name in the source; it may begin with folders.
        width, height: as the source says, 0 if it does not say.
        split: ``TRAIN`` (0), ``VALIDATION`` (1) or ``TEST`` (2).
        boxes: (n, 4) x1, y1, x2, y2 in pixels from the upper left corner, the end exclusive; as ``fractions`` of the
            picture's width and height if that is set.
        labels: (n,) object classes, 1-based.
        relations: (r, 3) subject, object (rows of ``boxes``) and predicate (1-based).
        attributes: per object attribute indices, 1-based; empty = none.
        dropped: rows that the format leaves out -> the reason; their relations go with them.
        photos: further names under which the picture is looked for, after ``file_name``.
        extra: further fields for the image's entry in image_data.json.
    """

    source_id: str
    file_name: str
    width: int
    height: int
    split: int
    boxes: np.ndarray
    labels: np.ndarray
    relations: np.ndarray
    attributes: list[tuple[int, ...]] = field(default_factory=list)
    dropped: dict[int, str] = field(default_factory=dict)
    photos: tuple[str, ...] = ()
    fractions: bool = False
    extra: dict = field(default_factory=dict)


@dataclass
class Source:
    """A data set in a foreign format.

    Args:
        about: a sentence on where the data comes from, stored in the h5 file.
        images: all images, in the order of the file to write; read once.
        tally: what the format found and left out itself, counted while ``images`` is read.
        total: how many images there are, for the progress bar.
        validation: how many training images with relations, from the front, are the validation split; a float is their
            share (at least one image); None: not stored. At most as many as there are.
        turned: the tools that made the annotation show pictures turned by their EXIF orientation, as browsers do.
    """

    about: str
    vocabulary: Vocabulary
    images: Iterable[SourceImage]
    tally: Tally = field(default_factory=Tally)
    total: int | None = None
    validation: int | float | None = None
    turned: bool = False


def id_text(value: Any, what: str) -> str:
    """An id as text, so that 107902 and "107902" are the same; HMLError: it is neither a number nor a text."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise HMLError(f"{what} has the id {value!r}; an id is a whole number or a text")
    return str(value)


class ImageIds:
    """Image ids of our format: the source's own where it is a number from 1 that is free, else a new one."""

    def __init__(self, tally: Tally) -> None:
        self._tally, self._taken, self._next = tally, set(UNREADABLE_VG_IMAGES), FIRST_NEW_ID

    def number(self, source_id: str) -> int:
        """The image id for the next image."""
        own = int(source_id) if source_id.isascii() and source_id.isdigit() and len(source_id) < 16 else 0
        if own < 1 or str(own) != source_id or own in self._taken:
            while self._next in self._taken:
                self._next += 1
            own = self._next
            self._tally.note(
                f"images with a new image_id, because theirs is taken or no number from 1 ({SOURCE_ID} keeps it)",
                example=f"{source_id!r} is {own}",
            )
        self._taken.add(own)
        return own


def write_source(
    source: Source,
    out: Path | str,
    *,
    photos: Path | str | None = None,
    skip_missing: bool = False,
    force: bool = False,
) -> Tally:
    """Make the dataset folder ``out`` of a source.

    Args:
        photos: folder with the pictures, subfolders included; they are linked. Without it the folder has none.
        skip_missing: leave out images whose picture is missing there, and count them.
        force: replace a dataset folder that is not empty.

    Returns:
        The source's tally, complete.

    Raises:
        HMLError: the source is wrong, a picture is missing or has another size, or ``out`` is not free. Then ``out`` is
            as it was.
    """
    tally = source.tally
    with new_dataset_folder(out, force) as folder:
        (folder / PHOTOS_NAME).mkdir()
        pictures = None if photos is None else PhotoFolder(photos)
        writer, ids = VGWriter(folder, source.vocabulary), ImageIds(tally)
        for image in tqdm(source.images, total=source.total, desc="converting", unit="image", disable=None):
            size, photo, turn = _picture(image, pictures, skip_missing, source.turned)
            if size is None:
                _drop_image(image, tally)
                continue
            record = to_record(image, ids.number(image.source_id), size, tally)
            if photo is not None:
                take_photo(photo, folder / PHOTOS_NAME / record.photo_name(), turn=turn)
                tally.note("pictures that are stored turned by their EXIF orientation", int(turn), image.file_name)
            writer.add(record)
        if tally.unaccounted():
            raise AssertionError(f"the converter lost count: {tally.unaccounted()}")
        if pictures is None:
            tally.say("converted without pictures")
        story = {"lines": tally.lines(), "found": dict(tally.found), "kept": dict(tally.kept)}
        count = validation_images(source.validation, writer.usable)
        writer.finish(num_val_images=count, about=source.about, source=story)
    return tally


def _drop_image(image: SourceImage, tally: Tally) -> None:
    tally.drop("images", NO_PICTURE, example=image.file_name)
    for kind, number in (("objects", len(image.labels)), ("relations", len(image.relations))):
        tally.drop(kind, f"of images that were dropped because {NO_PICTURE}", number)


def validation_images(wanted: int | float | None, usable: int) -> int | None:
    """How many of the ``usable`` training images with relations are for validation; see :class:`Source`."""
    if wanted is None:
        return None
    return min(usable, max(1, math.floor(wanted * usable + 0.5)) if isinstance(wanted, float) else wanted)


def _picture(
    image: SourceImage, pictures: PhotoFolder | None, skip_missing: bool, turned: bool
) -> tuple[tuple[int, int] | None, Path | None, bool]:
    """Size, picture and whether to turn it; no size: leave the image out."""
    stated = (image.width, image.height) if image.width and image.height else None
    photo = None if pictures is None else pictures.find(image.file_name, *image.photos)
    if photo is not None:
        size, turn = measure_photo(photo, stated, turned)
        return size, photo, turn
    if pictures is not None and skip_missing:
        return None, None, False
    if pictures is not None:
        raise HMLError(
            f"the picture {image.file_name} of image {image.source_id} is not in {pictures.folder}; add it, or leave "
            "out such images with --skip-missing, or convert without pictures"
        )
    if stated is None:
        raise HMLError(f"image {image.source_id} ({image.file_name}) has no size; give the pictures with --photos DIR")
    return stated, None, False


def to_record(image: SourceImage, image_id: int, size: tuple[int, int], tally: Tally) -> ImageRecord:
    """The image in our format: boxes clipped, what cannot be kept left out and counted.

    Args:
        size: width and height of the picture in pixels.
    """
    boxes = np.asarray(image.boxes, dtype=np.float64).reshape(-1, 4) * (size * 2 if image.fractions else 1.0)
    clipped = np.clip(boxes, 0, size * 2)
    alive = _covers(clipped, size)
    where = f"image {image.source_id}"
    tally.note(CLIPPED, int((alive & (np.abs(clipped - boxes) > 0.5).any(1)).sum()), where)
    for row, reason in image.dropped.items():
        tally.drop("objects", reason, example=where)
        alive[row] = True
    tally.drop("objects", NOTHING_LEFT, int(len(alive) - alive.sum()), where)
    alive[list(image.dropped)] = False
    relations = _relations(np.asarray(image.relations, dtype=np.int64).reshape(-1, 3), alive, where, tally)
    attributes = [image.attributes[i] for i in np.flatnonzero(alive)] if image.attributes else []
    too_many = sum(len(a) > MAX_ATTRIBUTES for a in attributes)
    tally.note(f"objects with more than {MAX_ATTRIBUTES} attributes, which keep the first ones", too_many, where)
    record = ImageRecord(
        image_id, *size, image.split, clipped[alive], np.asarray(image.labels, dtype=np.int64)[alive], relations,
        [tuple(a[:MAX_ATTRIBUTES]) for a in attributes],
        {SOURCE_ID: image.source_id, FILE_NAME: image.file_name, **image.extra},
    )  # fmt: skip
    tally.kept.update(images=1, objects=len(record.labels), relations=len(relations))
    tally.splits[image.split] += 1
    tally.with_relations += bool(len(relations))
    return record


def _covers(clipped: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n,) whether a box covers something, also once its corners are rounded to the file's scale."""
    scale = BOX_SCALE / max(size)
    start = np.rint(clipped[:, :2] * scale)  # a NaN compares as False below
    return np.all(clipped[:, 2:] > clipped[:, :2], axis=1) & np.all(start < np.array(size) * scale, axis=1)


def _relations(relations: np.ndarray, alive: np.ndarray, where: str, tally: Tally) -> np.ndarray:
    """(r, 3) relations of the objects that stay, by their new rows, in the old order."""
    if not len(relations):
        return relations
    rows = np.cumsum(alive) - 1
    kept = relations
    if not alive.all():
        kept = relations[alive[relations[:, :2]].all(1)]
        tally.drop("relations", END_DROPPED, len(relations) - len(kept), where)
    itself = kept[:, 0] == kept[:, 1]
    if itself.any():
        tally.drop("relations", SELF_PAIR, int(itself.sum()), where)
        kept = kept[~itself]
    keys = (kept[:, 2] * len(alive) + kept[:, 0]) * len(alive) + kept[:, 1]
    _, first = np.unique(keys, return_index=True)
    if len(first) < len(kept):
        tally.merge("relations", REPEATED, len(kept) - len(first), where)
        kept = kept[np.sort(first)]
    return np.column_stack([rows[kept[:, :2]], kept[:, 2]])


def split_by_share(count: int, test: float, seed: int = 0) -> np.ndarray:
    """(count,) a split for images of a source that has none: the share ``test`` for testing, drawn by ``seed``."""
    splits = np.full(count, TRAIN)
    splits[np.random.default_rng(seed).permutation(count)[: round(count * test)]] = TEST
    return splits

"""COCO JSON with relations (SGG-Benchmark's format, and RelTR's with its rel.json) to a dataset folder.

Object boxes are x, y, width, height in pixels. A relation joins two annotations by their ids (``rel_annotations``), in
RelTR's files by their positions in the image. One file per split.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import HMLError
from ..layout import TEST, TRAIN, VALIDATION, Vocabulary
from ..pictures import ENDINGS
from . import stream
from .coco_file import NAME_LISTS, NO_BOX, ByImage, CocoFile, read_coco, read_positions, tie_by_id
from .coco_names import NameList, Names
from .ids import IdCodes, rows_of
from .source import Source, SourceImage, split_by_share, write_source
from .tally import Tally

ANNOTATIONS = "_annotations.coco.json"
"""The file of each split, in a folder of the split's name."""
RELTR_RELATIONS = "rel.json"
OWN, ROW, SOURCE_FILE = "hml", "hml_row", "source_file_name"
"""Keys that ``hml data export-coco`` adds: about the whole folder, and of an image its row and its file's old name."""
FIRST, MARKED = "first", "marked"
"""How the exported folder told its validation images."""

_FOLDERS = {TRAIN: ("train",), VALIDATION: ("val", "valid", "validation"), TEST: ("test",)}
NO_CLASS = "their category_id is not in categories"
NO_PREDICATE = "their predicate_id is not in rel_categories"
NO_ATTRIBUTE = "attributes that are not in attribute_categories and are left out"
_TEST_SHARE = 0.2


@dataclass(frozen=True)
class _Layout:
    """The files of a source by split; ``relations``: RelTR's file of relations; ``whole``: one file without splits."""

    files: dict[int, Path]
    relations: Path | None = None
    whole: bool = False


def find_files(src: Path) -> _Layout:
    """Which files of a folder, or which single file, hold the annotations.

    Raises:
        HMLError: there is none; the sentence says what is looked for.
    """
    if src.is_file():
        return _Layout({TRAIN: src}, whole=True)
    for pattern in (f"{{}}/{ANNOTATIONS}", "{}.json"):
        files = {split: src / pattern.format(name) for split, names in _FOLDERS.items() for name in names[::-1]
                 if (src / pattern.format(name)).is_file()}  # fmt: skip
        if files:
            relations = src / RELTR_RELATIONS
            return _Layout(files, relations if relations.is_file() else None)
    if list(src.glob("**/*.parquet")):
        raise HMLError(f"{src} holds parquet files; write them as train/{ANNOTATIONS} and so on, as SGG-Benchmark does")
    raise HMLError(
        f"{src} has neither train/{ANNOTATIONS} nor train.json (also val, test); name their folder, or one COCO file"
    )


def convert_coco(
    src: Path | str,
    out: Path | str,
    *,
    photos: Path | None = None,
    skip_missing: bool = False,
    test: float | None = None,
    force: bool = False,
) -> Tally:
    """Convert COCO JSON with relations.

    Args:
        src: folder with {train,val,test}/_annotations.coco.json, or with {train,val,test}.json (and RelTR's rel.json),
            or one file.
        photos: folder with the pictures; by default ``src``, if pictures are there.
        test: share of the images for testing, if ``src`` is one file (default: 0.2).
        skip_missing, force: as for :func:`~.source.write_source`, whose errors and result are those of this function.

    Raises:
        HMLError: a file is missing or wrong; the sentence names it and its entry.
    """
    src = Path(src)
    if not src.exists():
        raise HMLError(f"there is no folder or file {src}; correct the path")
    layout = find_files(src)
    if test is not None and not layout.whole:
        raise HMLError(f"--test {test} has no effect: {src} has files for the splits; leave it out")
    if test is not None and not 0 <= test < 1:
        raise HMLError(f"--test is {test}; give a share from 0 to below 1")
    source = _read(layout, Tally(), _TEST_SHARE if test is None else test)
    folder = src.parent if src.is_file() else src
    if photos is None and _has_pictures(folder):
        photos = folder
        source.tally.say("the pictures are those beside the annotations")
    return write_source(source, out, photos=photos, skip_missing=skip_missing, force=force)


def _has_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in ENDINGS for path in folder.rglob("*"))


def _read(layout: _Layout, tally: Tally, test: float) -> Source:
    """The whole source; annotations are held as arrays."""
    codes, objects = IdCodes(), NameList(NAME_LISTS[0], 1)
    predicates = NameList(NAME_LISTS[1], 0 if layout.relations else 1)
    attributes = NameList(NAME_LISTS[2], 1)
    files = []
    for split, path in sorted(layout.files.items()):
        file = read_coco(path, split, codes, tally)
        if layout.relations:
            read_positions(stream.members(layout.relations, path.stem), layout.relations, file, codes, tally)
        else:
            tie_by_id(file, path, tally)
            predicates.add(file.names.get(predicates.kind), path, codes)
        for names in (objects, attributes):
            names.add(file.names.get(names.kind), path, codes)
        files.append(file)
    if layout.relations:
        predicates.add(stream.value(layout.relations, predicates.kind), layout.relations, codes)
    chosen = (
        objects.decide(np.concatenate([file.category for file in files]), tally),
        predicates.decide(np.concatenate([file.relations[:, 3] for file in files]), tally),
        attributes.decide(np.zeros(0), tally),
    )
    first = next(iter(layout.files.values()))
    for own, what in zip(chosen, NAME_LISTS[:2]):
        if not own.names:
            raise HMLError(f"{layout.relations or first} has no {what!r}; a scene graph needs the names of its classes "
                           "and predicates")  # fmt: skip
    readers = [_Reader(file, chosen, tally) for file in files]
    order, validation = _order(readers, first)
    if layout.whole:
        splits = split_by_share(len(order), test)
        tally.say(f"one file without splits: {int((splits == TEST).sum()):,} of {len(order):,} images, drawn at random,"
                  " are for testing")  # fmt: skip
        order = [(reader, i, int(split)) for (reader, i, _), split in zip(order, splits)]
    images = (reader.image(i, split) for reader, i, split in order)
    vocabulary = Vocabulary(*(own.names for own in chosen))
    return Source("COCO JSON with relations, converted", vocabulary, images, tally, len(order), validation)


class _Reader:
    """The images of one file."""

    def __init__(self, file: CocoFile, chosen: tuple[Names, ...], tally: Tally) -> None:
        objects, predicates, attributes = chosen
        self.file, self._tally = file, tally
        file.relations[:, 3] = rows_of(file.relations[:, 3], predicates.codes) + 1
        unknown = file.relations[:, 3] == 0
        tally.drop("relations", NO_PREDICATE, int(unknown.sum()), file.name)
        file.relations = file.relations[~unknown]
        self._by = by = ByImage(file, tally)
        self._labels = (rows_of(file.category, objects.codes) + 1)[by.rows]
        self._boxes = file.boxes[by.rows]
        without = np.isnan(self._boxes).any(1)
        self._left_out = without | (self._labels == 0)
        self._attributes = {int(code): i for i, code in enumerate(attributes.codes, 1)}

    def related(self) -> np.ndarray:
        """(images,) bool, whether an image has a relation."""
        return np.diff(self._by.rel_start) > 0

    def image(self, i: int, split: int) -> SourceImage:
        """The image i of the file."""
        file, by = self.file, self._by
        source_id, file_name, width, height = file.main[i]
        own = slice(by.start[i], by.start[i + 1])
        labels = self._labels[own]
        image = SourceImage(
            source_id, file_name, width, height, split, self._boxes[own], labels,
            by.relations[by.rel_start[i] : by.rel_start[i + 1]],
            photos=(f"{file.name.partition('/')[0]}/{file_name}",),
            extra={key: value for key, value in file.images[i].items() if key not in (ROW, "image_id")},
        )  # fmt: skip
        if self._left_out[own].any():
            image.dropped = {at: NO_BOX if labels[at] else NO_CLASS
                             for at in np.flatnonzero(self._left_out[own]).tolist()}  # fmt: skip
        if file.attributes:
            image.attributes = [self._known(file.attributes.get(row, ())) for row in by.rows[own].tolist()]
        if SOURCE_FILE in image.extra:
            image.photos, image.file_name = (file_name, *image.photos), image.extra.pop(SOURCE_FILE)
        return image

    def _known(self, codes: tuple) -> tuple[int, ...]:
        known = tuple(self._attributes[code] for code in codes if code in self._attributes)
        self._tally.note(NO_ATTRIBUTE, len(codes) - len(known), self.file.name)
        return known


def _order(readers: list[_Reader], first: Path) -> tuple[list[tuple[_Reader, int, int]], int | None]:
    """All images with their splits in the order to write, and the number of validation images to store.

    Files of ``hml data export-coco`` say which row an image had and, where the first training images validated, that
    they did; then the folder becomes what it was.
    """
    images = [(reader, i, reader.file.split) for reader in readers for i in range(len(reader.file.images))]
    rows = [reader.file.images[i].get(ROW) for reader, i, _ in images]
    if any(type(row) is not int for row in rows):
        return images, None
    images = [images[k] for _, k in sorted((row, k) for k, row in enumerate(rows))]
    own = stream.value(first, f"info.{OWN}") or {}
    related = {id(reader): reader.related() for reader in readers}
    front = [split for reader, i, split in images if split != TEST and related[id(reader)][i]]
    count = front.count(VALIDATION)
    if own.get("validation") != FIRST or front[:count] != [VALIDATION] * count:
        return images, None
    images = [(reader, i, TRAIN if split == VALIDATION else split) for reader, i, split in images]
    return images, None if own.get("num_val_images") is None else count

"""A dataset folder to COCO JSON with relations, as SGG-Benchmark reads it; ``convert_coco`` makes the folder again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from ...errors import HMLError
from ...files import written_aside
from ..layout import PHOTOS_NAME, TEST, TRAIN, VALIDATION, ImageRecord, Vocabulary, new_dataset_folder, require_free
from ..pictures import ENDINGS
from ..reader import VGData, read_vg
from ..splits import validation_size
from .coco import ANNOTATIONS, FIRST, MARKED, OWN, ROW, SOURCE_FILE
from .photos import link_photo
from .source import FILE_NAME

_NAMES = {TRAIN: "train", VALIDATION: "val", TEST: "test"}


@dataclass
class ExportReport:
    """What was written; keys are the names of the splits."""

    images: Counter = field(default_factory=Counter)
    objects: Counter = field(default_factory=Counter)
    relations: Counter = field(default_factory=Counter)
    several: int = 0
    attributes: int = 0
    without_picture: int = 0
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report as sentences."""
        out = [
            f"{split}/{ANNOTATIONS}: {number:,} images, {self.objects[split]:,} objects, {self.relations[split]:,}"
            " relations"
            for split, number in self.images.items()
        ]
        if self.several:
            out.append(f"pairs with several predicates: {self.several:,}; all are written, but SGG-Benchmark draws one")
        if self.attributes:
            out.append(f"objects with attributes: {self.attributes:,}; SGG-Benchmark does not read 'attribute_ids'")
        if self.without_picture:
            out.append(f"images without a picture: {self.without_picture:,}; SGG-Benchmark leaves them out")
        return [*out, *self.notes, "not written: what the folder says about its own source"]


def export_coco(folder: Path | str, out: Path | str) -> ExportReport:
    """Write {train,val,test}/_annotations.coco.json, and the pictures beside them as links.

    Raises:
        HMLError: the folder has a fault, or ``out`` is not empty.
    """
    folder, out = Path(folder), Path(out)
    if out.is_dir() and any(out.iterdir()):
        raise HMLError(f"{out} is not empty; name another folder")
    require_free(out, False)
    data = read_vg(folder)
    report = ExportReport()
    pictures = {path.stem: path for path in _pictures(folder / PHOTOS_NAME)}
    splits, how = _splits(data)
    with new_dataset_folder(out) as made:
        for split, name in _NAMES.items():
            rows = [i for i, own in enumerate(splits) if own == split]
            if rows:
                names = _place_pictures(made / name, [data.records[i] for i in rows], pictures, report)
                lines = _content(data, rows, names, how, name, report)
                with written_aside(made / name / ANNOTATIONS) as aside, aside.open("w", encoding="utf-8") as file:
                    file.writelines(lines)
    return report


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.suffix.lower() in ENDINGS]


def _splits(data: VGData) -> tuple[list[int], str]:
    """Each image's split, and how the folder tells its validation images: by marks, or the first training images."""
    splits = [record.split for record in data.records]
    if VALIDATION in splits:
        return splits, MARKED
    front = [i for i, record in enumerate(data.records) if record.split == TRAIN and len(record.relations)]
    for i in front[: validation_size(len(front), data.num_val_images)] if front else []:
        splits[i] = VALIDATION
    return splits, FIRST


def _place_pictures(
    folder: Path, records: list[ImageRecord], pictures: dict[str, Path], report: ExportReport
) -> list[str]:
    """Link the pictures; the file name of each image. It is the source's where that is free and can be used."""
    taken: set[str] = set()
    names = []
    for record in tqdm(records, desc=f"pictures of {folder.name}", unit="image", disable=None):
        picture = pictures.get(str(record.image_id))
        suffix = picture.suffix if picture else ".jpg"
        name = str(record.extra.get(FILE_NAME, ""))
        if not _usable(name, suffix) or name in taken:
            name = f"{record.image_id}{suffix}"
        while name in taken:
            name = f"_{name}"
        taken.add(name)
        names.append(name)
        report.without_picture += picture is None
        if picture is not None:
            link_photo(picture, folder / name)
    return names


def _usable(name: str, suffix: str) -> bool:
    path = PurePosixPath(name)
    safe = bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name
    return safe and path.suffix.lower() == suffix.lower() and str(path) == name


def _content(
    data: VGData, rows: list[int], names: list[str], how: str, split: str, report: ExportReport
) -> Iterator[str]:
    """The file, line by line; ids of annotations and relations count from 1."""
    own = {"validation": how, "num_val_images": data.num_val_images}
    head = {"info": {"description": "written by hml data export-coco", OWN: own}, **_names(data.vocabulary)}
    yield json.dumps(head, ensure_ascii=False)[:-1]
    records = [data.records[i] for i in rows]
    yield from _list("images", (_image(*each) for each in zip(records, rows, names)))
    start = np.cumsum([1, *(len(record.labels) for record in records)]).tolist()
    progress = tqdm(records, desc=f"annotations of {split}", unit="image", disable=None)
    yield from _list("annotations", (a for record, first in zip(progress, start) for a in _annotations(record, first)))
    yield from _list("rel_annotations", _relations(records, start))
    yield "}\n"
    report.images[split] = len(records)
    report.objects[split] = start[-1] - 1
    report.relations[split] = sum(len(record.relations) for record in records)
    report.attributes += sum(bool(a) for record in records for a in record.attributes)
    for record in records:
        pairs = Counter(map(tuple, record.relations[:, :2].tolist()))
        report.several += sum(number > 1 for number in pairs.values())


def _names(vocabulary: Vocabulary) -> dict[str, list[dict]]:
    lists = {"categories": vocabulary.objects, "rel_categories": vocabulary.predicates}
    if vocabulary.attributes:
        lists["attribute_categories"] = vocabulary.attributes
    return {key: [{"id": i, "name": name} for i, name in enumerate(names, 1)] for key, names in lists.items()}


def _list(key: str, entries: Iterable[dict]) -> Iterator[str]:
    yield f',\n"{key}": ['
    for i, entry in enumerate(entries):
        yield f"{',' if i else ''}\n{json.dumps(entry, ensure_ascii=False)}"
    yield "]"


def _image(record: ImageRecord, row: int, name: str) -> dict:
    entry = {**record.extra, "id": record.image_id, "file_name": name, "width": record.width, "height": record.height,
             ROW: row}  # fmt: skip
    old = record.extra.get(FILE_NAME)
    return entry if old in (None, name) else {**entry, SOURCE_FILE: old}


def _annotations(record: ImageRecord, first: int) -> Iterator[dict]:
    size = record.boxes[:, 2:] - record.boxes[:, :2]
    boxes = np.concatenate([record.boxes[:, :2], size], axis=1).tolist()
    for i, (label, box) in enumerate(zip(record.labels.tolist(), boxes)):
        entry = {"id": first + i, "image_id": record.image_id, "category_id": label, "bbox": box,
                 "area": box[2] * box[3], "iscrowd": 0, "segmentation": []}  # fmt: skip
        if record.attributes and record.attributes[i]:
            entry["attribute_ids"] = list(record.attributes[i])
        yield entry


def _relations(records: list[ImageRecord], start: list[int]) -> Iterator[dict]:
    number = 0
    for record, first in zip(records, start):
        for subject, obj, predicate in record.relations.tolist():
            number += 1
            yield {"id": number, "image_id": record.image_id, "subject_id": first + subject, "object_id": first + obj,
                   "predicate_id": predicate}  # fmt: skip

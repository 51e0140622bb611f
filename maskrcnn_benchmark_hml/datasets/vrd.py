"""Convert Visual Relationship Detection (VRD, Lu et al. 2016) annotations into a dataset folder.

The source is VRD's JSON: per image a list of {predicate, subject, object}, the two latter {category, bbox}, bbox =
[ymin, ymax, xmin, xmax] in 1-based pixels, both ends inclusive. Objects are not listed: an object is a distinct
(category, bbox) of an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..errors import HMLError
from .formats.photos import take_photo
from .layout import PHOTOS_NAME, TEST, TRAIN, ImageRecord, Vocabulary, new_dataset_folder
from .pictures import ENDINGS, open_picture
from .placeholder import draw_placeholder
from .reader import _load_json
from .writer import VGWriter

FIRST_IMAGE_ID = 10001
SMALLEST_SIDE = 3
"""A box is degenerate when a side of it spans fewer pixels than this."""
VALIDATION_SHARE = 0.05

_SPLITS = (("train", TRAIN), ("test", TEST))


@dataclass
class VRDReport:
    """What was converted, per split, and what had to go."""

    images: dict[str, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    annotated: dict[str, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    with_relations: dict[str, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    source_relations: dict[str, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    relations: dict[str, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    repeated: int = 0
    self_pairs: int = 0
    degenerate: list[str] = field(default_factory=list)
    degenerate_relations: int = 0
    emptied: list[str] = field(default_factory=list)
    wrong_size: list[str] = field(default_factory=list)
    placeholders: bool = True

    def lines(self) -> list[str]:
        """The report as sentences; they are stored in the h5 file and shown by ``hml data check`` too."""

        def both(counts: dict[str, int]) -> str:
            return f"{counts['train']}/{counts['test']}"

        out = [
            f"VRD annotations of {both(self.images)} images (train/test), {both(self.annotated)} with relations,"
            f" {both(self.source_relations)} relations",
            f"kept {both(self.relations)} relations in {both(self.with_relations)} images",
            f"dropped {self.self_pairs} self-pairs (subject and object are the same category and box)",
            f"dropped {len(self.degenerate)} degenerate boxes (a side under {SMALLEST_SIDE} pixels or outside the"
            f" picture) with {self.degenerate_relations} relations"
            + (f": {'; '.join(self.degenerate)}" if self.degenerate else ""),
            f"merged {self.repeated} exact repetitions of a relation",
        ]
        if self.emptied:
            out.append(f"images that lost their only relations: {', '.join(self.emptied)}")
        if self.wrong_size:
            out.append(f"metadata size contradicted by the boxes or the photo: {', '.join(self.wrong_size)}")
        if self.placeholders:
            out.append("the pictures are placeholders drawn from boxes and labels, not photographs")
        return out


@dataclass(frozen=True)
class _Source:
    """One image of the source, still in its own pixels."""

    name: str
    part: str
    split: int
    relations: list[dict]
    width: int
    height: int
    photo: Path | None


def convert_vrd(
    src: Path | str,
    out: Path | str,
    photos: Path | str | None = None,
    *,
    max_side: int = 320,
    force: bool = False,
) -> VRDReport:
    """Convert VRD's train and test annotations.

    Args:
        src: folder with annotations_{train,test}.json, {train,test}_image_metadata.json, objects.json, predicates.json.
        out: dataset folder to create.
        photos: folder with VRD's photographs (subfolders are searched). Without it one placeholder is drawn per image.
        max_side: longer side of a placeholder in pixels, at most the image's own; image_data.json then holds the
            placeholder's size. Photographs are never resized.
        force: replace a folder that is not empty.

    Returns:
        What was converted and dropped.

    Raises:
        HMLError: a file, photograph or index of the source is missing or wrong, or ``out`` is not free.
    """
    if max_side < 32:
        raise HMLError(f"placeholder pictures need a longer side of at least 32 pixels; got --max-side {max_side}")
    src = Path(src)
    if not src.is_dir():
        raise HMLError(f"{src} is not a folder; name the one that holds VRD's annotations_train.json")
    vocabulary = Vocabulary(tuple(_source_json(src, "objects.json")), tuple(_source_json(src, "predicates.json")))
    sources = list(_sources(src, None if photos is None else Path(photos)))
    report = VRDReport(placeholders=photos is None)
    with new_dataset_folder(out, force) as folder:
        (folder / PHOTOS_NAME).mkdir()
        writer = VGWriter(folder, vocabulary)
        for image_id, source in enumerate(
            tqdm(sources, desc="converting VRD", unit="image", disable=None), FIRST_IMAGE_ID
        ):
            record = _convert_image(source, image_id, vocabulary, report, max_side)
            target = folder / PHOTOS_NAME / record.photo_name()
            if source.photo is not None:
                take_photo(source.photo, target, decode=True)
            else:
                size = (record.width, record.height)
                picture = draw_placeholder(size, record.boxes, record.labels, vocabulary.objects)
                picture.save(target, quality=85)
            writer.add(record)
        writer.finish(
            num_val_images=max(1, round(report.with_relations["train"] * VALIDATION_SHARE)),
            about="Visual Relationship Detection (VRD), converted"
            + (", placeholder pictures" if report.placeholders else ", with its photographs"),
            source={"lines": report.lines(), "images": report.images, "images_with_relations": report.annotated},
        )
    return report


def _source_json(src: Path, name: str) -> Any:
    if not (src / name).is_file():
        raise HMLError(f"{src} has no {name}; VRD's JSON annotations are needed")
    if "annotations" in name or "metadata" in name:
        return _load_json(src / name, dict)
    return _load_json(src / name, list)


def _sources(src: Path, photos: Path | None) -> Iterator[_Source]:
    index = None if photos is None else _photo_index(photos)
    for part, split in _SPLITS:
        annotations = _source_json(src, f"annotations_{part}.json")
        # One test image is a .gif in the metadata and a .jpg in the annotations: the stem is what identifies it.
        sizes = {Path(name).stem: size for name, size in _source_json(src, f"{part}_image_metadata.json").items()}
        for name, relations in annotations.items():
            photo = None
            if index is not None:
                photo = index.get(name) or index.get(Path(name).stem)
                if photo is None:
                    raise HMLError(
                        f"the photograph {name} is not in {photos}; omit --photos to draw placeholders instead"
                    )
                with open_picture(photo, load=False) as picture:
                    width, height = picture.size
            elif Path(name).stem in sizes:
                width, height = (int(sizes[Path(name).stem][key]) for key in ("width", "height"))
            else:
                raise HMLError(f"{part}_image_metadata.json has no size for {name}; add it, or give --photos")
            yield _Source(name, part, split, relations, width, height, photo)


def _photo_index(photos: Path) -> dict[str, Path]:
    if not photos.is_dir():
        raise HMLError(f"{photos} is not a folder; --photos names the one with VRD's photographs")
    files = sorted(p for p in photos.rglob("*") if p.suffix.lower() in ENDINGS)
    return {**{p.stem: p for p in files}, **{p.name: p for p in files}}


def _convert_image(
    source: _Source, image_id: int, vocabulary: Vocabulary, report: VRDReport, max_side: int
) -> ImageRecord:
    part = source.part
    report.images[part] += 1
    report.annotated[part] += bool(source.relations)
    report.source_relations[part] += len(source.relations)
    triples = [_read_relation(source, i, relation, vocabulary) for i, relation in enumerate(source.relations)]
    keys = list(dict.fromkeys(key for subject, obj, _ in triples for key in (subject, obj)))
    corners = np.array([[x1 - 1, y1 - 1, x2, y2] for _, (y1, y2, x1, x2) in keys], dtype=np.float64).reshape(-1, 4)
    width, height = _true_size(source, corners, report)
    corners = np.clip(corners, 0, [width, height] * 2)
    alive = np.all(corners[:, 2:] - corners[:, :2] >= SMALLEST_SIDE, axis=1)
    row = {key: i for i, key in enumerate(key for key, ok in zip(keys, alive) if ok)}
    report.degenerate += [
        f"{vocabulary.objects[category]} {list(box)} in {source.name}"
        for (category, box), ok in zip(keys, alive)
        if not ok
    ]
    relations: dict[tuple[int, int, int], None] = {}
    for subject, obj, predicate in triples:
        if subject == obj:
            report.self_pairs += 1
        elif subject not in row or obj not in row:
            report.degenerate_relations += 1
        elif (row[subject], row[obj], predicate) in relations:
            report.repeated += 1
        else:
            relations[row[subject], row[obj], predicate] = None
    report.relations[part] += len(relations)
    report.with_relations[part] += bool(relations)
    if source.relations and not relations:
        report.emptied.append(f"{source.name} ({part})")
    scale = 1.0 if source.photo is not None else min(1.0, max_side / max(width, height))
    drawn = (max(round(width * scale), 1), max(round(height * scale), 1))
    return ImageRecord(
        image_id=image_id,
        width=drawn[0],
        height=drawn[1],
        split=source.split,
        boxes=corners[alive] * ([drawn[0] / width, drawn[1] / height] * 2),
        labels=np.array([category + 1 for category, _ in row], dtype=np.int64),
        relations=np.array(list(relations), dtype=np.int64).reshape(-1, 3),
        extra={"file_name": source.name},
    )


def _read_relation(source: _Source, i: int, relation: dict, vocabulary: Vocabulary) -> tuple:
    """Subject key, object key (category, bbox) and 1-based predicate of one relation."""
    where = f"relation {i} of {source.name} (annotations_{source.part}.json)"
    try:
        ends = [(relation[end]["category"], tuple(relation[end]["bbox"])) for end in ("subject", "object")]
        predicate = relation["predicate"]
    except (KeyError, TypeError) as error:
        raise HMLError(
            f"{where} lacks {error}; it needs predicate, subject and object with category and bbox"
        ) from error
    if not isinstance(predicate, int) or not 0 <= predicate < len(vocabulary.predicates):
        raise HMLError(f"{where} has predicate {predicate}; predicates.json knows 0..{len(vocabulary.predicates) - 1}")
    for category, box in ends:
        if not isinstance(category, int) or not 0 <= category < len(vocabulary.objects):
            raise HMLError(f"{where} has category {category}; objects.json knows 0..{len(vocabulary.objects) - 1}")
        if len(box) != 4 or not all(isinstance(c, (int, float)) and np.isfinite(c) for c in box):
            raise HMLError(f"{where} has bbox {list(box)}; it must be four numbers ymin, ymax, xmin, xmax")
    return ends[0], ends[1], predicate + 1


def _true_size(source: _Source, corners: np.ndarray, report: VRDReport) -> tuple[int, int]:
    """The image's size; where boxes overrun the metadata's size, the metadata are wrong and the boxes decide."""
    width, height = source.width, source.height
    if source.photo is not None or not len(corners):
        return width, height
    reach = corners.max(0)
    if reach[2] <= width and reach[3] <= height:
        return width, height
    grown = int(max(width, reach[2])), int(max(height, reach[3]))
    report.wrong_size.append(f"{source.name} ({width}x{height}, taken as {grown[0]}x{grown[1]})")
    return grown

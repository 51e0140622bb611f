"""PSG's own JSON (Yang et al. 2022: panoptic scene graphs on COCO pictures) to a dataset folder.

Every segment becomes an object with the box that the file gives for it: x1, y1, x2, y2, the end exclusive. Classes
(things, then stuff), predicates and the objects of a relation count from 0; a relation names its objects by position.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import HMLError
from ..layout import TEST, TRAIN, Vocabulary
from . import stream
from .source import Source, SourceImage, id_text, write_source
from .tally import Tally

NO_SEGMENT = "their subject or object is no segment of the image"
CROWD = "segments marked as a crowd (iscrowd), which stay"
_LARGE, _VALIDATION = 10_000, 1000
"""With more training images than this the first 1,000 of those with relations validate, as in SGG-Benchmark."""
_ENDINGS = re.compile(r"(-other|-merged|-stuff)+$")
_NAMES = ("thing_classes", "stuff_classes", "predicate_classes")


@dataclass
class _File:
    """The content of the file; of each image its fields, boxes with classes, and relations."""

    names: dict[str, list] = field(default_factory=lambda: {key: [] for key in _NAMES})
    test: set[str] = field(default_factory=set)
    images: list[tuple[dict, np.ndarray, np.ndarray]] = field(default_factory=list)


def convert_psg(
    src: Path | str,
    out: Path | str,
    *,
    photos: Path | None = None,
    skip_missing: bool = False,
    strip_names: bool = False,
    force: bool = False,
) -> Tally:
    """Convert psg.json, or another file of its form.

    Args:
        src: the JSON file.
        photos: COCO's pictures (train2017, val2017).
        strip_names: leave out -merged, -other and -stuff at the end of class names.
        skip_missing, force: as for :func:`~.source.write_source`, whose errors and result are those of this function.

    Raises:
        HMLError: the file is not of this form, or two names become one.
    """
    tally = Tally()
    file = _read(Path(src), tally)
    objects = [str(name) for key in _NAMES[:2] for name in file.names[key]]
    if strip_names:
        objects = _stripped(objects)
    vocabulary = Vocabulary(tuple(objects), tuple(str(name) for name in file.names[_NAMES[2]]))
    ids = [id_text(entry.get("image_id"), f"an image of {src}") for entry, _, _ in file.images]
    if len(file.test & set(ids)) < len(file.test):
        tally.note("test_image_ids that are no image of the file", len(file.test - set(ids)), min(file.test - set(ids)))
    training = sum(len(relations) > 0 for (_, _, relations), i in zip(file.images, ids) if i not in file.test)
    images = _images(file, ids, vocabulary, tally)
    source = Source("PSG, converted: every segment with its box", vocabulary, images, tally, len(ids),
                    _VALIDATION if training > _LARGE else 0.1)  # fmt: skip
    return write_source(source, out, photos=photos, skip_missing=skip_missing, force=force)


def _read(src: Path, tally: Tally) -> _File:
    file = _File()
    for key, entry in stream.sections(src, f"reading {src.name}"):
        if key in file.names:
            file.names[key].append(entry)
        elif key == "test_image_ids":
            file.test.add(id_text(entry, f"test_image_ids of {src}"))
        elif key == "data":
            file.images.append(_entry(entry, src, len(file.images), tally))
    if not file.images or not file.names[_NAMES[0]] or not file.names[_NAMES[2]]:
        raise HMLError(f"{src} is not PSG's file: it must have data, thing_classes, stuff_classes, predicate_classes "
                       "and test_image_ids")  # fmt: skip
    return file


def _entry(entry: Any, src: Path, i: int, tally: Tally) -> tuple[dict, np.ndarray, np.ndarray]:
    """Fields, (n, 5) box and class, (r, 3) relations of an image; counted."""
    where = f"entry {i} of 'data' in {src}"
    if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str) or "annotations" not in entry:
        raise HMLError(f"{where} has no file_name or no annotations; PSG's files have both")
    relations = entry.pop("relations", None) or []
    if any(not isinstance(triplet, list) for triplet in relations):
        raise HMLError(f"{where} lists predicates without subject and object (psg_cls_basic.json); give psg.json")
    annotations, segments = entry.pop("annotations"), entry.pop("segments_info", None) or []
    if segments and len(segments) != len(annotations):
        raise HMLError(f"{where} has {len(annotations)} annotations but {len(segments)} segments; they must pair up")
    try:
        boxes = np.array([[*a["bbox"], a["category_id"]] for a in annotations], dtype=np.float64).reshape(-1, 5)
        triplets = np.array(relations, dtype=np.int64).reshape(-1, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise HMLError(f"{where} has an annotation or relation that cannot be read ({error}); an annotation has bbox "
                       "and category_id, a relation three whole numbers") from error  # fmt: skip
    sized = np.array([a.get("bbox_mode", 0) == 1 for a in annotations], dtype=bool)  # x, y, width, height
    boxes[sized, 2:4] += boxes[sized, :2]
    for kind, number in (("images", 1), ("objects", len(boxes)), ("relations", len(triplets))):
        tally.find(kind, number)
    tally.note(CROWD, sum(s.get("iscrowd") == 1 for s in segments), entry["file_name"])
    return entry, boxes, triplets


def _stripped(names: list[str]) -> list[str]:
    short: dict[str, str] = {}
    for name in names:
        other = short.setdefault(_ENDINGS.sub("", name), name)
        if other != name:
            raise HMLError(f"--strip-names gives {other!r} and {name!r} one name; leave it out")
    return list(short)


def _images(file: _File, ids: list[str], vocabulary: Vocabulary, tally: Tally) -> Iterator[SourceImage]:
    for source_id, (entry, boxes, triplets) in zip(ids, file.images):
        labels = boxes[:, 4].astype(np.int64) + 1
        if len(labels) and not (1 <= labels.min() and labels.max() <= len(vocabulary.objects)):
            raise HMLError(f"image {source_id} has a category_id outside 0..{len(vocabulary.objects) - 1}; the file's "
                           "class lists are not its own")  # fmt: skip
        if len(triplets) and not (0 <= triplets[:, 2].min() and triplets[:, 2].max() < len(vocabulary.predicates)):
            raise HMLError(f"image {source_id} has a predicate outside 0..{len(vocabulary.predicates) - 1}; the file's "
                           "predicate_classes are not its own")  # fmt: skip
        inside = ((triplets[:, :2] >= 0) & (triplets[:, :2] < len(labels))).all(1)
        tally.drop("relations", NO_SEGMENT, int((~inside).sum()), f"image {source_id}")
        extra = {key: entry[key] for key in ("coco_image_id", "pan_seg_file_name") if key in entry}
        yield SourceImage(
            source_id, entry["file_name"], int(entry.get("width") or 0), int(entry.get("height") or 0),
            TEST if source_id in file.test else TRAIN, boxes[:, :4], labels, triplets[inside] + [0, 0, 1], extra=extra,
        )  # fmt: skip

"""``hml data convert-openimages``: Open Images' visual relationships to a dataset folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import HMLError
from ..layout import TEST, TRAIN, VALIDATION, Vocabulary
from .names import Names
from .openimages_source import add_boxes, find_files, finished, read_descriptions, read_relations, read_sizes
from .raw import Found
from .source import Source, SourceImage, write_source
from .tally import Tally

_SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def convert_openimages(
    source: Path | str,
    target: Path | str,
    *,
    photos: Path | None = None,
    skip_missing: bool = False,
    sizes: Path | None = None,
    boxes: bool = False,
    group_of: bool = False,
    attribute_images: bool = False,
    force: bool = False,
) -> Tally:
    """Convert csv files of relations; rows "is" become attributes.

    Args:
        source: folder with the csv files (:func:`.openimages_source.find_files`).
        target: dataset folder to create.
        photos, skip_missing, force: see :func:`.source.write_source`.
        sizes: csv file with the columns ImageID, Width, Height; needed without ``photos``.
        boxes: also take the objects that are in no relation, from the files of boxes.
        group_of: of these, also the boxes around a group of objects.
        attribute_images: keep images that have attributes only.

    Raises:
        HMLError: a file is missing or wrong, or ``target`` is not free. Nothing is written then.
    """
    relations, box_files, descriptions = find_files(Path(source))
    if photos is None and sizes is None:
        raise HMLError("Open Images' csv files do not give the sizes of the pictures; give --photos DIR, or --sizes "
                       "FILE, a csv file with the columns ImageID, Width, Height")  # fmt: skip
    if boxes and not set(relations) <= set(box_files):
        missing = sorted(set(relations) - set(box_files))[0]
        raise HMLError(f"--boxes needs a csv file with {missing!r} and 'bbox' in its name in {source}; add it")
    if group_of and not boxes:
        raise HMLError("--group-of is about the boxes in no relation; give --boxes too")
    names = read_descriptions(descriptions)
    if not names:
        raise HMLError(f"{source} has no csv file with 'description' or 'classes' in its name, which names the classes;"
                       " add it, e.g. oidv6-class-descriptions.csv")  # fmt: skip
    known = None if sizes is None else read_sizes(sizes)
    found = Found(Names(aliases=names), Names(aliases=names), Names(aliases=names))
    read = {}
    for split, path in relations.items():
        read[split] = read_relations(path, found)
        if boxes:
            add_boxes(box_files[split], read[split], found, group_of)
    _require_apart(read)
    vocabulary, at = _vocabulary(found, names)
    numbers = _split_numbers(read, found.tally)
    images = _images(read, numbers, found.tally, at, known, attribute_images)
    return write_source(
        Source("Open Images' visual relationships, converted", vocabulary, images, found.tally,
               sum(map(len, read.values()))),
        target, photos=photos, skip_missing=skip_missing, force=force,
    )  # fmt: skip


def _require_apart(read: dict[str, dict[str, Any]]) -> None:
    """HMLError: an image is in two files."""
    seen: dict[str, str] = {}
    for split, images in read.items():
        for image_id in images:
            if seen.setdefault(image_id, split) != split:
                raise HMLError(f"image {image_id} is in the {seen[image_id]} and in the {split} file; remove its rows "
                               "from one")  # fmt: skip


def _vocabulary(found: Found, described: dict[str, str]) -> tuple[Vocabulary, list[np.ndarray]]:
    """The names that occur in any of the files, in alphabetical order; for each kind the index of each found name."""
    kinds = (found.objects, found.predicates, found.attributes)
    chosen = [sorted(kind.names) for kind in kinds]
    for kind, names in zip(("object classes", "predicates", "attributes"), chosen):
        found.tally.say(f"{kind}: {len(names)} occur in the files")
    unnamed = sorted(set(found.objects.names + found.attributes.names) - set(described.values()))
    if unnamed:
        found.tally.say(f"labels without a name in the description files keep their id: {', '.join(unnamed)}")
    at = [{name: i for i, name in enumerate(names, 1)} for names in chosen]
    index = [np.array([of[name] for name in kind.names], dtype=np.int64) for of, kind in zip(at, kinds)]
    return Vocabulary(*map(tuple, chosen)), index


def _split_numbers(read: dict[str, Any], tally: Tally) -> dict[str, int]:
    """The split of each file; without a test file the validation file is for testing."""
    numbers = dict(_SPLITS)
    if "test" not in read and "validation" in read:
        numbers["validation"] = TEST
        tally.say("split: there is no test file, so the validation file is for testing")
    elif "test" not in read:
        tally.say("split: there is no validation and no test file; all images are for training")
    return numbers


def _images(
    read: dict[str, Any], numbers: dict[str, int], tally: Tally, at: list[np.ndarray],
    sizes: dict[str, tuple[int, int]] | None, attribute_images: bool,
) -> Iterator[SourceImage]:  # fmt: skip
    of_object, of_predicate, of_attribute = at
    for split, images in read.items():
        for image_id, objects in finished(images, attribute_images, tally):
            width, height = (0, 0) if sizes is None else sizes.get(image_id, (0, 0))
            relations = objects.relations.astype(np.int64)
            if len(relations):
                relations[:, 2] = of_predicate[relations[:, 2]]
            yield SourceImage(
                image_id, f"{image_id}.jpg", width, height, numbers[split], objects.shares, of_object[objects.labels],
                relations, [tuple(int(of_attribute[i]) for i in of) for of in objects.attributes], fractions=True,
            )  # fmt: skip

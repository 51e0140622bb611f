"""Copy a part of a dataset folder: chosen predicates, object classes, images or splits, everything else unchanged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import HMLError
from ..files import open_h5, why_unreadable, write_json
from .check import check_arrays
from .layout import DICTS_NAME, H5_NAME, IMAGES_NAME, PHOTOS_NAME, TRAIN, VALIDATION, Vocabulary, new_dataset_folder
from .reader import RawVG, load_raw
from .splits import validation_size
from .stored_rows import rows_to_images

SPLITS = ("train", "val", "test")
_OF_OBJECTS = ("labels", "boxes_1024", "boxes_512", "attributes")
"""Arrays with a row for each object."""
_ID_KEYS = ("source_id", "file_name")
"""Fields of image_data.json by which an image may be named too."""


@dataclass
class SubsetReport:
    """What was kept and what was left out."""

    images: tuple[int, int]
    objects: tuple[int, int]
    relations: tuple[int, int]
    by_predicate: int
    by_object: int
    emptied: int
    validation: int | None
    left_out_arrays: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report as sentences, for a terminal and for ``hml data check``."""
        out = ["subset: kept " + ", ".join(
            f"{kept:,} of {all_:,} {what}" for what, (kept, all_) in
            (("images", self.images), ("objects", self.objects), ("relations", self.relations)))]  # fmt: skip
        out += [f"of the kept images' relations, {self.by_predicate:,} were left out by their predicate and "
                f"{self.by_object:,} with an object class; images left without one: {self.emptied:,}"]  # fmt: skip
        if self.validation is not None:
            out.append(f"validation: the first {self.validation:,} training images with relations, as before")
        if self.left_out_arrays:
            out.append(f"arrays of the h5 file that are not copied: {', '.join(self.left_out_arrays)}")
        return out


def subset_vg(
    source: Path | str,
    out: Path | str,
    *,
    predicates: Iterable[str] | None = None,
    objects: Iterable[str] | None = None,
    images: Iterable[str] | None = None,
    splits: Iterable[str] | None = None,
    force: bool = False,
) -> SubsetReport:
    """Write a dataset folder with a part of another; its pictures are a link to the source's folder.

    Names keep their order and count from 1 again. An object whose class is left out goes with its relations. An image
    stays when it has lost its relations, or its objects. Validation images stay validation images.

    Args:
        predicates, objects: names to keep; None: all.
        images: image ids, or the ids or file names that the images have in their source; None: all.
        splits: of train, val, test; None: all.

    Raises:
        HMLError: the source has a fault (the sentence of ``hml data check``), something named does not exist, nothing
            is left, or ``out`` is not free.
    """
    source, out = Path(source), Path(out)
    if source.resolve() == out.resolve():
        raise HMLError(f"{out} is the folder to take the subset of; name another one for the subset")
    raw = load_raw(source)
    vocabulary = check_arrays(raw)
    with open_h5(source / H5_NAME) as h5:
        others = {name: h5[name][()] for name in _OF_OBJECTS if name in h5 and name not in raw.arrays}
    raw.arrays.update({name: array for name, array in others.items() if len(array) == len(raw["labels"])})
    part, validation = _parts(raw)
    keep_image = _kept_images(raw, images) & np.isin(part, _split_numbers(splits))
    keep_object = _kept_names(vocabulary.objects, objects, "object class", source)
    keep_predicate = _kept_names(vocabulary.predicates, predicates, "predicate", source)
    if not keep_image.any():
        raise HMLError(f"no image of {source} is in the subset; choose other images or splits")
    report = _cut(raw, keep_image, keep_object, keep_predicate)
    if validation is not None:
        still = keep_image & (part == VALIDATION)
        report.validation = int((raw["img_to_first_rel"] >= 0)[still[keep_image]].sum())
        raw.attrs["num_val_images"] = report.validation
    names = Vocabulary(
        tuple(name for name, kept in zip(vocabulary.objects, keep_object[1:]) if kept),
        tuple(name for name, kept in zip(vocabulary.predicates, keep_predicate[1:]) if kept),
        vocabulary.attributes,
    )
    with new_dataset_folder(out, force) as folder:
        _write(raw, folder, names, report)
        if (source / PHOTOS_NAME).is_dir():
            os.symlink((source / PHOTOS_NAME).resolve(), folder / PHOTOS_NAME, target_is_directory=True)
        else:
            (folder / PHOTOS_NAME).mkdir()
    return report


def given_list(text: str | None) -> list[str] | None:
    """The names that an option lists: the lines of a file of that name, else what stands between commas; None: none.

    Raises:
        HMLError: the file cannot be read.
    """
    if text is None:
        return None
    if not Path(text).is_file():
        parts = text.split(",")
    else:
        try:
            parts = Path(text).read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeError) as error:
            raise HMLError(why_unreadable(text, error, "a text file")) from error
    return [part.strip() for part in parts if part.strip()]


def _parts(raw: RawVG) -> tuple[np.ndarray, int | None]:
    """(images,) the split of each, with VALIDATION for those at the front of the training split; how many these are.

    The number is None if the file marks validation images itself.
    """
    part = raw["split"].astype(np.int64)
    if (part == VALIDATION).any():
        return part, None
    usable = np.flatnonzero((part == TRAIN) & (raw["img_to_first_rel"] >= 0))
    first = validation_size(len(usable), raw.attrs.get("num_val_images"))
    part[usable[:first]] = VALIDATION
    return part, first


def _split_numbers(splits: Iterable[str] | None) -> list[int]:
    chosen = SPLITS if splits is None else tuple(splits)
    wrong = next((name for name in chosen if name not in SPLITS), None)
    if wrong is not None:
        raise HMLError(f"there is no split {wrong!r}; the splits are {', '.join(SPLITS)}")
    return [SPLITS.index(name) for name in chosen]


def _kept_images(raw: RawVG, images: Iterable[str] | None) -> np.ndarray:
    if images is None:
        return np.ones(len(raw.images), dtype=bool)
    wanted = {str(name) for name in images}
    names = [{str(entry[key]) for key in ("image_id", *_ID_KEYS) if key in entry} for entry in raw.images]
    unknown = sorted(wanted.difference(*names))
    if unknown:
        raise HMLError(f"{raw.folder} has no image {unknown[0]!r} ({len(unknown)} of {len(wanted)} images are unknown);"
                       f" name image ids of its {IMAGES_NAME}, or {' or '.join(_ID_KEYS)} there")  # fmt: skip
    return np.array([bool(wanted & own) for own in names])


def _kept_names(names: Sequence[str], wanted: Iterable[str] | None, kind: str, source: Path) -> np.ndarray:
    """(names + 1,) whether the name of each index is kept; index 0 is the background."""
    if wanted is None:
        return np.ones(len(names) + 1, dtype=bool)
    chosen = set(wanted)
    unknown = sorted(chosen.difference(names))
    if unknown or not chosen:
        raise HMLError(f"{source} has no {kind} {unknown[0]!r}; its {DICTS_NAME} lists them" if unknown else
                       f"no {kind} is named; name at least one")  # fmt: skip
    return np.array([True, *(name in chosen for name in names)])


def _cut(raw: RawVG, keep_image: np.ndarray, keep_object: np.ndarray, keep_predicate: np.ndarray) -> SubsetReport:
    """Reduce the arrays and the image list of ``raw``, in place."""
    box_image = rows_to_images(raw["img_to_first_box"], raw["img_to_last_box"], len(raw["labels"]))
    rel_image = rows_to_images(raw["img_to_first_rel"], raw["img_to_last_rel"], len(raw["predicates"]))
    pairs = raw["relationships"].astype(np.int64)
    in_image = (box_image >= 0) & keep_image[box_image]
    keep_box = in_image & keep_object[raw["labels"][:, 0].astype(np.int64)]
    related = (rel_image >= 0) & keep_image[rel_image]
    with_predicate = related & keep_predicate[raw["predicates"][:, 0].astype(np.int64)]
    keep_rel = with_predicate.copy()
    keep_rel[with_predicate] = keep_box[pairs[with_predicate]].all(1)  # rows of no image may point anywhere
    had = (raw["img_to_first_rel"] >= 0)[keep_image]
    number = np.cumsum(keep_image) - 1
    arrays = {"split": raw["split"][keep_image]}
    for kind, image, keep in (("box", box_image, keep_box), ("rel", rel_image, keep_rel)):
        first, last = _bounds(number[image[keep]], int(keep_image.sum()))
        arrays[f"img_to_first_{kind}"], arrays[f"img_to_last_{kind}"] = first, last
    arrays.update({name: raw.arrays[name][keep_box] for name in _OF_OBJECTS if name in raw.arrays})
    new_row = np.cumsum(keep_box) - 1
    arrays["relationships"] = new_row[pairs[keep_rel]].astype(raw["relationships"].dtype)
    for name, keep, rows in (("labels", keep_object, arrays["labels"]),
                             ("predicates", keep_predicate, raw["predicates"][keep_rel])):  # fmt: skip
        index = np.cumsum(keep) - 1
        arrays[name] = index[rows.astype(np.int64)].astype(raw[name].dtype)
    raw.arrays = arrays
    raw.images = [entry for entry, kept in zip(raw.images, keep_image) if kept]
    return SubsetReport(
        images=(int(keep_image.sum()), len(keep_image)), objects=(int(keep_box.sum()), int((box_image >= 0).sum())),
        relations=(int(keep_rel.sum()), int((rel_image >= 0).sum())),
        by_predicate=int((related & ~with_predicate).sum()), by_object=int((with_predicate & ~keep_rel).sum()),
        emptied=int((had & (arrays["img_to_first_rel"] < 0)).sum()), validation=None,
    )  # fmt: skip


def _bounds(image: np.ndarray, images: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last row of every image, -1 for one without rows; the rows of an image stand together."""
    first = np.full(images, -1, dtype=np.int32)
    counts = np.bincount(image, minlength=images)
    first[image[::-1]] = np.arange(len(image), dtype=np.int32)[::-1]
    return first, np.where(counts > 0, first + counts - 1, -1).astype(np.int32)


def _write(raw: RawVG, folder: Path, names: Vocabulary, report: SubsetReport) -> None:
    arrays = raw.arrays
    arrays["active_object_mask"] = np.zeros((len(arrays["labels"]), 1), dtype=bool)
    arrays["active_object_mask"][arrays["relationships"].astype(np.int64).reshape(-1)] = True
    with h5py.File(raw.folder / H5_NAME, "r") as old:
        report.left_out_arrays = sorted(set(old) - set(arrays))
    story = raw.attrs.get("source")
    story = json.loads(story) if isinstance(story, str) else {}
    story["lines"] = [*story.get("lines", []), *report.lines()]
    with h5py.File(folder / H5_NAME, "w", libver=("earliest", "v110")) as new:
        for name in sorted(arrays):
            if name != "attributes" or raw.has_attributes:
                new.create_dataset(name, data=arrays[name])
        new.attrs.update({**raw.attrs, "source": json.dumps(story)})
    write_json(folder / DICTS_NAME, _dicts(arrays, names))
    write_json(folder / IMAGES_NAME, raw.images)


def _dicts(arrays: dict[str, np.ndarray], names: Vocabulary) -> dict[str, Any]:
    """The names file; its counts are over the training split, as :func:`.writer.write_vg` writes it."""
    in_training = {
        kind: np.isin(rows_to_images(arrays[f"img_to_first_{kind}"], arrays[f"img_to_last_{kind}"], len(rows)),
                      np.flatnonzero(arrays["split"] == TRAIN))
        for kind, rows in (("box", arrays["labels"]), ("rel", arrays["predicates"]))
    }  # fmt: skip
    out: dict[str, Any] = {}
    for listed, plural, singular, values in (
        (names.objects, "label", "object", arrays["labels"][in_training["box"]]),
        (names.predicates, "predicate", "predicate", arrays["predicates"][in_training["rel"]]),
        (names.attributes, "attribute", "attribute", arrays["attributes"][in_training["box"]]),
    ):
        counts = np.bincount(values.reshape(-1).astype(np.int64), minlength=len(listed) + 1)
        out[f"idx_to_{plural}"] = {str(i): name for i, name in enumerate(listed, 1)}
        out[f"{plural}_to_idx"] = {name: i for i, name in enumerate(listed, 1)}
        out[f"{singular}_count"] = {name: int(counts[i]) for i, name in enumerate(listed, 1)}
    return out

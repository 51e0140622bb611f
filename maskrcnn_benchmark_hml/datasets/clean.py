"""Drop what readers refuse or count twice: relations of an object with itself, and repetitions of a relation."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from ..errors import HMLError
from .check import check_arrays, check_bounds
from .layout import DICTS_NAME, H5_NAME, IMAGES_NAME, PHOTOS_NAME, TRAIN, new_dataset_folder
from .reader import RawVG, load_raw, unsigned_arrays

_CHANGED = ("relationships", "predicates", "img_to_first_rel", "img_to_last_rel", "attributes", "active_object_mask")


@dataclass
class CleanReport:
    """What was dropped: relations of an object with itself, exact repetitions; and what that leaves.

    ``emptied`` images have no relation any more; of those, ``emptied_validation`` were validation images.
    """

    self_pairs: int
    repeats: int
    relations: int
    emptied: int
    emptied_validation: int
    attributes_added: bool
    made_signed: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What was done, for a terminal and for ``hml data check``."""
        out = [
            f"dropped: {self.self_pairs:,} relations of an object with itself, {self.repeats:,} repeated relations",
            f"kept: {self.relations:,} relations; images left without one: {self.emptied:,}",
        ]
        out += ["attributes: not in the source; added as zeros (no attributes)"] if self.attributes_added else []
        return [*out, f"made signed: {', '.join(self.made_signed)}"] if self.made_signed else out


def clean_vg(source: Path | str, out: Path | str, *, force: bool = False) -> CleanReport:
    """Write a dataset folder's clean copy; its pictures are a link to the source's folder.

    Everything else stays as it is, several predicates on one pair too. A file without attributes gets the array, and
    arrays of unsigned integers become signed ones.

    Raises:
        HMLError: the source has another fault (the sentence of ``hml data check``), or ``out`` is not free.
    """
    source, out = Path(source), Path(out)
    if source.resolve() == out.resolve():
        raise HMLError(f"{out} is the folder to clean itself; name another one for the clean copy")
    raw = load_raw(source)
    unsigned = unsigned_arrays(raw.arrays)
    raw.arrays.update({name: raw[name].astype(np.int64) for name in unsigned})
    report = _clean(raw)
    report.made_signed = unsigned
    check_arrays(raw)
    with new_dataset_folder(out, force) as folder:
        _write(raw, folder / H5_NAME, report)
        for name in (DICTS_NAME, IMAGES_NAME):
            shutil.copyfile(source / name, folder / name)
        if (source / PHOTOS_NAME).is_dir():
            os.symlink((source / PHOTOS_NAME).resolve(), folder / PHOTOS_NAME, target_is_directory=True)
    return report


def _clean(raw: RawVG) -> CleanReport:
    """Drop rows of ``raw``'s relations, in place."""
    pairs, predicates = raw["relationships"], raw["predicates"]
    image = check_bounds(raw, "rel", len(predicates))
    if len(pairs) != len(predicates):
        raise HMLError(f"{H5_NAME}: 'predicates' has {len(predicates)} rows, but 'relationships' has {len(pairs)}")
    itself = (image >= 0) & (pairs[:, 0] == pairs[:, 1])
    candidates = np.flatnonzero((image >= 0) & ~itself)
    triplets = np.column_stack([pairs, predicates]).astype(np.int64)[candidates]
    _, first = np.unique(triplets, axis=0, return_index=True)
    kept = candidates[np.sort(first)]
    had = raw["img_to_first_rel"] >= 0
    counts = np.bincount(image[kept], minlength=len(had))
    # The images' rows need not be in the images' order: first where an image's kept rows begin, then how many follow.
    start = np.full(len(had), -1, dtype=np.int64)
    start[image[kept][::-1]] = np.arange(len(kept))[::-1]
    validation = raw.attrs.get("num_val_images")
    front = np.flatnonzero((raw["split"] == TRAIN) & had)[: 0 if validation is None else int(validation)]
    emptied = had & (counts == 0)
    raw.arrays.update(
        relationships=pairs[kept], predicates=predicates[kept],
        img_to_first_rel=start.astype(raw["img_to_first_rel"].dtype),
        img_to_last_rel=np.where(counts > 0, start + counts - 1, -1).astype(raw["img_to_last_rel"].dtype),
    )  # fmt: skip
    if validation is not None:
        raw.attrs["num_val_images"] = int(validation) - int(emptied[front].sum())
    return CleanReport(
        self_pairs=int(itself.sum()), repeats=len(candidates) - len(kept), relations=len(kept),
        emptied=int(emptied.sum()), emptied_validation=int(emptied[front].sum()),
        attributes_added=not raw.has_attributes,
    )  # fmt: skip


def _write(raw: RawVG, path: Path, report: CleanReport) -> None:
    active = np.zeros((len(raw["labels"]), 1), dtype=bool)
    active[raw["relationships"].astype(np.int64).reshape(-1)] = True
    changed = {name: active if name == "active_object_mask" else raw[name] for name in {*_CHANGED, *report.made_signed}}
    story = raw.attrs.get("source")
    story = json.loads(story) if isinstance(story, str) else {}
    story["lines"] = [*story.get("lines", []), *report.lines()]
    with h5py.File(raw.folder / H5_NAME, "r") as old, h5py.File(path, "w", libver=("earliest", "v110")) as new:
        for name in sorted({*old, *changed}):
            if name in changed:
                new.create_dataset(name, data=changed[name])
            else:
                old.copy(name, new)
        new.attrs.update({**raw.attrs, "source": json.dumps(story)})

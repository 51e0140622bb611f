"""Read a dataset folder: raw arrays first, then records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from ..errors import HMLError
from ..files import open_h5, read_json
from .layout import (
    BACKGROUND,
    BOX_SCALE,
    DICTS_NAME,
    H5_NAME,
    IMAGES_NAME,
    MAX_ATTRIBUTES,
    UNREADABLE_VG_IMAGES,
    ImageRecord,
    Vocabulary,
    check_file,
    check_folder,
)
from .stored_rows import stored_corners

ARRAYS: dict[str, tuple[int | None, ...]] = {
    "split": (None,),
    "img_to_first_box": (None,),
    "img_to_last_box": (None,),
    "img_to_first_rel": (None,),
    "img_to_last_rel": (None,),
    "labels": (None, 1),
    "boxes_1024": (None, 4),
    "attributes": (None, None),
    "relationships": (None, 2),
    "predicates": (None, 1),
}
"""The arrays every reader needs, with their shapes (None = any length); a file may lack ``attributes``."""


@dataclass
class RawVG:
    """The files' content, shapes checked, values not yet; see :mod:`.format` for the arrays.

    Without attributes in the h5 file, ``arrays`` has none for every object and ``has_attributes`` is False.
    """

    folder: Path
    arrays: dict[str, np.ndarray]
    attrs: dict[str, Any]
    dicts: dict
    images: list[dict]
    has_attributes: bool = True

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


_Kind = TypeVar("_Kind", dict, list)


@dataclass
class VGData:
    """A dataset folder's content: names, images and the stored number of validation images (None = not stored)."""

    vocabulary: Vocabulary
    records: list[ImageRecord]
    num_val_images: int | None


def load_raw(folder: Path | str) -> RawVG:
    """Read the three annotation files.

    Raises:
        HMLError: a file or key is missing or unreadable, or an array has the wrong shape or type.
    """
    folder = check_folder(folder)
    for name in (H5_NAME, DICTS_NAME, IMAGES_NAME):
        check_file(folder / name)
    with open_annotations(folder / H5_NAME) as h5:
        arrays, attrs = {name: h5[name][()] for name in ARRAYS if name in h5}, dict(h5.attrs)
    dicts, images = _load_json(folder / DICTS_NAME, dict), _load_json(folder / IMAGES_NAME, list)
    has_attributes = "attributes" in arrays
    if not has_attributes:
        arrays["attributes"] = no_attributes(len(arrays["labels"]))
    return RawVG(folder, arrays, attrs, dicts, listed_images(images, len(arrays["split"])), has_attributes)


def listed_images(entries: list[Any], images: int) -> list[Any]:
    """The entries of image_data.json that go with an annotation file of so many images, as every reader takes them.

    Where there are more entries than images, Visual Genome's four broken pictures are left out: its list has them, its
    annotations do not. Where there are as many, an image of other data may have one of those ids.
    """
    if len(entries) == images:
        return entries
    return [e for e in entries if not isinstance(e, dict) or e.get("image_id") not in UNREADABLE_VG_IMAGES]


@contextmanager
def open_annotations(path: Path | str, names: Iterable[str] = ARRAYS) -> Iterator[h5py.File]:
    """The h5 file, open, with the named arrays checked to be there in the right shape and type.

    Raises:
        HMLError: the file or an array is missing or unreadable, or an array has the wrong shape or type.
    """
    with open_h5(check_file(path)) as h5:
        for name in names:
            if name in h5:
                _check_shape(path, name, h5[name])
            elif name != "attributes":
                raise HMLError(f"{path} has no array {name!r}; it is not a scene-graph file in Visual Genome's format")
        yield h5


def read_names(path: Path | str, *kinds: str) -> list[tuple[str, ...]]:
    """The names of the kinds (label, predicate, attribute) of a vocabulary file in index order, without the background.

    Read is ``<kind>_to_idx``, as the benchmark does; where it is missing, its inverse.

    Raises:
        HMLError: the file or a mapping is missing, or the indices have a gap.
    """
    content = _load_json(check_file(path), dict)
    names = []
    for kind in kinds:
        index, inverse = content.get(f"{kind}_to_idx"), content.get(f"idx_to_{kind}")
        if index is None and kind == "attribute":
            index = {}  # a vocabulary of the format's older version, without attributes
        if index is None and isinstance(inverse, dict):
            index = {name: int(number) if number.isdecimal() else number for number, name in inverse.items()
                     if name != BACKGROUND}
        if not isinstance(index, dict):
            raise HMLError(f"{path} has no '{kind}_to_idx'; it must be a vocabulary file of a Visual Genome split")
        wrong = next((n for n, at in index.items() if not isinstance(at, int) or isinstance(at, bool)), None)
        if wrong is not None:
            raise HMLError(f"{path}: {kind}_to_idx gives {wrong!r} the index {index[wrong]!r}; give a whole number")
        ordered = sorted((name for name in index if name != BACKGROUND), key=index.__getitem__)
        if [index[name] for name in ordered] != list(range(1, len(ordered) + 1)):
            raise HMLError(f"{path}: the indices of {kind}_to_idx are not 1 to {len(ordered)}; close the gaps")
        names.append(tuple(ordered))
    return names


def contradictions(path: Path | str, *kinds: str) -> Iterator[str]:
    """One sentence for each kind whose two mappings in a vocabulary file are not each other's inverse.

    A missing mapping contradicts nothing; a run reads ``<kind>_to_idx`` alone.
    """
    content = _load_json(check_file(path), dict)
    for kind in kinds:
        backward, forward = content.get(f"{kind}_to_idx"), content.get(f"idx_to_{kind}")
        if not (isinstance(backward, dict) and isinstance(forward, dict)):
            continue
        read = {str(index): name for name, index in backward.items() if name != BACKGROUND}
        said = {index: name for index, name in forward.items() if name != BACKGROUND}
        wrong = next((index for index in (*read, *said) if read.get(index) != said.get(index)), None)
        if wrong is not None:
            yield (f"{path}: idx_to_{kind} calls {wrong} {said.get(wrong)!r}, but by {kind}_to_idx, which a run reads, "
                   f"it is {read.get(wrong)!r}; correct the file")  # fmt: skip


def repeated_id(entries: Sequence[Mapping[str, Any]]) -> str:
    """Which image_id stands twice in a list of images, in words; "" if none does."""
    seen: dict[Any, int] = {}
    for at, entry in enumerate(entries):
        before = seen.setdefault(entry["image_id"], at)
        if before != at:
            return (f"image_id {entry['image_id']} occurs twice (entries {before} and {at}), so that one picture "
                    "stands for both; correct the file")  # fmt: skip
    return ""


def unsigned_arrays(arrays: Mapping[str, Any]) -> list[str]:
    """Those of an open file's arrays, or of a dictionary of them, whose type has no negative numbers."""
    return [name for name in ARRAYS if getattr(getattr(arrays.get(name), "dtype", None), "kind", "") == "u"]


def unsigned_sentence(path: Path | str, names: Sequence[str], folder: Path | str) -> str:
    """What is wrong with such arrays, and the remedy."""
    return (
        f"{path}: {', '.join(map(repr, names))} hold unsigned integers, with which Scene-Graph-Benchmark.pytorch"
        f" computes wrongly (a box at the left or upper edge is lost); hml data clean {folder} OUT makes them signed"
    )


def no_attributes(objects: int) -> np.ndarray:
    """(objects, 10) the array ``attributes`` of objects that have none."""
    return np.zeros((objects, MAX_ATTRIBUTES), dtype=np.int64)


def read_vocabulary(raw: RawVG) -> Vocabulary:
    """The names, with both directions of every mapping checked against each other.

    Raises:
        HMLError: a mapping is missing, has a gap, or contradicts its inverse.
    """
    return Vocabulary(*(_names(raw.dicts, kind) for kind in ("label", "predicate", "attribute")))


def read_vg(folder: Path | str) -> VGData:
    """Read a whole dataset folder, checked, boxes as the benchmark sees them (pixels of image_data.json's size).

    Raises:
        HMLError: whatever :func:`~maskrcnn_benchmark_hml.datasets.check.check_vg` says, short of looking at pictures.
    """
    from .check import check_arrays  # the checker builds on this module

    raw = load_raw(folder)
    vocabulary = check_arrays(raw)
    corners = stored_corners(raw["boxes_1024"])
    pairs, predicates = raw["relationships"].astype(np.int64), raw["predicates"].astype(np.int64)
    records = []
    for i, entry in enumerate(raw.images):
        first, last = int(raw["img_to_first_box"][i]), int(raw["img_to_last_box"][i])
        rows = slice(first, last + 1) if first >= 0 else slice(0, 0)
        first_rel, last_rel = int(raw["img_to_first_rel"][i]), int(raw["img_to_last_rel"][i])
        rels = slice(first_rel, last_rel + 1) if first_rel >= 0 else slice(0, 0)
        width, height = int(entry["width"]), int(entry["height"])
        records.append(
            ImageRecord(
                image_id=int(entry["image_id"]),
                width=width,
                height=height,
                split=int(raw["split"][i]),
                boxes=corners[rows] * (max(width, height) / BOX_SCALE),
                labels=raw["labels"][rows, 0].astype(np.int64),
                relations=np.concatenate([pairs[rels] - max(first, 0), predicates[rels]], axis=1),
                attributes=[tuple(int(a) for a in row if a > 0) for row in raw["attributes"][rows]],
                extra={k: v for k, v in entry.items() if k not in ("image_id", "width", "height")},
            )
        )
    stored = raw.attrs.get("num_val_images")
    return VGData(vocabulary, records, None if stored is None else int(stored))


def _check_shape(path: Path | str, name: str, array: h5py.Dataset) -> None:
    expected = ARRAYS[name]
    if not isinstance(array, h5py.Dataset):
        raise HMLError(f"{path}: {name!r} is a group; it must be an array")
    if array.ndim != len(expected) or any(e not in (None, s) for e, s in zip(expected, array.shape)):
        wanted = "(" + ", ".join("any" if e is None else str(e) for e in expected) + ")"
        raise HMLError(f"{path}: the array {name!r} has shape {array.shape}; it must be {wanted}")
    floats = array.dtype.kind == "f" and name == "boxes_1024"
    if array.dtype.kind not in "iu" and not floats:
        raise HMLError(f"{path}: the array {name!r} holds {array.dtype}; it must hold integers")


def _load_json(path: Path, kind: type[_Kind]) -> _Kind:
    value = read_json(path)
    if not isinstance(value, kind):
        raise HMLError(f"{path} holds a JSON {type(value).__name__}; it must be a {kind.__name__}")
    return value


def _names(dicts: dict, kind: str) -> tuple[str, ...]:
    forward, backward = f"idx_to_{kind}", f"{kind}_to_idx"
    if kind == "attribute" and forward not in dicts and backward not in dicts:
        return ()  # a vocabulary of the format's older version, without attributes
    for key in (forward, backward):
        if not isinstance(dicts.get(key), dict):
            raise HMLError(f"{DICTS_NAME} has no {key!r}; it must map indices and names in both directions")
    names, by_index = [], dict(dicts[forward])
    zero = by_index.pop("0", BACKGROUND)
    if zero != BACKGROUND:
        raise HMLError(f"{DICTS_NAME}: {forward!r} calls 0 {zero!r}, but 0 is the background; count the names from 1")
    for i in range(1, len(by_index) + 1):
        if str(i) not in by_index:
            raise HMLError(f"{DICTS_NAME}: {forward!r} has no entry {i}; indices must run from 1 without a gap")
        name = by_index[str(i)]
        if dicts[backward].get(name) != i:
            raise HMLError(
                f"{DICTS_NAME}: {forward!r} calls {i} {name!r}, but {backward!r} gives {dicts[backward].get(name)}"
            )
        names.append(name)
    extra = [name for name in dicts[backward] if name not in set(names) and name != BACKGROUND]
    if extra:
        raise HMLError(f"{DICTS_NAME}: {backward!r} knows {extra[0]!r}, which {forward!r} lacks")
    return tuple(names)

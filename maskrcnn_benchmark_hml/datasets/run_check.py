"""What of a dataset's files would end a run, or spoil it without a word, checked before it starts.

Less strict than :mod:`.check`: what runs all the same (a box outside its picture, a relation of an object with itself)
is left to ``hml data check``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import HMLError
from ..files import read_json
from .check import check_bounds
from .conventions import Boxes, convention_warnings
from .layout import BOX_SCALE, TEST, TRAIN, VALIDATION, Vocabulary, check_file
from .reader import ARRAYS, RawVG, contradictions, listed_images, open_annotations, read_names, repeated_id
from .stored_rows import corners_inside

_BOXES, _RELATIONS = ("labels", "boxes_1024"), ("relationships", "predicates")
_IMAGES = ("split", "img_to_first_box", "img_to_last_box", "img_to_first_rel", "img_to_last_rel")


def check_files(roidb_file: str, dict_file: str, image_file: str) -> tuple[Vocabulary, list[str]]:
    """Check a dataset's annotations, names and list of images against each other.

    Returns:
        The names; and in words what ``hml data check`` refuses and a run does not stop at.

    Raises:
        HMLError: names the file, the first wrong entry, and what it must be.
    """
    names = read_names(dict_file, "label", "predicate", "attribute")
    with open_annotations(roidb_file) as file:
        arrays = {name: file[name][()] for name in ARRAYS if name in file and name != "attributes"}
    raw = RawVG(Path(roidb_file).parent, arrays, {}, {}, _entries(image_file, len(arrays["split"]), roidb_file))
    try:
        for group in (_IMAGES, _BOXES, _RELATIONS):
            for name in group[1:]:
                if len(raw[name]) != len(raw[group[0]]):
                    raise HMLError(f"the array {name!r} has {len(raw[name])} rows, but {group[0]!r} has "
                                   f"{len(raw[group[0]])}")  # fmt: skip
        box_image = check_bounds(raw, "box", len(raw["labels"]))
        rel_image = check_bounds(raw, "rel", len(raw["predicates"]))
        if not np.isin(raw["split"], (TRAIN, VALIDATION, TEST)).all():
            at = int(np.argmax(~np.isin(raw["split"], (TRAIN, VALIDATION, TEST))))
            raise HMLError(f"'split' of image {at} is {raw['split'][at]}; it must be 0 (training), 1 (validation) or 2 "
                           "(test)")  # fmt: skip
        _check_indices(raw, "labels", "object", len(names[0]))
        _check_indices(raw, "predicates", "relation", len(names[1]))
        outside = _check_boxes(raw, box_image)
        itself = _check_relations(raw, box_image, rel_image)
    except HMLError as error:
        raise HMLError(f"{roidb_file}: {error}; correct the file (hml data check names every such error)") from error
    width, height = (np.array([entry[key] for entry in raw.images], dtype=float) for key in ("width", "height"))
    looks = convention_warnings(Boxes(raw["boxes_1024"], box_image, width, height))
    notes = ((outside, "boxes lie outside their pictures"), (itself, "relations join an object with itself"))
    twice = repeated_id(raw.images)
    return Vocabulary(*names), [*contradictions(dict_file, "label", "predicate", "attribute"),
                                *([f"{image_file}: {twice}"] if twice else []),
                                *(f"{roidb_file}: {line}" for line in looks),
                                *(f"{count:,} {what} in {roidb_file}; hml data check names the first"
                                  for count, what in notes if count)]


def _entries(image_file: str, images: int, roidb_file: str) -> list[dict[str, Any]]:
    """The images that the annotation file covers, each with its size and id."""
    entries = read_json(check_file(image_file))
    if not isinstance(entries, list):
        raise HMLError(f"{image_file} holds a JSON {type(entries).__name__}; it must be a list of images")
    for at, entry in enumerate(entries):
        given = entry if isinstance(entry, dict) else {}
        if not isinstance(given.get("image_id"), (int, str)) or not _size(given.get("width")) or \
                not _size(given.get("height")):
            wrong = next((f"{key} {given.get(key)!r}" for key in ("width", "height") if not _size(given.get(key))),
                         f"image_id {given.get('image_id')!r}")
            raise HMLError(f"{image_file}: entry {at} has {wrong}; it needs image_id, and width and height above 0")
    entries = listed_images(entries, images)
    if len(entries) != images:
        raise HMLError(f"{image_file} lists {len(entries)} images but the annotation file {roidb_file} covers {images}"
                       "; use the image_data.json that came with that annotation file")  # fmt: skip
    return entries


def _size(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _check_indices(raw: RawVG, name: str, what: str, most: int) -> None:
    values = raw[name][:, 0].astype(np.int64)
    wrong = (values < 1) | (values > most)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise HMLError(f"{name!r} of {what} {at} is {values[at]}; it must lie in 1..{most}")


def _check_boxes(raw: RawVG, box_image: np.ndarray) -> int:
    """Returns the number of boxes outside their pictures."""
    boxes = raw["boxes_1024"]
    with np.errstate(invalid="ignore"):
        wrong = ~((boxes[:, :2] >= 0) & (boxes[:, 2:] > 0)).all(1)  # NaN is neither
    if wrong.any():
        at = int(np.argmax(wrong))
        raise HMLError(f"the box of object {at} is xc, yc, w, h = {boxes[at].tolist()}; xc and yc must be at least 0, "
                       "w and h above 0")  # fmt: skip
    sizes = np.array([(entry["width"], entry["height"]) for entry in raw.images], dtype=np.float64).reshape(-1, 2)
    inside = corners_inside(raw["boxes_1024"], box_image, sizes[:, 0], sizes[:, 1])
    lost = ~np.all(inside[:, 2:] > inside[:, :2], axis=1)
    of_image = box_image[box_image >= 0]
    boxes_of = np.bincount(of_image, minlength=len(sizes))
    lost_of = np.bincount(of_image, weights=lost[box_image >= 0], minlength=len(sizes))
    empty = (boxes_of > 0) & (boxes_of == lost_of)
    if empty.any():
        at = int(np.argmax(empty))
        raise HMLError(f"all boxes of image {at} (image_id {raw.images[at]['image_id']}) lie outside its picture; "
                       f"boxes are centre and size, scaled so that the longer side has {BOX_SCALE}")  # fmt: skip
    return int(lost_of.sum())


def _check_relations(raw: RawVG, box_image: np.ndarray, rel_image: np.ndarray) -> int:
    """Returns the number of relations of an object with itself."""
    pairs = raw["relationships"].astype(np.int64)
    used = rel_image >= 0
    within = np.all((pairs >= 0) & (pairs < len(box_image)), axis=1)
    safe = np.where(within[:, None], pairs, 0)
    wrong = used & ~(within & (box_image[safe] == rel_image[:, None]).all(1)) if len(box_image) else used
    if wrong.any():
        at = int(np.argmax(wrong))
        raise HMLError(f"relation {at} of image {rel_image[at]} joins the objects {pairs[at].tolist()}, not both of "
                       "which belong to that image")  # fmt: skip
    return int((used & (pairs[:, 0] == pairs[:, 1])).sum())

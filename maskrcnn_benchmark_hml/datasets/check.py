"""The validator: names the first thing that is wrong with a dataset folder in one sentence, else counts everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import HMLError
from .conventions import Boxes, convention_hint, convention_warnings
from .counts import Report, count_vg
from .layout import BOX_SCALE, H5_NAME, IMAGES_NAME, PHOTOS_NAME, TRAIN, Vocabulary
from .pictures import NOT_TURNED, TURNED, locate_pictures, open_picture, orientation
from .reader import RawVG, load_raw, read_vocabulary, unsigned_arrays, unsigned_sentence
from .stored_rows import corners_inside, rows_to_images


def check_vg(folder: Path | str, *, open_pictures: bool = False) -> Report:
    """Check a dataset folder and count what it holds.

    Args:
        folder: see :mod:`.format` for its layout.
        open_pictures: also open every picture and compare its size with image_data.json.

    Raises:
        HMLError: the first missing file or key, wrong shape, index, box, relation, or missing picture.
    """
    raw = load_raw(folder)
    vocabulary = check_arrays(raw)
    turned = _check_pictures(raw, open_pictures)
    report = count_vg(raw, vocabulary)
    report.warnings += [*_array_warnings(raw), *turned]
    return report


def _array_warnings(raw: RawVG) -> list[str]:
    """Sentences about boxes of another convention and about types that Scene-Graph-Benchmark.pytorch cannot use."""
    box_image = rows_to_images(raw["img_to_first_box"], raw["img_to_last_box"], len(raw["labels"]))
    width, height = (np.array([entry[key] for entry in raw.images], dtype=float) for key in ("width", "height"))
    warnings = convention_warnings(Boxes(raw["boxes_1024"], box_image, width, height))
    unsigned = unsigned_arrays(raw.arrays)
    return [*warnings, unsigned_sentence(H5_NAME, unsigned, raw.folder)] if unsigned else warnings


def check_arrays(raw: RawVG) -> Vocabulary:
    """All checks but the pictures; returns the vocabulary."""
    vocabulary = read_vocabulary(raw)
    images = len(raw["split"])
    if not images:
        raise HMLError(f"{H5_NAME} lists no image")
    for name in ("img_to_first_box", "img_to_last_box", "img_to_first_rel", "img_to_last_rel"):
        _same_length(raw, name, images, "split")
    _same_length(raw, "boxes_1024", len(raw["labels"]), "labels")
    _same_length(raw, "attributes", len(raw["labels"]), "labels")
    _same_length(raw, "predicates", len(raw["relationships"]), "relationships")
    width, height = _check_image_entries(raw, images)
    _in_range(raw["split"], 0, 2, "'split' of image {} is {}; it must be 0 (training), 1 (validation) or 2 (test)")
    box_image = check_bounds(raw, "box", len(raw["labels"]))
    rel_image = check_bounds(raw, "rel", len(raw["predicates"]))
    n, p, a = len(vocabulary.objects), len(vocabulary.predicates), len(vocabulary.attributes)
    _in_range(raw["labels"][:, 0], 1, n, f"the label of object {{}} is {{}}; it must lie in 1..{n}")
    _in_range(raw["predicates"][:, 0], 1, p, f"the predicate of relation {{}} is {{}}; it must lie in 1..{p}")
    if raw["attributes"].size:
        _in_range(raw["attributes"].max(1), 0, a, f"an attribute of object {{}} is {{}}; it must lie in 0..{a}")
        _in_range(raw["attributes"].min(1), 0, a, f"an attribute of object {{}} is {{}}; it must lie in 0..{a}")
    _check_boxes(raw, box_image, width, height)
    _check_relations(raw, box_image, rel_image)
    stored = raw.attrs.get("num_val_images")
    usable = int(((raw["split"] == TRAIN) & (raw["img_to_first_rel"] >= 0)).sum())
    if stored is not None and not 0 <= int(stored) <= usable:
        raise HMLError(
            f"{H5_NAME}: 'num_val_images' is {int(stored)}, but only {usable} training images have relations"
        )
    return vocabulary


def _same_length(raw: RawVG, name: str, length: int, like: str) -> None:
    if len(raw[name]) != length:
        raise HMLError(f"{H5_NAME}: the array {name!r} has {len(raw[name])} rows, but {like!r} has {length}")


def _in_range(values: np.ndarray, low: int, high: int, sentence: str) -> None:
    wrong = (values < low) | (values > high)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise HMLError(f"{H5_NAME}: {sentence.format(i, int(values[i]))}")


def _check_image_entries(raw: RawVG, images: int) -> tuple[np.ndarray, np.ndarray]:
    if len(raw.images) != images:
        raise HMLError(
            f"{IMAGES_NAME} lists {len(raw.images)} images, but {H5_NAME} has {images};"
            " the two files do not belong together"
        )
    sizes = np.zeros((images, 2))
    seen: set[int] = set()
    for i, entry in enumerate(raw.images):
        for key in ("image_id", "width", "height"):
            value = entry.get(key) if isinstance(entry, dict) else None
            if isinstance(value, bool) or not isinstance(value, int) or (value < 1 and key != "image_id"):
                raise HMLError(f"{IMAGES_NAME}: entry {i} has {key} {value!r}; it must be a whole number above 0")
        if entry["image_id"] in seen:
            raise HMLError(f"{IMAGES_NAME}: image_id {entry['image_id']} occurs twice (again at entry {i})")
        seen.add(entry["image_id"])
        sizes[i] = entry["width"], entry["height"]
    return sizes[:, 0], sizes[:, 1]


def check_bounds(raw: RawVG, kind: str, rows: int) -> np.ndarray:
    """Check img_to_{first,last}_{box,rel}; (rows,) the image of every row (-1 = none).

    Raises:
        HMLError: rows that do not exist, or that two images share.
    """
    first, last = raw[f"img_to_first_{kind}"].astype(np.int64), raw[f"img_to_last_{kind}"].astype(np.int64)
    none = (first < 0) & (last < 0)
    wrong = ~none & ~((first >= 0) & (first <= last) & (last < rows))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise HMLError(
            f"{H5_NAME}: image {i} claims rows {first[i]}..{last[i]} (img_to_first_{kind}, img_to_last_{kind}),"
            f" but there are {rows}"
        )
    images = np.flatnonzero(~none)
    order = images[np.argsort(first[images], kind="stable")]
    overlap = first[order[1:]] <= last[order[:-1]]
    if overlap.any():
        i = int(np.argmax(overlap))
        raise HMLError(
            f"{H5_NAME}: images {order[i]} and {order[i + 1]} share row {first[order[i + 1]]} (img_to_first_{kind})"
        )
    return rows_to_images(first, last, rows)


def _check_boxes(raw: RawVG, box_image: np.ndarray, width: np.ndarray, height: np.ndarray) -> None:
    boxes = raw["boxes_1024"]
    if boxes.dtype.kind == "f" and not np.isfinite(boxes).all():
        i = int(np.argmax(~np.isfinite(boxes).all(1)))
        raise HMLError(f"{H5_NAME}: the box of object {i}{_of(raw, box_image, i)} is {boxes[i].tolist()}: not a number")

    def hint() -> str:
        return convention_hint(Boxes(boxes, box_image, width, height))

    empty = (boxes[:, 2:] <= 0).any(1)
    if empty.any():
        i = int(np.argmax(empty))
        raise HMLError(
            f"{H5_NAME}: the box of object {i}{_of(raw, box_image, i)} is degenerate: xc, yc, w, h ="
            f" {boxes[i].tolist()}; w and h must be above 0{hint()}"
        )
    inside = corners_inside(raw["boxes_1024"], box_image, width, height)
    outside = (box_image >= 0) & ((boxes[:, :2] < 0).any(1) | ~(inside[:, 2:] > inside[:, :2]).all(1))
    if outside.any():
        i = int(np.argmax(outside))
        raise HMLError(
            f"{H5_NAME}: the box of object {i}{_of(raw, box_image, i)} lies outside its picture: xc, yc, w, h ="
            f" {boxes[i].tolist()} at scale {BOX_SCALE}{hint()}"
        )


def _check_relations(raw: RawVG, box_image: np.ndarray, rel_image: np.ndarray) -> None:
    pairs = raw["relationships"].astype(np.int64)
    used = rel_image >= 0
    bad = used & ((pairs < 0) | (pairs >= len(box_image))).any(1)
    safe = np.clip(pairs, 0, max(len(box_image) - 1, 0))
    elsewhere = (box_image[safe] != rel_image[:, None]).any(1) if len(box_image) else np.ones(len(pairs), dtype=bool)
    bad |= used & elsewhere
    if bad.any():
        i = int(np.argmax(bad))
        raise HMLError(
            f"{H5_NAME}: relation {i}{_of(raw, rel_image, i)} joins objects {pairs[i, 0]} and {pairs[i, 1]},"
            " not both of which belong to that image"
        )
    itself = used & (pairs[:, 0] == pairs[:, 1])
    if itself.any():
        i = int(np.argmax(itself))
        raise HMLError(
            f"{H5_NAME}: relation {i}{_of(raw, rel_image, i)} joins object {pairs[i, 0]} with itself;"
            f" hml data clean {raw.folder} OUT drops such relations"
        )


def _of(raw: RawVG, image_of: np.ndarray, row: int) -> str:
    i = int(image_of[row])
    return f" (image {i}, image_id {raw.images[i]['image_id']})" if i >= 0 else ""


def _check_pictures(raw: RawVG, open_pictures: bool) -> list[str]:
    """Sentences about pictures that are allowed, but probably not what was meant."""
    photos = raw.folder / PHOTOS_NAME
    if not photos.is_dir():
        raise HMLError(
            f"{raw.folder} has no folder {PHOTOS_NAME}; put or link the pictures there, or have them drawn from the"
            f" annotations: hml data placeholders {raw.folder}"
        )
    paths = locate_pictures(photos, [entry["image_id"] for entry in raw.images], IMAGES_NAME)
    turned: list[str] = []
    if not open_pictures:
        return turned
    for path, entry in zip(tqdm(paths, desc="opening pictures", unit="image", disable=None), raw.images):
        with open_picture(path) as picture:
            size, turn = picture.size, orientation(picture)
        turned += [path] if turn in TURNED else []
        if size != (entry["width"], entry["height"]):
            raise HMLError(
                f"the picture {path} is {size[0]}x{size[1]}, but {IMAGES_NAME} says {entry['width']}x{entry['height']}"
                + (f"; its EXIF orientation is {turn}, {NOT_TURNED}" if turn in TURNED else "")
            )
    counted = f"{len(turned)} picture(s) have an EXIF orientation that turns or mirrors them"
    return [f"{counted} ({turned[0]}), {NOT_TURNED}"] if turned else []

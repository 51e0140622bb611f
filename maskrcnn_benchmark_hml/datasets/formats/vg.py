"""``hml data convert-vg``: the raw annotations of Visual Genome to a split like VG150."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import HMLError
from ..layout import TEST, TRAIN
from .merging import INSIDE, OVERLAP, OVERLAP_ABOVE, SAME, SAME_ABOVE, merge_boxes
from .names import Names, clean_name, given_names, read_aliases
from .raw import Found, RawImage
from .selection import Selection
from .source import Source, write_source
from .tally import Tally
from .vg_source import OBJECTS_NAME, RELATIONS_NAME, SIZES_NAME, is_broken, read_images, read_sizes

TEST_SHARE = 0.3
"""VG150: the last 30 % of the images in the order of image_data.json."""

_REASONS = {
    SAME: f"nearly the same box (over {SAME_ABOVE} of the box around both)",
    INSIDE: "one box inside the other, with the same name",
    OVERLAP: f"the same name and much overlap (over {OVERLAP_ABOVE} of the box around both)",
}


def convert_vg(
    source: Path | str,
    target: Path | str,
    *,
    photos: Path | None = None,
    skip_missing: bool = False,
    objects: str = "150",
    predicates: str = "50",
    object_aliases: Path | None = None,
    predicate_aliases: Path | None = None,
    min_area: float = 0.0,
    merge_same: bool = False,
    test: float = TEST_SHARE,
    force: bool = False,
) -> Tally:
    """Convert objects.json, relationships.json and image_data.json.

    Args:
        source: folder with the three files.
        target: dataset folder to create.
        photos, skip_missing, force: see :func:`.source.write_source`.
        objects, predicates: how many names, the most frequent ones, or a file of names.
        object_aliases, predicate_aliases: files of lines ``name,alias,alias``.
        min_area: leave out boxes of no more than this share of the picture's area (VG150: 0.002).
        merge_same: merge boxes of the same object as VG150 does (:func:`.merging.merge_boxes`).
        test: share of the images for testing, from the end of image_data.json.

    Raises:
        HMLError: a file is missing or wrong, or ``target`` is not free. Nothing is written then.
    """
    src = Path(source)
    _require(src, min_area, test)
    wanted = {kind: given_names(given, kind, clean_name) for kind, given in
              (("objects", objects), ("predicates", predicates))}  # fmt: skip
    found = Found(Names(clean_name, read_aliases(object_aliases)), Names(clean_name, read_aliases(predicate_aliases)))
    sizes = read_sizes(src)
    read = {image.source_id: image for image in read_images(src, sizes, found)}
    found.tally.note("images without any annotation", sum(key not in read and not is_broken(key) for key in sizes))
    images = [read.pop(key) if key in read else _empty(key, *size) for key, size in sizes.items() if not is_broken(key)]
    _say(found, min_area, merge_same)
    for image in images if min_area > 0 or merge_same else ():
        _drop_small(image, min_area)
        if merge_same:
            _merge(image, found.tally)
    selection = Selection(images, found, wanted["objects"], wanted["predicates"])
    last = int(len(images) * (1 - test) + 1e-9)
    found.tally.say(f"split: the last {test:.0%} of the images in {SIZES_NAME} are for testing")
    return write_source(
        Source(
            "Visual Genome, converted from its raw annotations", selection.vocabulary,
            selection.images(images, lambda place: TRAIN if place < last else TEST), found.tally, len(images),
        ),
        target, photos=photos, skip_missing=skip_missing, force=force,
    )  # fmt: skip


def _require(src: Path, min_area: float, test: float) -> None:
    if not src.is_dir():
        raise HMLError(f"{src} is not a folder; name the one that holds Visual Genome's {OBJECTS_NAME}")
    for name in (SIZES_NAME, OBJECTS_NAME, RELATIONS_NAME):
        if not (src / name).is_file():
            raise HMLError(f"{src} has no {name}; Visual Genome's raw annotations are {OBJECTS_NAME}, {RELATIONS_NAME} "
                           f"and {SIZES_NAME}")  # fmt: skip
    if not 0 <= min_area < 1:
        raise HMLError(f"--min-area is {min_area}; give a share of the picture's area from 0 to 1, e.g. 0.002")
    if not 0 <= test < 1:
        raise HMLError(f"--test is {test}; give a share of the images from 0 to 1, e.g. {TEST_SHARE}")


def _empty(source_id: str, width: int, height: int, file_name: str) -> RawImage:
    return RawImage(source_id, file_name, width, height, np.zeros((0, 4)), [], np.zeros((0, 3), dtype=np.int32))


def _say(found: Found, min_area: float, merge_same: bool) -> None:
    for kind, names in (("object names", found.objects), ("predicates", found.predicates)):
        found.tally.say(f"{kind}: {len(names.names):,} after cleaning (lower case, no punctuation); aliases replaced "
                        f"{names.replaced:,} spellings")  # fmt: skip
    if min_area <= 0 or not merge_same:
        found.tally.say("VG150 also drops boxes of at most 0.2 % of the picture and merges boxes of the same object: "
                        "--min-area 0.002 --merge-same")  # fmt: skip
    found.tally.say("boxes are as annotated; those of the published VG150 files lie up to a pixel to the upper left")


def _drop_small(image: RawImage, min_area: float) -> None:
    area = (image.corners[:, 2:] - image.corners[:, :2]).prod(1)
    small = np.flatnonzero(area <= min_area * image.width * image.height) if min_area > 0 else ()
    reason = f"at most {min_area:g} of the picture's area"
    image.dropped.update({int(row): reason for row in small})


def _merge(image: RawImage, tally: Tally) -> None:
    """Merge the boxes of one image, in place; objects that are dropped keep a row of their own, at the end."""
    kept = np.array([row for row in range(len(image.names)) if row not in image.dropped], dtype=np.int64)
    gone = sorted(image.dropped)
    first = np.array([image.names[row][0] for row in kept], dtype=np.int64)
    group, corners, counts = merge_boxes(image.corners[kept], first)
    for reason, number in counts.items():
        tally.merge("objects", _REASONS[reason], number, f"image {image.source_id}")
    if len(corners) == len(kept):
        return
    row = np.zeros(len(image.names), dtype=np.int32)
    row[kept] = group
    row[gone] = len(corners) + np.arange(len(gone))
    names: list[dict[int, None]] = [{} for _ in range(len(corners) + len(gone))]
    for old, new in enumerate(row):
        names[new].update(dict.fromkeys(image.names[old]))
    image.corners = np.concatenate([corners, image.corners[gone]])
    image.names = [tuple(of) for of in names]
    image.relations = np.column_stack([row[image.relations[:, :2]], image.relations[:, 2:]])
    image.dropped = {int(row[old]): reason for old, reason in image.dropped.items()}

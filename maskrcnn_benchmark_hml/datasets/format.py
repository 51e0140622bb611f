"""The Visual Genome scene-graph format, as Scene-Graph-Benchmark.pytorch reads it.

A dataset folder holds::

    VG-SGG-with-attri.h5            annotations (below)
    VG-SGG-dicts-with-attri.json    names: {label,predicate,attribute}_to_idx and idx_to_{label,predicate,attribute},
                                    and {object,predicate,attribute}_count; indices start at 1, 0 is the background
    image_data.json                 list of {"image_id", "width", "height", ...}, one per image, in the h5 file's order
    VG_100K/<image_id>.jpg          the pictures

Arrays of the h5 file, with M images, N objects, R relations:

=====================  ===========  ========  ====================================================================
split                  (M,)         int32     0 training, 1 validation, 2 test (see below on 1)
img_to_first_box       (M,)         int32     first row of the image's objects, -1 = none
img_to_last_box        (M,)         int32     last row, *inclusive*
img_to_first_rel       (M,)         int32     first row of the image's relations, -1 = none
img_to_last_rel        (M,)         int32     last row, inclusive
labels                 (N, 1)       int64     object class, 1..C
boxes_1024             (N, 4)       int32     xc, yc, w, h with the longer side of the picture scaled to 1024
boxes_512              (N, 4)       int32     the same at 512; optional, nobody reads it
attributes             (N, 10)      int64     attribute indices, 0 = none
active_object_mask     (N, 1)       bool      takes part in a relation; optional, nobody reads it
relationships          (R, 2)       int32     subject and object as rows of ``labels`` (of the file, not the image)
predicates             (R, 1)       int64     predicate, 1..P
=====================  ===========  ========  ====================================================================

Root attributes, ours and optional: ``num_val_images``, ``about`` and ``source`` (see :func:`write_vg`).

How it is read: a split's images are those with the right ``split``, at least one object and (for relation training)
at least one relation. The validation split is the images with split 1 where the file has such; else the first of the
training split. Scene-Graph-Benchmark.pytorch itself, and most forks, know no split 1: they use those images nowhere and
always validate on the first of the training split (IETrans reads split 1). image_data.json's entries and the
arrays go together by position. If the list is longer than the arrays, Visual Genome's four broken pictures (ids 1592,
1722, 4616, 4617) are left out of it first. Scene-Graph-Benchmark.pytorch itself also skips every picture missing on
disk, so that one missing picture shifts all later ones.
"""

from __future__ import annotations

from .check import check_vg
from .counts import Report
from .layout import (
    BOX_SCALE,
    DICTS_NAME,
    H5_NAME,
    IMAGES_NAME,
    PHOTOS_NAME,
    TEST,
    TRAIN,
    VALIDATION,
    ImageRecord,
    Vocabulary,
    new_dataset_folder,
)
from .reader import VGData, read_vg
from .splits import validation_size
from .writer import write_vg

__all__ = [
    "BOX_SCALE",
    "DICTS_NAME",
    "H5_NAME",
    "IMAGES_NAME",
    "PHOTOS_NAME",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "ImageRecord",
    "Report",
    "VGData",
    "Vocabulary",
    "check_vg",
    "new_dataset_folder",
    "read_vg",
    "validation_size",
    "write_vg",
]

"""Which images keep enough boxes once the boxes are cut to their pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import HMLError
from .layout import BOX_SCALE

PER_IMAGE = ("relationships", "gt_boxes", "gt_classes", "gt_attributes", "filenames", "img_info")
"""Attributes of a benchmark's dataset that hold one entry for each image."""


def images_with_boxes(boxes: Sequence[np.ndarray], images: Sequence[Mapping[str, int]], least: int) -> np.ndarray:
    """(images,) bool, whether at least ``least`` boxes of each image keep an extent inside its picture.

    Args:
        boxes: of each image (n, 4) x1, y1, x2, y2 at scale 1024.
        images: their entries of the image list, with ``width`` and ``height``.
    """
    count = np.array([len(part) for part in boxes], dtype=np.int64)
    if not count.sum():
        return np.full(len(count), least <= 0)
    size = np.array([(entry["width"], entry["height"]) for entry in images], dtype=np.float64)
    of = np.repeat(np.arange(len(count)), count)
    corners = np.concatenate(boxes).astype(np.float64) * (size.max(axis=1)[of] / BOX_SCALE)[:, None]
    # As the benchmarks cut boxes: the last pixel belongs to the picture.
    low, high = (np.clip(part, 0, size[of] - 1) for part in (corners[:, :2], corners[:, 2:]))
    left = np.bincount(of, weights=(high > low).all(axis=1), minlength=len(count))
    return left >= least


def no_overlap(path: str) -> str:
    """The sentence on training data without a relation of boxes that touch, where a benchmark keeps no others."""
    return (f"no training relation of {path} joins boxes that overlap, and SGDet trains on no others; add "
            "MODEL.ROI_RELATION_HEAD.REQUIRE_BOX_OVERLAP False TEST.RELATION.REQUIRE_OVERLAP False")  # fmt: skip


def leave_out_images(dataset: Any, kept: np.ndarray, least: int, logger: logging.Logger) -> None:
    """Edit a loaded training dataset so that it has the ``kept`` images alone, and say how many are left out.

    Raises:
        HMLError: none is left.
    """
    if kept.all():
        return
    if not kept.any():
        raise HMLError(f"no training image of {dataset.roidb_file} has {least} box(es) inside; run hml data check")
    what = "no box" if least == 1 else f"fewer than {least} boxes"
    logger.warning(
        "%d of %d training images of %s have %s inside their pictures and are left out (the first has image_id %s)",
        int((~kept).sum()), len(kept), dataset.roidb_file, what, dataset.img_info[int(np.argmin(kept))].get("image_id"),
    )  # fmt: skip
    dataset.split_mask[np.flatnonzero(dataset.split_mask)[~kept]] = False
    for name in PER_IMAGE:
        column = getattr(dataset, name)
        setattr(dataset, name, [column[i] for i in np.flatnonzero(kept)])

"""Boxes of COCO segmentations: polygons and run-length masks."""

from __future__ import annotations

from typing import Any

import numpy as np


def mask_box(segmentation: Any) -> tuple[float, float, float, float] | None:
    """x1, y1, x2, y2 around a segmentation, the end exclusive; None if it is empty or no segmentation.

    Args:
        segmentation: polygons ``[[x, y, x, y, ...], ...]``, or a mask ``{"size": [h, w], "counts": text or list}``.
    """
    if isinstance(segmentation, list):
        return polygon_box(segmentation)
    if isinstance(segmentation, dict) and "counts" in segmentation and "size" in segmentation:
        return _run_length_box(segmentation)
    return None


def polygon_box(polygons: list) -> tuple[float, float, float, float] | None:
    """The envelope of polygons, each a flat list of x and y; None without a point."""
    try:
        points = np.concatenate([np.asarray(p, dtype=np.float64).reshape(-1, 2) for p in polygons if len(p)])
    except (TypeError, ValueError):
        return None
    return (*points.min(0).tolist(), *points.max(0).tolist()) if len(points) else None


def _run_length_box(mask: dict) -> tuple[float, float, float, float] | None:
    from pycocotools import mask as coco

    try:
        height, width = (int(side) for side in mask["size"])
        if isinstance(mask["counts"], list):
            mask = coco.frPyObjects(mask, height, width)
        else:
            mask = {"size": [height, width], "counts": str(mask["counts"]).encode("ascii")}
        x, y, w, h = (float(number) for number in coco.toBbox(mask))
    except (TypeError, ValueError, IndexError):
        return None
    return (x, y, x + w, y + h) if w > 0 and h > 0 else None

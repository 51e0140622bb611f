"""The rows of the annotation file: boxes at its scale, and the image that each row belongs to."""

from __future__ import annotations

import numpy as np

from .layout import BOX_SCALE


def stored_corners(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) stored xc, yc, w, h to x1, y1, x2, y2 at the same scale, truncated towards 0 as the benchmark does."""
    boxes = np.asarray(boxes, dtype=np.float64)
    low = np.trunc(boxes[:, :2] - boxes[:, 2:] / 2)
    return np.concatenate([low, low + boxes[:, 2:]], axis=1)


def corners_inside(boxes: np.ndarray, box_image: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """(N, 4) stored xc, yc, w, h to x1, y1, x2, y2, clipped to the pictures, whose widths and heights are given."""
    corners = stored_corners(boxes)
    limits = np.stack([width, height], 1) * (BOX_SCALE / np.maximum(width, height))[:, None]
    limits = limits[np.maximum(box_image, 0)]
    return np.concatenate([np.clip(corners[:, :2], 0, limits), np.clip(corners[:, 2:], 0, limits)], axis=1)


def rows_to_images(first: np.ndarray, last: np.ndarray, rows: int) -> np.ndarray:
    """(rows,) the image that each row belongs to, -1 for a row of no image."""
    out = np.full(rows, -1, dtype=np.int64)
    images = np.flatnonzero(first >= 0)
    lengths = (last[images] - first[images] + 1).astype(np.int64)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    out[np.repeat(first[images].astype(np.int64), lengths) + within] = np.repeat(images, lengths)
    return out

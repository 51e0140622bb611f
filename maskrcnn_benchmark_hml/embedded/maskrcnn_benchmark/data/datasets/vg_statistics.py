"""How often each (subject class, object class) pair carries each predicate: the frequency bias of Neural Motifs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .vg_files import Annotations

_CHUNK = 1 << 19
"""Candidate pairs handled at once: a few arrays of this size fit a processor's cache."""


def count_relations(data: Annotations, num_classes: int, num_predicates: int) -> np.ndarray:
    """(C, C, P) int64: annotated relations by subject class, object class and predicate."""
    image = np.repeat(np.arange(len(data.first_rel)), data.end_rel - data.first_rel)
    ends = data.labels[data.relations[:, :2] + data.first_box[image, None]].astype(np.int64)
    cell = (ends[:, 0] * num_classes + ends[:, 1]) * num_predicates + data.relations[:, 2]
    counts = np.bincount(cell, minlength=num_classes * num_classes * num_predicates)
    return counts.reshape(num_classes, num_classes, num_predicates)


def count_candidates(data: Annotations, num_classes: int) -> np.ndarray:
    """(C, C) int64: ordered pairs of different objects that a relation could join, by class.

    Candidates of an image are the pairs whose boxes overlap in more than an edge; if none does, all pairs.
    """
    counts = np.zeros(num_classes * num_classes, dtype=np.int64)
    sizes = data.end_box - data.first_box
    boxes = _compact(data.boxes)
    labels = data.labels.astype(np.int32)
    for size in np.unique(sizes):
        if size < 2:
            continue
        # Images with equally many objects form one batch; a pair i < j stands for both directions.
        one, two = np.triu_indices(size, 1)
        first = data.first_box[sizes == size]
        step = max(1, _CHUNK // len(one))
        for start in range(0, len(first), step):
            rows = first[start : start + step, None] + np.arange(size)
            x1, y1, x2, y2 = np.moveaxis(boxes[rows], 2, 0)
            overlap = (x1[:, one] < x2[:, two]) & (x1[:, two] < x2[:, one])
            overlap &= (y1[:, one] < y2[:, two]) & (y1[:, two] < y2[:, one])
            overlap |= ~overlap.any(axis=1, keepdims=True)
            image, pair = np.nonzero(overlap)
            classes = labels[rows]
            cell = classes[image, one[pair]] * num_classes + classes[image, two[pair]]
            counts += np.bincount(cell, minlength=num_classes * num_classes)
    half = counts.reshape(num_classes, num_classes)
    return half + half.T


def _compact(boxes: np.ndarray) -> np.ndarray:
    """Integer coordinates as int16 when they fit: the comparisons are bound by memory."""
    limits = np.iinfo(np.int16)
    fits = np.issubdtype(boxes.dtype, np.integer) and boxes.min(initial=0) >= limits.min
    return boxes.astype(np.int16) if fits and boxes.max(initial=0) <= limits.max else boxes


def statistics(data: Annotations, num_classes: int, num_predicates: int, eps: float = 1e-3) -> dict[str, Tensor]:
    """Counts and their logarithms.

    Returns:
        ``fg_matrix`` (C, C, P) int64, where index 0, the background, holds 1 + the number of candidate pairs;
        ``pred_dist`` (C, C, P) float32 = log(fg_matrix / its sum over predicates + eps).
    """
    counts = count_relations(data, num_classes, num_predicates)
    counts[:, :, 0] = count_candidates(data, num_classes) + 1
    share = counts / counts.sum(axis=2, keepdims=True)
    return {"fg_matrix": torch.from_numpy(counts), "pred_dist": torch.from_numpy(np.log(share + eps)).float()}

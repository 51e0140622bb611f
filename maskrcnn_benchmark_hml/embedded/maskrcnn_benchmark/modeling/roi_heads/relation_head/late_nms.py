"""Class labels of detected boxes, chosen together so that two boxes of one object do not carry the same label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from maskrcnn_benchmark.structures.bounding_box import TO_REMOVE
from torch import Tensor


def late_nms(boxes_per_cls: Tensor, logits: Tensor, threshold: float) -> Tensor:
    """Greedy assignment of classes in one image (Neural Motifs, CVPR 2018, sec. 4.2: per-class suppression at test).

    Again and again the largest probability left names its box; then the same class is barred for every box whose place
    *in that class* overlaps by ``threshold`` or more. A box that no class is left for keeps 0, the background.

    Args:
        boxes_per_cls: (N, C, 4) x1, y1, x2, y2 of every box under every class, last pixel included.
        logits: (N, C), background first.
        threshold: IoU.

    Returns:
        (N,) int64 classes on the device of ``logits``.
    """
    boxes = boxes_per_cls.detach().float().cpu().numpy()
    left = logits.detach().float().softmax(1).cpu().numpy()
    left[:, 0] = 0.0
    labels = np.zeros(len(left), dtype=np.int64)
    extent = boxes[..., 2:] - boxes[..., :2] + np.float32(TO_REMOVE)
    area = extent[..., 0] * extent[..., 1]
    for _ in range(len(left)):
        box, cls = divmod(int(left.argmax()), left.shape[1])
        if labels[box] == 0:
            labels[box] = cls
        # One row of the overlaps: the whole (N, N, C) table would be needed for nothing else.
        low = np.maximum(boxes[:, cls, :2], boxes[box, cls, :2])
        high = np.minimum(boxes[:, cls, 2:], boxes[box, cls, 2:])
        sides = np.maximum(high - low + np.float32(TO_REMOVE), np.float32(0))
        shared = sides[:, 0] * sides[:, 1]
        overlap = shared / (area[:, cls] + area[box, cls] - shared)
        left[overlap >= threshold, cls] = 0.0
        left[box] = -1.0
    return torch.from_numpy(labels).to(logits.device)


def late_nms_per_image(boxes_per_cls: Sequence[Tensor], logits: Sequence[Tensor], threshold: float) -> Tensor:
    """:func:`late_nms` of every image, the labels in a row (N,)."""
    return torch.cat([late_nms(boxes, scores, threshold) for boxes, scores in zip(boxes_per_cls, logits)])

"""Box geometry, sequence order and word embeddings for the context encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from maskrcnn_benchmark.modeling.roi_heads.relation_head.word_vectors import obj_edge_vectors
from maskrcnn_benchmark.modeling.utils import cat, lengths_of
from torch import Tensor

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList

__all__ = ["encode_box_info", "given_label_logits", "obj_edge_vectors", "sequence_order"]

LOGIT_OF_GIVEN_LABEL = 1000.0  # softmax gives exactly 1 and 0 in float32


def encode_box_info(proposals: Sequence[BoxList]) -> Tensor:
    """(N, 9) geometry as shares of the image: w, h, centre x, centre y, x1, y1, x2, y2, area.

    The last pixel belongs to a box: w = x2 - x1 + 1.
    """
    boxes = cat([p.bbox for p in proposals])
    counts = lengths_of(proposals, boxes.device)
    image = boxes.new_tensor([[float(side) for side in p.size] for p in proposals]).repeat_interleave(counts, 0)
    extent = boxes[:, 2:] - boxes[:, :2] + 1.0
    centre = boxes[:, :2] + 0.5 * extent
    corners = boxes / image.repeat(1, 2)
    area = extent.prod(1, keepdim=True) / image.prod(1, keepdim=True)
    return torch.cat((extent / image, centre / image, corners, area), 1)


def given_label_logits(labels: Tensor, num_classes: int) -> Tensor:
    """(N,) -> (N, num_classes) logits of a certainty: +1000 at the label, -1000 elsewhere."""
    logits = torch.full((len(labels), num_classes), -LOGIT_OF_GIVEN_LABEL, device=labels.device)
    return logits.scatter_(1, labels.long()[:, None], LOGIT_OF_GIVEN_LABEL)


def sequence_order(proposals: Sequence[BoxList]) -> tuple[Tensor, Tensor, Tensor]:
    """Order of the boxes for one packed LSTM call over all images.

    Within an image boxes run from right to left by their centre x. Images run from most boxes to fewest, later ones
    first among equals. Time steps follow each other, each holding its images in that order.

    Returns:
        order (N,) so that ``x[order]`` is the data of a PackedSequence; its inverse (N,); and the batch size of each
        time step, int64 on the CPU.
    """
    boxes = cat([p.bbox for p in proposals])
    counts = lengths_of(proposals, boxes.device)
    centre = 0.5 * (boxes[:, 0] + boxes[:, 2])
    # Both orders in one float32 key, as the reference models sort: boxes of nearly the same centre tie through the
    # rounding of this very sum, and a tie decides what the LSTM reads first.
    image = torch.arange(len(proposals), device=boxes.device)
    block = (2.0 * (counts * 2 * len(proposals) + image)).to(boxes.dtype)
    by_image = (centre / (centre.max() + 1) + block.repeat_interleave(counts)).argsort(descending=True, stable=True)

    lengths = counts.sort(descending=True).values
    row = torch.arange(len(proposals), device=boxes.device).repeat_interleave(lengths)
    step = torch.arange(len(boxes), device=boxes.device) - (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
    order = by_image[(step * len(proposals) + row).argsort()]
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return order, inverse, torch.bincount(step).cpu()

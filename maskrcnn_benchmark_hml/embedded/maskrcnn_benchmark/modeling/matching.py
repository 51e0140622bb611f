"""Which annotated box a proposal stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from maskrcnn_benchmark.structures.boxlist_ops import boxlist_iou
from torch import Tensor
from torchvision.models.detection import _utils as det_utils

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList

BELOW = det_utils.Matcher.BELOW_LOW_THRESHOLD
BETWEEN = det_utils.Matcher.BETWEEN_THRESHOLDS


class Matcher:
    """Match by overlap, as in Faster R-CNN (Ren et al., NIPS 2015, sec. 3.1.2).

    Args:
        high: from this IoU on a box matches the annotated box that it overlaps most.
        low: below it is background; between the two it is neither.
        every_target: the boxes that overlap an annotated box most match, however little they do.
    """

    def __init__(self, high: float, low: float, every_target: bool = False) -> None:
        self.match = det_utils.Matcher(high, low, allow_low_quality_matches=every_target)

    def __call__(self, target: BoxList, boxes: BoxList) -> Tensor:
        """(N,) row of ``target`` for each of ``boxes``, or ``BELOW``, or ``BETWEEN``. Either may be empty."""
        if not len(target) or not len(boxes):
            return torch.full((len(boxes),), BELOW, dtype=torch.int64, device=boxes.bbox.device)
        return self.match(boxlist_iou(target, boxes))


def matched_rows(values: Tensor, matches: Tensor) -> Tensor:
    """``values[matches]`` with zeros where there is no match; works for no values at all."""
    if not len(values):
        return values.new_zeros(len(matches), *values.shape[1:])
    rows = values[matches.clamp(min=0)]
    return torch.where((matches >= 0).view(-1, *[1] * (rows.dim() - 1)), rows, torch.zeros_like(rows))


def sample_balanced(
    labels: list[Tensor], per_image: int, positive_fraction: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Random positives (label >= 1), at most the given share of ``per_image``, and negatives (0) for the rest.

    Labels below 0 are never drawn.

    Returns:
        Per image the mask of the positives and the mask of the negatives, bool.
    """
    positive, negative = det_utils.BalancedPositiveNegativeSampler(per_image, positive_fraction)(labels)
    return [mask.bool() for mask in positive], [mask.bool() for mask in negative]

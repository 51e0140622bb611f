"""What the classifier is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList


class FastRCNNLossComputation:
    """Cross entropy over the sampled boxes, smooth L1 over the offsets of the true class (Fast R-CNN, eq. 1-3).

    Args:
        cls_agnostic_bbox_reg: one set of offsets serves all classes.
    """

    def __init__(self, cls_agnostic_bbox_reg: bool = False) -> None:
        self.cls_agnostic_bbox_reg = cls_agnostic_bbox_reg

    def __call__(
        self, class_logits: Tensor, box_regression: Tensor, proposals: Sequence[BoxList]
    ) -> tuple[Tensor, Tensor]:
        """(N, C) logits, (N, 4 C) offsets -> the two losses, both divided by N, the number of sampled boxes."""
        labels = torch.cat([p.get_field("labels") for p in proposals])
        wanted = torch.cat([p.get_field("regression_targets") for p in proposals])
        loss_classifier = F.cross_entropy(class_logits.float(), labels, reduction="sum")
        found = (labels > 0).nonzero().squeeze(1)
        offsets = box_regression.view(len(labels), -1, 4).float()
        column = torch.ones_like(found) if self.cls_agnostic_bbox_reg else labels[found]
        loss_box = F.smooth_l1_loss(offsets[found, column], wanted[found], beta=1.0, reduction="sum")
        count = max(len(labels), 1)
        return loss_classifier / count, loss_box / count


def make_roi_box_loss_evaluator(cfg: CfgNode) -> FastRCNNLossComputation:
    """The losses that the config describes."""
    return FastRCNNLossComputation(cfg.MODEL.CLS_AGNOSTIC_BBOX_REG)

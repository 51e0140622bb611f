"""What the proposals are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matching import BETWEEN, Matcher, matched_rows, sample_balanced
from maskrcnn_benchmark.structures.bounding_box import BoxList
from torch import Tensor
from torch.nn import functional as F
from yacs.config import CfgNode

if TYPE_CHECKING:
    from collections.abc import Callable

SMOOTH_L1_BETA = 1.0 / 9


class RPNLossComputation:
    """Objectness and offsets of sampled anchors (Ren et al., Faster R-CNN, NIPS 2015, eq. 1).

    Args:
        straddle_thresh: pixels that a training anchor may leave the image; below 0: any.
    """

    def __init__(
        self,
        matcher: Callable[[BoxList, BoxList], Tensor],
        box_coder: BoxCoder,
        batch_size_per_image: int,
        positive_fraction: float,
        straddle_thresh: float,
    ) -> None:
        self.matcher, self.box_coder = matcher, box_coder
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction
        self.straddle_thresh = straddle_thresh

    def __call__(
        self, anchors: Tensor, objectness: Tensor, offsets: Tensor, targets: Sequence[BoxList]
    ) -> tuple[Tensor, Tensor]:
        """(A, 4) anchors, (B, A) logits, (B, A, 4) offsets -> the two losses, means over the sampled anchors."""
        with torch.no_grad():
            labels, wanted = zip(*(self.targets_of(anchors, target) for target in targets))
            positive, negative = sample_balanced(list(labels), self.batch_size_per_image, self.positive_fraction)
            positive, sampled = torch.stack(positive), torch.stack(positive) | torch.stack(negative)
        count = max(int(sampled.sum()), 1)
        loss_box = F.smooth_l1_loss(
            offsets[positive].float(), torch.stack(wanted)[positive], beta=SMOOTH_L1_BETA, reduction="sum"
        )
        loss_objectness = F.binary_cross_entropy_with_logits(
            objectness[sampled].float(), torch.stack(labels)[sampled], reduction="sum"
        )
        return loss_objectness / count, loss_box / count

    def targets_of(self, anchors: Tensor, target: BoxList) -> tuple[Tensor, Tensor]:
        """(A,) 1 object, 0 background, -1 neither; and (A, 4) offsets to the matched box."""
        boxes = BoxList(anchors, target.size, "xyxy")
        matches = self.matcher(target, boxes)
        labels = (matches >= 0).float()
        labels[matches == BETWEEN] = -1
        if self.straddle_thresh >= 0:
            width, height = target.size
            limit = anchors.new_tensor([width, height]) + self.straddle_thresh
            inside = (anchors[:, :2] >= -self.straddle_thresh).all(1) & (anchors[:, 2:] < limit).all(1)
            labels[~inside] = -1
        found = matches >= 0
        wanted = torch.zeros_like(anchors)
        wanted[found] = self.box_coder.encode(matched_rows(target.bbox, matches[found]), anchors[found])
        return labels, wanted


def make_rpn_loss_evaluator(cfg: CfgNode, box_coder: BoxCoder) -> RPNLossComputation:
    """The losses with ``MODEL.RPN``'s numbers."""
    rpn = cfg.MODEL.RPN
    return RPNLossComputation(
        Matcher(rpn.FG_IOU_THRESHOLD, rpn.BG_IOU_THRESHOLD, every_target=True),
        box_coder,
        rpn.BATCH_SIZE_PER_IMAGE,
        rpn.POSITIVE_FRACTION,
        rpn.STRADDLE_THRESH,
    )

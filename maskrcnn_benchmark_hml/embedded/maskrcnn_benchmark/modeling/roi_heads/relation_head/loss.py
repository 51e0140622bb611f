"""The relation head's own losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskrcnn_benchmark.modeling.utils import cat
from torch import Tensor, nn
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList

SMOOTHING = 0.01


class RelationLossComputation:
    """Cross entropy over the batch's pairs and over its boxes.

    Args:
        use_label_smoothing: move ``SMOOTHING`` of each target's mass evenly over all classes.
    """

    def __init__(self, use_label_smoothing: bool = False) -> None:
        self.criterion_loss = nn.CrossEntropyLoss(label_smoothing=SMOOTHING if use_label_smoothing else 0.0)

    def __call__(
        self,
        proposals: Sequence[BoxList],
        rel_labels: Sequence[Tensor],
        relation_logits: Sequence[Tensor],
        refine_logits: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Per image: labels (P_i,), relation logits (P_i, R), object logits (N_i, C) -> the two scalar losses."""
        object_labels = cat([proposal.get_field("labels") for proposal in proposals])
        loss_relation = self.criterion_loss(cat(relation_logits), cat(rel_labels).long())
        loss_refine_obj = self.criterion_loss(cat(refine_logits), object_labels.long())
        return loss_relation, loss_refine_obj


def make_roi_relation_loss_evaluator(cfg: CfgNode) -> RelationLossComputation:
    """The evaluator that the config describes."""
    return RelationLossComputation(cfg.MODEL.ROI_RELATION_HEAD.LABEL_SMOOTHING_LOSS)

"""What is known of each box's class before the relation head runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_feature_extractors import make_roi_box_feature_extractor
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_predictors import make_roi_box_predictor
from torch import Tensor, nn
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList


class ROIBoxHead(nn.Module):
    """PredCls: the labels are given, so there is nothing to compute and there are no weights.

    SGCls: the detector's classifier adds ``predict_logits`` (N, classes) to each image's boxes.
    """

    def __init__(self, cfg: CfgNode, in_channels: int) -> None:
        super().__init__()
        self.labels_given = cfg.MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL
        if not self.labels_given:
            self.feature_extractor = make_roi_box_feature_extractor(cfg, in_channels)
            self.predictor = make_roi_box_predictor(cfg, self.feature_extractor.out_channels)

    def forward(
        self, features: Sequence[Tensor], proposals: list[BoxList], targets: Sequence[BoxList] | None = None
    ) -> tuple[Tensor | None, list[BoxList], dict[str, Tensor]]:
        """Box features (or None), the proposals with their new field, and no losses: the detector is frozen."""
        if self.labels_given:
            return None, proposals, {}
        x = self.feature_extractor(features, proposals)
        logits, _ = self.predictor(x)
        for proposal, part in zip(proposals, logits.split([len(p) for p in proposals])):
            proposal.add_field("predict_logits", part)
        return x, proposals, {}


def build_roi_box_head(cfg: CfgNode, in_channels: int) -> ROIBoxHead:
    """The box head of a relation model."""
    return ROIBoxHead(cfg, in_channels)

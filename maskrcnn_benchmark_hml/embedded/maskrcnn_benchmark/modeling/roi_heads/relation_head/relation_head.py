"""The relation head: everything that learns."""

from __future__ import annotations

from collections.abc import Sequence
from logging import Logger
from typing import TYPE_CHECKING

import torch
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_feature_extractors import make_roi_box_feature_extractor
from maskrcnn_benchmark.modeling.roi_heads.relation_head.inference import make_roi_relation_post_processor
from maskrcnn_benchmark.modeling.roi_heads.relation_head.loss import make_roi_relation_loss_evaluator
from maskrcnn_benchmark.modeling.roi_heads.relation_head.pair_chunks import pairs_in_chunks
from maskrcnn_benchmark.modeling.roi_heads.relation_head.roi_relation_feature_extractors import (
    make_roi_relation_feature_extractor,
)
from maskrcnn_benchmark.modeling.roi_heads.relation_head.roi_relation_predictors import make_roi_relation_predictor
from maskrcnn_benchmark.modeling.roi_heads.relation_head.sampling import make_roi_relation_samp_processor
from torch import Tensor, nn
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList


class ROIRelationHead(nn.Module):
    """Samples pairs, extracts box and union features, predicts, and then scores (training) or ranks (testing).

    The two feature extractors have the shape of the detector's box extractor and start from its weights, but are
    trained; nothing is shared.
    """

    def __init__(self, cfg: CfgNode, in_channels: int) -> None:
        super().__init__()
        self.cfg = cfg.clone()
        self.union_feature_extractor = make_roi_relation_feature_extractor(cfg, in_channels)
        self.box_feature_extractor = make_roi_box_feature_extractor(cfg, in_channels)
        self.predictor = make_roi_relation_predictor(cfg, self.box_feature_extractor.out_channels)
        self.post_processor = make_roi_relation_post_processor(cfg)
        self.loss_evaluator = make_roi_relation_loss_evaluator(cfg)
        self.samp_processor = make_roi_relation_samp_processor(cfg)
        self.use_union_box = cfg.MODEL.ROI_RELATION_HEAD.PREDICT_USE_VISION

    def forward(
        self,
        features: Sequence[Tensor],
        proposals: list[BoxList],
        targets: Sequence[BoxList] | None = None,
        logger: Logger | None = None,
    ) -> tuple[Tensor, list[BoxList], dict[str, Tensor]]:
        """Box features (N, D); proposals (training) or results (testing); the losses (empty when testing).

        Losses: ``loss_rel``, ``loss_refine_obj`` and what the predictor adds.
        """
        if self.training:
            sample = (
                self.samp_processor.gtbox_relsample
                if self.cfg.MODEL.ROI_RELATION_HEAD.USE_GT_BOX
                else self.samp_processor.detect_relsample
            )
            with torch.no_grad():
                proposals, rel_labels, rel_pair_idxs, rel_binarys = sample(proposals, targets)
        else:
            rel_labels, rel_binarys = None, None
            rel_pair_idxs = self.samp_processor.prepare_test_pairs(features[0].device, proposals)

        roi_features = self.box_feature_extractor(features, proposals)
        with pairs_in_chunks(of_test=not self.training):
            union_features = (
                self.union_feature_extractor(features, proposals, rel_pair_idxs) if self.use_union_box else None
            )
            refine_logits, relation_logits, add_losses = self.predictor(
                proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features, logger
            )
        if not self.training:
            return roi_features, self.post_processor((relation_logits, refine_logits), rel_pair_idxs, proposals), {}
        loss_rel, loss_refine_obj = self.loss_evaluator(proposals, rel_labels, relation_logits, refine_logits)
        return roi_features, proposals, {"loss_rel": loss_rel, "loss_refine_obj": loss_refine_obj, **add_losses}


def build_roi_relation_head(cfg: CfgNode, in_channels: int) -> ROIRelationHead:
    """The relation head for maps of ``in_channels`` channels."""
    return ROIRelationHead(cfg, in_channels)

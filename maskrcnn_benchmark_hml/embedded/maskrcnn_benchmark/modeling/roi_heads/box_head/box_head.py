"""Classes and places of the boxes: the second half of the detector."""

from __future__ import annotations

from collections.abc import Sequence

from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import make_roi_box_post_processor
from maskrcnn_benchmark.modeling.roi_heads.box_head.loss import make_roi_box_loss_evaluator
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_feature_extractors import make_roi_box_feature_extractor
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_predictors import make_roi_box_predictor
from maskrcnn_benchmark.modeling.roi_heads.box_head.sampling import make_roi_box_samp_processor
from maskrcnn_benchmark.structures.bounding_box import BoxList
from torch import Tensor, nn
from yacs.config import CfgNode

# A batch norm over boxes cannot train on a single row.
FEWEST_IN_TRAINING, FEWEST_IN_TEST = 2, 1


class ROIBoxHead(nn.Module):
    """Faster R-CNN's box head, by itself or, frozen, below a relation head.

    By itself: losses in training, detections in testing. Below a relation head: PredCls gives the labels, so there is
    nothing to compute and there are no weights. SGCls: the classifier adds ``predict_logits`` (N, classes) to the
    annotated boxes. SGDet: detections with ``predict_logits``, ``boxes_per_cls`` and the ``labels`` of the annotated
    boxes that they stand for, in training too.
    """

    def __init__(self, cfg: CfgNode, in_channels: int) -> None:
        super().__init__()
        head = cfg.MODEL.ROI_RELATION_HEAD
        self.relation_on, self.boxes_given = cfg.MODEL.RELATION_ON, cfg.MODEL.RELATION_ON and head.USE_GT_BOX
        self.labels_given = self.boxes_given and head.USE_GT_OBJECT_LABEL
        self.own_pictures = cfg.TEST.CUSTUM_EVAL
        if not self.labels_given:
            self.feature_extractor = make_roi_box_feature_extractor(cfg, in_channels)
            self.predictor = make_roi_box_predictor(cfg, self.feature_extractor.out_channels)
        self.post_processor = make_roi_box_post_processor(cfg)
        self.loss_evaluator = make_roi_box_loss_evaluator(cfg)
        self.samp_processor = make_roi_box_samp_processor(cfg)

    def forward(
        self, features: Sequence[Tensor], proposals: list[BoxList], targets: Sequence[BoxList] | None = None
    ) -> tuple[Tensor | None, list[BoxList], dict[str, Tensor]]:
        """Box features (or None), boxes (see the class) and the losses ``loss_classifier``, ``loss_box_reg``.

        The losses are empty in testing and below a relation head.
        """
        if self.labels_given:
            return None, proposals, {}
        if self.relation_on:
            return *self._below_relations(features, proposals, targets), {}
        if self.training:
            proposals = self.samp_processor.subsample(proposals, targets)
        x = self.feature_extractor(features, proposals)
        logits, offsets = self.predictor(x)
        if not self.training:
            return *self.post_processor((x, logits, offsets), proposals), {}
        loss_classifier, loss_box = self.loss_evaluator(logits, offsets, proposals)
        return x, proposals, {"loss_classifier": loss_classifier, "loss_box_reg": loss_box}

    def _below_relations(
        self, features: Sequence[Tensor], proposals: list[BoxList], targets: Sequence[BoxList] | None
    ) -> tuple[Tensor, list[BoxList]]:
        if not self.boxes_given and targets is not None and (self.training or not self.own_pictures):
            proposals = self.samp_processor.assign_label_to_proposals(proposals, targets)
        x = self.feature_extractor(features, proposals)
        logits, offsets = self.predictor(x)
        for proposal, part in zip(proposals, logits.float().split([len(p) for p in proposals])):
            proposal.add_field("predict_logits", part)
        if self.boxes_given:
            return x, proposals
        fewest = FEWEST_IN_TRAINING if self.training else FEWEST_IN_TEST
        return self.post_processor((x, logits, offsets), proposals, relation_mode=True, at_least=fewest)


def build_roi_box_head(cfg: CfgNode, in_channels: int) -> ROIBoxHead:
    """The box head that the task needs."""
    return ROIBoxHead(cfg, in_channels)

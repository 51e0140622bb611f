"""Backbone, proposals and heads in sequence."""

from __future__ import annotations

from collections.abc import Sequence
from logging import Logger

from maskrcnn_benchmark.modeling.backbone import build_backbone
from maskrcnn_benchmark.modeling.roi_heads.relation_head.roi_relation_predictors import check_predictor_name
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import build_roi_heads
from maskrcnn_benchmark.modeling.rpn.rpn import build_rpn
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list
from torch import Tensor, nn
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError


class GeneralizedRCNN(nn.Module):
    """Faster R-CNN. With ``MODEL.RELATION_ON`` a relation head learns on top of it and all the rest is frozen."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.cfg = cfg.clone()
        if cfg.MODEL.RELATION_ON:
            check_predictor_name(cfg)  # a misspelt name should not wait for a hundred million weights
        self.backbone = build_backbone(cfg)
        self.rpn = build_rpn(cfg, self.backbone.out_channels)
        self.roi_heads = build_roi_heads(cfg, self.backbone.out_channels)
        if cfg.MODEL.RELATION_ON:
            for part in (self.backbone, self.rpn, self.roi_heads.box):
                part.requires_grad_(False)

    def forward(
        self,
        images: ImageList | Tensor | Sequence[Tensor],
        targets: Sequence[BoxList] | None = None,
        logger: Logger | None = None,
    ) -> dict[str, Tensor] | list[BoxList]:
        """Training: the losses by name. Testing: one BoxList per image with the fields of the post-processor.

        Args:
            images: a batch of (3, H, W) pictures.
            targets: annotations; the detector and SGDet test without them.

        Raises:
            HMLError: training without targets.
        """
        if self.training and targets is None:
            raise HMLError("training needs targets: call the model with (images, targets)")
        images = to_image_list(images)
        features = self.backbone(images.tensors)
        proposals, proposal_losses = self.rpn(images, features, targets)
        _, result, losses = self.roi_heads(features, proposals, targets, logger)
        return {**losses, **proposal_losses} if self.training else result

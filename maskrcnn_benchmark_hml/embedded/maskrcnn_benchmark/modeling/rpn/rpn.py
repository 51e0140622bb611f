"""The source of the boxes that the heads work on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.rpn.anchor_generator import make_anchor_generator
from maskrcnn_benchmark.modeling.rpn.inference import add_targets, make_rpn_postprocessor
from maskrcnn_benchmark.modeling.rpn.loss import make_rpn_loss_evaluator
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.rpn import concat_box_prediction_layers
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList
    from maskrcnn_benchmark.structures.image_list import ImageList


class GivenBoxes(nn.Module):
    """The annotated boxes as proposals: in PredCls and SGCls they are part of the input, so nothing is proposed."""

    def forward(
        self, images: ImageList, features: Sequence[Tensor], targets: Sequence[BoxList] | None = None
    ) -> tuple[list[BoxList], dict[str, Tensor]]:
        """Proposals with the fields ``labels`` and, if annotated, ``attributes``; and no losses.

        Raises:
            HMLError: no targets were passed.
        """
        if targets is None:
            raise HMLError("PredCls and SGCls take the annotated boxes as input; pass the targets in testing too")
        return [target.copy_with_fields(["labels", "attributes"], skip_missing=True) for target in targets], {}


class RPNHead(nn.Module):
    """A 3x3 convolution and, per anchor of a cell, one logit and four offsets; shared by all levels."""

    def __init__(self, in_channels: int, mid_channels: int, anchors_per_cell: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, mid_channels, kernel_size=3, padding=1)
        self.cls_logits = nn.Conv2d(mid_channels, anchors_per_cell, kernel_size=1)
        self.bbox_pred = nn.Conv2d(mid_channels, 4 * anchors_per_cell, kernel_size=1)
        for layer in (self.conv, self.cls_logits, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level (B, R, H, W) logits and (B, 4 R, H, W) offsets."""
        hidden = [F.relu(self.conv(level)) for level in features]
        return [self.cls_logits(h) for h in hidden], [self.bbox_pred(h) for h in hidden]


class RPNModule(nn.Module):
    """Region proposals (Ren et al., Faster R-CNN, NIPS 2015) over a feature pyramid.

    Below a relation head it is frozen and gives no losses.
    """

    def __init__(self, cfg: CfgNode, in_channels: int) -> None:
        super().__init__()
        rpn = cfg.MODEL.RPN
        self.trained = not cfg.MODEL.RELATION_ON
        self.anchor_generator = make_anchor_generator(cfg)
        self.head = RPNHead(in_channels, rpn.RPN_MID_CHANNEL, len(rpn.ASPECT_RATIOS))
        box_coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
        self.box_selector_train = make_rpn_postprocessor(cfg, box_coder, is_train=True)
        self.box_selector_test = make_rpn_postprocessor(cfg, box_coder, is_train=False)
        self.loss_evaluator = make_rpn_loss_evaluator(cfg, box_coder)
        self.add_targets = cfg.MODEL.ROI_RELATION_HEAD.ADD_GTBOX_TO_PROPOSAL_IN_TRAIN

    def forward(
        self, images: ImageList, features: Sequence[Tensor], targets: Sequence[BoxList] | None = None
    ) -> tuple[list[BoxList], dict[str, Tensor]]:
        """Proposals with the field ``objectness``; when the detector trains, ``loss_objectness``, ``loss_rpn_box_reg``.

        Args:
            targets: annotations, needed in training.
        """
        logits, offsets = self.head(features)
        anchors = self.anchor_generator(features)
        batch = len(images.image_sizes)
        objectness, offsets = concat_box_prediction_layers(logits, offsets)
        objectness, offsets = objectness.reshape(batch, -1), offsets.reshape(batch, -1, 4)
        select = self.box_selector_train if self.training else self.box_selector_test
        # In float32 whatever the precision: in half a coordinate is off by pixels.
        proposals = select(anchors, objectness.detach().float(), offsets.detach().float(), images.image_sizes)
        if not self.training:
            return proposals, {}
        if self.add_targets:
            proposals = add_targets(proposals, targets)
        if not self.trained:
            return proposals, {}
        loss_objectness, loss_box = self.loss_evaluator(torch.cat(anchors), objectness, offsets, targets)
        return proposals, {"loss_objectness": loss_objectness, "loss_rpn_box_reg": loss_box}


def build_rpn(cfg: CfgNode, in_channels: int) -> nn.Module:
    """A module ``f(images, features, targets) -> (proposals, losses)``: given boxes, or proposals (SGDet, detector)."""
    if cfg.MODEL.RELATION_ON and cfg.MODEL.ROI_RELATION_HEAD.USE_GT_BOX:
        return GivenBoxes()
    return RPNModule(cfg, in_channels)

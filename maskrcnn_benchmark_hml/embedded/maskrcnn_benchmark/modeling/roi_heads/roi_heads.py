"""The heads in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from logging import Logger
from typing import TYPE_CHECKING

from maskrcnn_benchmark.modeling.roi_heads.box_head.box_head import build_roi_box_head
from maskrcnn_benchmark.modeling.roi_heads.relation_head.relation_head import build_roi_relation_head
from torch import Tensor, nn
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList


class CombinedROIHeads(nn.ModuleDict):
    """``box`` gives every box what is known of its class; ``relation``, if there is one, predicts the graph."""

    def forward(
        self,
        features: Sequence[Tensor],
        proposals: list[BoxList],
        targets: Sequence[BoxList] | None = None,
        logger: Logger | None = None,
    ) -> tuple[Tensor, list[BoxList], dict[str, Tensor]]:
        """Box features (N, D), proposals (training) or results (testing), and the losses of the head that learns."""
        x, detections, losses = self.box(features, proposals, targets)
        if "relation" not in self:
            return x, detections, losses
        return self.relation(features, detections, targets, logger)


def build_roi_heads(cfg: CfgNode, in_channels: int) -> CombinedROIHeads:
    """Box head and, with ``MODEL.RELATION_ON``, relation head for maps of ``in_channels`` channels."""
    heads = {"box": build_roi_box_head(cfg, in_channels)}
    if cfg.MODEL.RELATION_ON:
        heads["relation"] = build_roi_relation_head(cfg, in_channels)
    return CombinedROIHeads(heads)

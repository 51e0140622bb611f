"""From a box's vector to class logits and box offsets."""

from __future__ import annotations

from maskrcnn_benchmark.layers import Linear
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.make_layers import init_normal
from maskrcnn_benchmark.modeling.utils import lookup
from torch import Tensor, nn
from yacs.config import CfgNode


@registry.ROI_BOX_PREDICTOR.register("FPNPredictor")
class FPNPredictor(nn.Module):
    """Two linear layers on the shared vector (Girshick, Fast R-CNN, ICCV 2015)."""

    def __init__(self, cfg: CfgNode, in_channels: int) -> None:
        super().__init__()
        classes = cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES
        regressed = 2 if cfg.MODEL.CLS_AGNOSTIC_BBOX_REG else classes
        self.cls_score = init_normal(Linear(in_channels, classes), std=0.01)
        self.bbox_pred = init_normal(Linear(in_channels, 4 * regressed), std=0.001)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, in_channels) -> class logits (N, classes), offsets (N, 4 classes)."""
        return self.cls_score(x), self.bbox_pred(x)


def make_roi_box_predictor(cfg: CfgNode, in_channels: int) -> nn.Module:
    """The predictor that ``MODEL.ROI_BOX_HEAD.PREDICTOR`` names."""
    build = lookup(registry.ROI_BOX_PREDICTOR, cfg.MODEL.ROI_BOX_HEAD.PREDICTOR, "MODEL.ROI_BOX_HEAD.PREDICTOR")
    return build(cfg, in_channels)

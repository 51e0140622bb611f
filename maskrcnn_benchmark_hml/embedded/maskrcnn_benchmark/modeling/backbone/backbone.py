"""Choice of the backbone."""

from __future__ import annotations

from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.utils import lookup
from torch import nn
from yacs.config import CfgNode


def build_backbone(cfg: CfgNode) -> nn.Module:
    """The module that ``MODEL.BACKBONE.CONV_BODY`` names: (B, 3, H, W) -> tuple of maps, finest first.

    It has the attribute ``out_channels``, the number of channels of every map.
    """
    build = lookup(registry.BACKBONES, cfg.MODEL.BACKBONE.CONV_BODY, "MODEL.BACKBONE.CONV_BODY")
    return build(cfg)

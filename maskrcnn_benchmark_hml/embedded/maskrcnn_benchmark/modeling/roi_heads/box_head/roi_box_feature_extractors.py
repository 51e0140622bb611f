"""From a box to a vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.make_layers import make_fc
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.utils import lookup
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList


@registry.ROI_BOX_FEATURE_EXTRACTORS.register("FPN2MLPFeatureExtractor")
class FPN2MLPFeatureExtractor(nn.Module):
    """RoI pooling and two fully connected layers (Lin et al., CVPR 2017), ``MODEL.ROI_BOX_HEAD`` throughout.

    Args:
        cat_all_levels: see :class:`Pooler`.
    """

    def __init__(self, cfg: CfgNode, in_channels: int, cat_all_levels: bool = False) -> None:
        super().__init__()
        head = cfg.MODEL.ROI_BOX_HEAD
        if head.USE_GN:
            raise HMLError(
                "MODEL.ROI_BOX_HEAD.USE_GN is True, but the box features have no group norm; set it to False"
            )
        size = head.POOLER_RESOLUTION
        self.pooler = Pooler((size, size), head.POOLER_SCALES, head.POOLER_SAMPLING_RATIO, in_channels, cat_all_levels)
        self.resize_channels = in_channels * size**2
        self.out_channels = head.MLP_HEAD_DIM
        self.fc6 = make_fc(self.resize_channels, self.out_channels)
        self.fc7 = make_fc(self.out_channels, self.out_channels)

    def forward(self, features: Sequence[Tensor], proposals: Sequence[BoxList]) -> Tensor:
        """Maps and boxes -> (N, out_channels)."""
        return self.forward_without_pool(self.pooler(features, proposals))

    def forward_without_pool(self, pooled: Tensor) -> Tensor:
        """(N, C, size, size) -> (N, out_channels)."""
        return F.relu(self.fc7(F.relu(self.fc6(pooled.flatten(1)))))


def make_roi_box_feature_extractor(cfg: CfgNode, in_channels: int, cat_all_levels: bool = False) -> nn.Module:
    """The extractor that ``MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR`` names."""
    name = cfg.MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR
    build = lookup(registry.ROI_BOX_FEATURE_EXTRACTORS, name, "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR")
    return build(cfg, in_channels, cat_all_levels)

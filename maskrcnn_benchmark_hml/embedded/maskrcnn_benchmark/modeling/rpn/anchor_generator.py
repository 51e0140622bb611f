"""The grid of reference boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError


def cell_anchors(stride: float, size: float, ratios: Sequence[float]) -> Tensor:
    """(R, 4) anchors of the cell at the origin, one per ratio = height / width, last pixel included.

    The cell spans pixels 0 .. stride - 1 and the anchors share its centre. Their shape is rounded to whole pixels at
    the size of the cell and then scaled up by size / stride, as the published detectors' anchors are.
    """
    ratio = torch.as_tensor(ratios, dtype=torch.float64)
    width = (stride**2 / ratio).sqrt().round()
    height = (width * ratio).round()
    reach = (torch.stack((width, height), 1) * (size / stride) - 1) / 2
    centre = (stride - 1) / 2
    return torch.cat((centre - reach, centre + reach), 1).float()


class Anchors(AnchorGenerator):
    """torchvision's grid with :func:`cell_anchors` and with strides that do not depend on the image.

    Args:
        sizes, strides: pixels per pyramid level, finest first.
        ratios: height / width, the same on each level.
    """

    def __init__(self, sizes: Sequence[float], ratios: Sequence[float], strides: Sequence[int]) -> None:
        super().__init__(tuple((size,) for size in sizes), (tuple(ratios),) * len(sizes))
        self.strides = tuple(strides)
        self.cell_anchors = [cell_anchors(stride, size, ratios) for stride, size in zip(strides, sizes)]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps of all levels -> per level (H W R, 4) anchors, row by row of the map.

        Raises:
            HMLError: the backbone gives another number of levels.
        """
        if len(features) != len(self.strides):
            raise HMLError(
                f"MODEL.RPN.ANCHOR_STRIDE names {len(self.strides)} levels but the backbone gives {len(features)}; "
                "give ANCHOR_STRIDE and ANCHOR_SIZES one entry per level"
            )
        self.set_cell_anchors(torch.float32, features[0].device)
        strides = [[torch.tensor(stride, device=features[0].device)] * 2 for stride in self.strides]
        return self.grid_anchors([list(level.shape[-2:]) for level in features], strides)


def make_anchor_generator(cfg: CfgNode) -> Anchors:
    """The anchors of ``MODEL.RPN``.

    Raises:
        HMLError: not one size per stride.
    """
    rpn = cfg.MODEL.RPN
    if not rpn.USE_FPN or len(rpn.ANCHOR_STRIDE) != len(rpn.ANCHOR_SIZES):
        raise HMLError(
            f"MODEL.RPN.USE_FPN is {rpn.USE_FPN} with {len(rpn.ANCHOR_SIZES)} ANCHOR_SIZES and "
            f"{len(rpn.ANCHOR_STRIDE)} ANCHOR_STRIDE; the proposals need a pyramid: set USE_FPN True and give one size "
            "and one stride per level"
        )
    return Anchors(rpn.ANCHOR_SIZES, rpn.ASPECT_RATIOS, rpn.ANCHOR_STRIDE)

"""RoI pooling over a feature pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from maskrcnn_benchmark.layers import ROIAlign
from maskrcnn_benchmark.modeling.make_layers import make_conv3x3_relu
from maskrcnn_benchmark.modeling.utils import cat, lengths_of
from torch import Tensor, nn

from maskrcnn_benchmark_hml.errors import HMLError

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList


class LevelMapper:
    """Pyramid level of a box, eq. 1 of Lin et al., Feature Pyramid Networks (CVPR 2017).

    A box of ``canonical_scale`` pixels belongs to ``canonical_level``; twice the side, one level up. The result is
    clamped to [k_min, k_max] and counted from k_min.
    """

    def __init__(self, k_min: int, k_max: int, canonical_scale: float = 224, canonical_level: int = 4) -> None:
        self.k_min, self.k_max = k_min, k_max
        self.canonical_scale, self.canonical_level = canonical_scale, canonical_level

    def __call__(self, boxes: Tensor) -> Tensor:
        """(N, 4) x1, y1, x2, y2 in pixels, last pixel included -> (N,) int64 in [0, k_max - k_min]."""
        width, height = (boxes[:, 2:] - boxes[:, :2] + 1).unbind(1)
        level = torch.floor(self.canonical_level + torch.log2((width * height).sqrt() / self.canonical_scale + 1e-6))
        return level.clamp(self.k_min, self.k_max).long() - self.k_min


class Pooler(nn.Module):
    """Pools boxes from the level that fits them, or from all levels.

    Args:
        output_size: bins (height, width).
        scales: map size over image size per level, finest first, each half of the one before.
        sampling_ratio: sample points per bin and axis.
        in_channels: channels of every level; read only with ``cat_all_levels``.
        cat_all_levels: pool every box from every level, concatenate and bring the channels back to ``in_channels`` by
            the trained ``reduce_channel`` (3x3 convolution, ReLU). The relation head does so because the pyramid
            below it is frozen and cannot learn to put a box's evidence on one level.
    """

    def __init__(
        self,
        output_size: tuple[int, int],
        scales: Sequence[float],
        sampling_ratio: int,
        in_channels: int = 512,
        cat_all_levels: bool = False,
    ) -> None:
        super().__init__()
        self.poolers = nn.ModuleList(ROIAlign(output_size, scale, sampling_ratio) for scale in scales)
        self.output_size = output_size
        self.cat_all_levels = cat_all_levels
        finest, coarsest = (round(-math.log2(scale)) for scale in (scales[0], scales[-1]))
        self.map_levels = LevelMapper(finest, coarsest)
        if cat_all_levels:
            self.reduce_channel = make_conv3x3_relu(in_channels * len(scales), in_channels)

    def forward(self, features: Sequence[Tensor], boxes: Sequence[BoxList]) -> Tensor:
        """Per level (B, C, H_l, W_l), one BoxList of xyxy boxes per image -> (N, C, *output_size)."""
        coordinates = cat([b.bbox for b in boxes])
        image = torch.arange(len(boxes), device=coordinates.device).repeat_interleave(
            lengths_of(boxes, coordinates.device)
        )
        return self.pool_rois(features, torch.cat((image[:, None].to(coordinates.dtype), coordinates), 1))

    def pool_rois(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """As :meth:`forward` for (N, 5) rois: image index, x1, y1, x2, y2. N may be 0.

        Raises:
            HMLError: the backbone gives fewer levels than there are scales.
        """
        if len(features) < len(self.poolers):
            raise HMLError(
                f"MODEL.ROI_BOX_HEAD.POOLER_SCALES names {len(self.poolers)} levels but the backbone gives "
                f"{len(features)}; shorten POOLER_SCALES"
            )
        if len(self.poolers) == 1:
            pooled = self.poolers[0](features[0], rois)
        elif self.cat_all_levels:
            # zip ends with the poolers: the pyramid's coarsest level exists for the region proposals only
            pooled = torch.cat([pool(level, rois) for pool, level in zip(self.poolers, features)], 1)
        else:
            levels = self.map_levels(rois[:, 1:])
            members = [torch.nonzero(levels == level).squeeze(1) for level in range(len(self.poolers))]
            parts = [pool(level, rois[rows]) for pool, level, rows in zip(self.poolers, features, members)]
            pooled = torch.cat(parts).index_select(0, torch.cat(members).argsort())
        return self.reduce_channel(pooled) if self.cat_all_levels else pooled
